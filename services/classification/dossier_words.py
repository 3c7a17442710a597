"""What a dossier and a relation at risk say, in sentences for people who know no statistics."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.numbers import format_decimal

from services.classification.domain.agreements import COMPLAINANTS, PER_10_000, Standing
from services.classification.domain.relations import HARMED, RETURNING, SOONER, Signal
from services.classification.domain.rulebook import Rulebook
from services.classification.titles import name_of

HALF = 0.5
"""A value that so many customers have in common is said in words; the others stand in the numbers."""
SENTENCES: Mapping[str, tuple[str, str]] = {
    # (es, en)
    "nobody": ("Aún no hay quejas detrás de este hallazgo.", "There are no complaints behind this finding yet."),
    "size": (
        "Clientes: {customers}. Contactos: {contacts}, del {first} al {last}. Clientes en los últimos siete días: {lately}.",
        "Customers: {customers}. Contacts: {contacts}, from {first} to {last}. Customers in the last seven days: {lately}.",
    ),
    "severe": ("Con un motivo grave: {n} clientes.", "With a grave motive: {n} customers."),
    "whom": ("A quién le pasa: {what}.", "Whom it happens to: {what}."),
    "acts": (
        "De {known} contactos se sabe si algo se hizo o se dejó de hacer: {omission} omisiones y {act} actos. De otros {unknown} no se sabe.",
        "Of {known} contacts it is known whether something was done or left undone: {omission} omissions and {act} acts. Of another {unknown} it is not.",
    ),
    "demands": (
        "Clientes a quienes se les exigió algo que no les aporta nada: {n} ({what}).",
        "Customers who were asked for something that adds nothing for them: {n} ({what}).",
    ),
    "asked_for": (
        "Lo que hoy pide «{name}»: {what}.",
        "What '{name}' asks for today: {what}.",
    ),
    "supplier": (
        "{name} hizo el trabajo en {contacts} contactos de {customers} clientes.",
        "{name} did the work in {contacts} contacts of {customers} customers.",
    ),
    "no_agreement": (
        "En el libro de reglas no hay ningún acuerdo con {name}.",
        "The rulebook holds no agreement with {name}.",
    ),
    Standing.BROKEN: (
        "Acuerdo incumplido, «{agreement}»: {measured} {what} del {first} al {last}; se acordó {limit}.",
        "Agreement not kept, '{agreement}': {measured} {what} from {first} to {last}; {limit} was agreed.",
    ),
    Standing.KEPT: (
        "Acuerdo cumplido, «{agreement}»: {measured} {what} del {first} al {last}; se acordó {limit}.",
        "Agreement kept, '{agreement}': {measured} {what} from {first} to {last}; {limit} was agreed.",
    ),
    Standing.NO_EXPOSURE: (
        "Acuerdo sin verificar, «{agreement}»: falta la exposición del {first} al {last}.",
        "Agreement not checked, '{agreement}': exposure is missing from {first} to {last}.",
    ),
    Standing.NOT_MEASURED: (
        "Acuerdo por verificar, «{agreement}»: las quejas no lo miden.",
        "Agreement to be checked by somebody, '{agreement}': complaints do not measure it.",
    ),
    Standing.ENDED: ("Acuerdo vencido el {until}, «{agreement}».", "Agreement ended on {until}, '{agreement}'."),
    Standing.NOT_YET: (
        "Acuerdo que aún no regía, «{agreement}».",
        "Agreement that was not in force yet, '{agreement}'.",
    ),
    "at_most": ("como máximo {n}", "at most {n}"),
    "at_least": ("como mínimo {n}", "at least {n}"),
    COMPLAINANTS: ("clientes que se quejan", "customers who complain"),
    PER_10_000: ("clientes que se quejan por cada 10.000", "customers who complain per 10,000"),
    "told": (
        "Por su tamaño, gravedad o edad ya lo sabe: {what}.",
        "By its size, gravity or age these know of it: {what}.",
    ),
    "next": ("El nivel siguiente, {level}, lo sabrá con {what}.", "The next level, {level}, will be told from {what}."),
    "customers": ("{n} clientes", "{n} customers"),
    "severe_customers": ("{n} clientes con un motivo grave", "{n} customers with a grave motive"),
    "days": ("{n} días sin hacer nada", "{n} days without anything done"),
    RETURNING: (
        "Ha vuelto por «{motive}»: {contacts} contactos en {days} días, el último el {last}.",
        "Came back over '{motive}': {contacts} contacts in {days} days, the last on {last}.",
    ),
    SOONER: (
        "Vuelve cada vez más pronto por «{motive}»: antes cada {before} días, ahora cada {now}.",
        "Comes back sooner and sooner over '{motive}': every {before} days before, every {now} now.",
    ),
    HARMED: (
        "Respondió que lo que se hizo empeoró las cosas (el {last}).",
        "Answered that what was done made things worse (on {last}).",
    ),
}
LEVELS: Mapping[str, tuple[str, str]] = {
    # the levels of the default setting; others are called as they were named
    "area": ("área", "area"),
    "direction": ("dirección", "direction"),
    "general": ("dirección general", "general direction"),
}
OR = (" o ", " or ")
LOCALES = {"es": "es_CO", "en": "en_GB"}


def say(key: str, language: str, **values: object) -> str:
    """A sentence; its numbers and days are written as its readers write them."""
    es, en = SENTENCES[key]
    return (es if language == "es" else en).format(
        **{name: _written(value, language) for name, value in values.items()}
    )


def _written(value: object, language: str) -> object:
    if isinstance(value, date):
        return format_date(value, "d MMM y", locale=LOCALES[language])
    return number(value, language) if isinstance(value, int | float) else value


def called(texts: Mapping[str, str], code: str, language: str) -> str:
    """The name in the reader's language, or in any, or the code."""
    return texts.get(language) or next(iter(texts.values()), code)


