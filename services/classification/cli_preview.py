"""`lazo rulebook preview`: what history would become under a rulebook. Nothing is started and nothing is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEXTS: dict[str, tuple[str, str]] = {
    # key: (es, en)
    "history": (
        "{contacts} contactos frente a la versión {version}: {coded} codificados de nuevo, {kept} codificados por personas, {without} sin texto",
        "{contacts} contacts against version {version}: {coded} coded anew, {kept} coded by people, {without} without text",
    ),
    "waiting": (
        "{waiting} aún sin codificar, {unreadable} ilegibles",
        "{waiting} not coded yet, {unreadable} unreadable",
    ),
    "moved": ("{section} que cambian: {count} contactos", "{section} that move: {count} contacts"),
    "motives": ("motivos", "motives"),
    "causes": ("causas", "causes"),
    "more": ("… y {count} cambios más (--json los da todos)", "… and {count} more moves (--json has them all)"),
    "review": ("por revisar: {before} → {after}", "to be reviewed: {before} → {after}"),
    "verdicts": (
        "veredictos: {stay} iguales, {changed} distintos, {moved} con otro nombre, {appear} aparecen, {vanish} desaparecen",
        "verdicts: {stay} the same, {changed} different, {moved} by another name, {appear} appear, {vanish} vanish",
    ),
    "appear": ("aparece", "appears"),
    "vanish": ("desaparece", "vanishes"),
    "findings": ("hallazgos: {appear} aparecen, {vanish} desaparecen", "findings: {appear} appear, {vanish} vanish"),
    "unchanged": ("no se cambió nada", "nothing was changed"),
    "no-history": ("{data}: aquí no hay historia", "{data}: there is no history here"),
    "nothing-published": (
        "aún no se ha publicado ningún libro de reglas con el cual comparar",
        "no rulebook was published yet to compare with",
    ),
    "unreadable-store": (
        "{detail}. Si es de una versión anterior de Lazo, arránquela una vez",
        "{detail}. If it is of an earlier version of Lazo, start it once",
    ),
}
MOST = 20


def say(key: str, language: str, **values: Any) -> str:
    """The sentence in `es` or `en`."""
    es, en = TEXTS[key]
    return (es if language == "es" else en).format(**values)


class NoHistory(Exception):
    """There is nothing to look at; its text says why."""


async def preview_here(raw: bytes, data: Path | None, language: str) -> tuple[dict[str, Any] | None, list[Any]]:
    """The report on this machine's own history, and what is wrong with the file; no report when it cannot be published.

    Raises NoHistory, BadSettings, OSError and what opening an environment raises.
    """
    from sqlalchemy.exc import DBAPIError

    from libs.service.environment import Environment
    from libs.service.settings import Settings, load
    from services.classification import encoder as encoders
    from services.classification.books import Books
    from services.classification.calendars import rules_of
    from services.classification.domain.slices import parse
    from services.classification.learner import Lessons
    from services.classification.measuring import Measuring
    from services.classification.previewing import NothingPublished, Preview
    from services.classification.rulebook_file import read
    from services.classification.settings import ClassificationSettings

    settings, own = load(Settings, data=data, access_log=False), load(ClassificationSettings)
    target = settings.database_target("classification")
    if "://" not in target and not Path(target).exists():
        # Asked before anything is opened: opening makes what is missing.
        raise NoHistory(say("no-history", language, data=settings.data))
    environment = await Environment.open(settings)
    try:
        engine, books = environment.engine("classification"), Books()
        lessons = Lessons(books, encoders.load if own.encoder else lambda: None, Measuring())
        preview = Preview(engine, environment.log, environment.vault, books, rules_of(own), lessons, parse(own.series))
        try:
            reading = read(raw, await preview.published())
            report = await preview.run(reading.book) if reading.sound and reading.book is not None else None
        except NothingPublished:
            raise NoHistory(say("nothing-published", language)) from None
        except DBAPIError as error:
            raise NoHistory(say("unreadable-store", language, detail=str(error.orig))) from error
        return report, list(reading.found)
    finally:
        await environment.close()


def lines(report: Mapping[str, Any], language: str) -> list[str]:
    """The report for people."""
    history, review, verdicts, findings = (report[name] for name in ("history", "review", "verdicts", "findings"))
    told = [
        say(
            "history",
            language,
            contacts=history["contacts"],
            version=report["against_version"],
            coded=history["coded"],
            kept=history["kept_by_people"],
            without=history["without_text"],
        )
    ]
    if history["waiting"] or history["unreadable"]:
        told.append(say("waiting", language, waiting=history["waiting"], unreadable=history["unreadable"]))
    for section in ("motives", "causes"):
        moved = report[section]["moved"]
        count = sum(item["contacts"] for item in moved)
        told.append(say("moved", language, section=say(section, language), count=count))
        told += [f"  {item['contacts']:>8}  {item['from']} → {item['to']}" for item in moved[:MOST]]
        if len(moved) > MOST:
            told.append("  " + say("more", language, count=len(moved) - MOST))
    told.append(say("review", language, **review))
    counted = {name: value if isinstance(value, int) else len(value) for name, value in verdicts.items()}
    told.append(say("verdicts", language, **counted))
    for name in ("appear", "vanish"):
        told += [f"  {say(name, language)}: {_verdict(item)}" for item in verdicts[name][:MOST]]
    told += [f"  {_verdict(item['before'])} → {_verdict(item['after'])}" for item in verdicts["changed"][:MOST]]
    told.append(say("findings", language, **{name: len(findings[name]) for name in ("appear", "vanish")}))
    told += [
        f"  {say('vanish', language)}: {item['title'].get(language, item['finding_id'])}" for item in findings["vanish"]
    ]
    return [*told, say("unchanged", language)]


def _verdict(item: Mapping[str, Any]) -> str:
    return f"{item['verdict']} {' · '.join(item['slice'].values())} ({item['since']})"