def number(value: float, language: str) -> str:
    """Two places at most."""
    return format_decimal(round(value, 2), format="#,##0.##", locale=LOCALES[language])


def sentences(found: Mapping[str, Any], book: Rulebook | None, language: str, zone: ZoneInfo) -> list[str]:
    """A dossier as sentences, the most important first. `zone`: whose days are told."""
    size = found["size"]
    if not size["contacts"]:
        return [say("nobody", language)]
    told = [
        say("size", language, **size | {"first": _day(size["first_at"], zone), "last": _day(size["last_at"], zone)})
    ]
    if size["severe"]:
        told.append(say("severe", language, n=size["severe"]))
    whom = [
        f"{name_of(book, name, most[0]['value'], language)} ({number(most[0]['customers'], language)})"
        for name, most in found["whom"].items()
        if most[0]["share"] >= HALF
    ]
    if whom:
        told.append(say("whom", language, what=", ".join(whom)))
    return [*told, *_acts(found["acts"], language), *_demands(found["demands"], language), *_suppliers(found["suppliers"], language), *_levels(found["levels"], language)]  # fmt: skip


def of_signal(signal: Signal, book: Rulebook | None, language: str, zone: ZoneInfo) -> str:
    """One reason why a relation is at risk."""
    motive = None if book is None else book.motive_by_code.get(signal.motive or "")
    numbers = {
        name: number(value, language)
        for name in ("days", "before", "now")
        if (value := getattr(signal, name)) is not None
    }
    named = called({} if motive is None else motive.name, signal.motive or "", language)
    return say(signal.name, language, motive=named, contacts=signal.contacts, last=_day(signal.at, zone), **numbers)


def _acts(acts: Mapping[str, Any], language: str) -> list[str]:
    known = acts["act"] + acts["omission"]
    return [say("acts", language, known=known, **acts)] if known else []


def _demands(demands: Mapping[str, Any], language: str) -> list[str]:
    told = []
    if demands["customers"]:
        what = ", ".join(called(one["name"], one["cause"], language) for one in demands["causes"])
        told.append(say("demands", language, n=demands["customers"], what=what))
        for one in demands["asked_for"]:
            what = ", ".join(called(texts, "", language) for texts in one["demands"])
            told.append(say("asked_for", language, name=called(one["name"], one["procedure"], language), what=what))
    return told


def _suppliers(suppliers: list[dict[str, Any]], language: str) -> list[str]:
    told = []
    for one in suppliers:
        name = called(one["name"], one["supplier"], language)
        told.append(say("supplier", language, name=name, contacts=one["contacts"], customers=one["customers"]))
        told += [_agreement(each, language) for each in one["agreements"]]
        if not one["agreements"]:
            told.append(say("no_agreement", language, name=name))
    return told


def _agreement(one: Mapping[str, Any], language: str) -> str:
    values: dict[str, object] = {
        "agreement": called(one["name"], "", language),
        **{k: one[k] for k in ("first", "last", "until")},
    }
    if one["measured"] is not None:
        bound = "at_most" if one["at_most"] is not None else "at_least"
        values["limit"] = say(bound, language, n=number(one[bound], language))
        values["measured"] = number(one["measured"], language)
        values["what"] = say(one["measure"], language)
    return say(one["standing"], language, **values)


def _levels(levels: Mapping[str, Any], language: str) -> list[str]:
    place = 0 if language == "es" else 1
    names = [LEVELS.get(one["level"], (one["level"],) * 2)[place] for one in levels["levels"]]
    known = [number for number, one in enumerate(levels["levels"]) if one["told"]]
    told = [say("told", language, what=", ".join(names[number] for number in known))] if known else []
    following = max(known, default=-1) + 1
    if following < len(names):
        words = {"customers": "customers", "severe": "severe_customers", "days": "days"}
        least = levels["levels"][following]["at_least"]
        what = OR[place].join(say(words[name], language, n=number(value, language)) for name, value in least.items())
        told.append(say("next", language, level=names[following], what=what))
    return told


def _day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()
