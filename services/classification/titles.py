"""What a finding is called, for people who know no statistics."""

from collections.abc import Mapping

from services.classification.domain.rulebook import Entry, Rulebook

_SHAPES = {
    # (es, en)
    "chronic": (
        "{what}: pesa más en {place} que en otros lugares",
        "{what}: weighs more in {place} than elsewhere",
    ),
    "placed": ("{what}: más clientes de lo habitual en {place}", "{what}: more customers than usual at {place}"),
    "alone": ("{what}: más clientes de lo habitual", "{what}: more customers than usual"),
}
PLACES = ("touchpoint", "location")
"""Attributes that say where."""


def title(where: Mapping[str, str], book: Rulebook | None, chronic: bool) -> dict[str, str]:
    """The title in both languages, with the rulebook's names where it has them: what it is about (motive, product, …), then where."""
    motives = {} if book is None else dict(book.motive_by_code)
    causes = {} if book is None else dict(book.cause_by_code)
    points = {} if book is None else {point.code: point for point in book.touchpoints}
    titles: dict[str, str] = {}
    for place, language in enumerate(("es", "en")):
        named = {name: value for name, value in where.items() if value}
        what = [_name(motives.get(named["motive"]), named["motive"], language)] if "motive" in named else []
        what += [_name(causes.get(named["cause"]), named["cause"], language)] if "cause" in named else []
        what += [named[name] for name in sorted(named) if name not in {"motive", "cause", *PLACES}]
        at = [_name(points.get(named[name]), named[name], language) for name in PLACES if name in named]
        if not what:
            what, at = at[:1], at[1:]
        shape = _SHAPES["alone" if not at else "chronic" if chronic else "placed"][place]
        titles[language] = shape.format(what=", ".join(what), place=", ".join(at))
    return titles


def part_title(whole: Mapping[str, str], outer: Mapping[str, str], inner: Mapping[str, str]) -> dict[str, str]:
    """The title of a part: the whole's, and what it was narrowed to."""
    added = ", ".join(value for name, value in inner.items() if name not in outer)
    return {language: f"{text} ({added})" for language, text in whole.items()}


def _name(entry: Entry | None, code: str, language: str) -> str:
    if entry is None:
        return {"es": "motivo sin codificar", "en": "uncoded motive"}[language] if code == "unknown" else code
    return entry.name.get(language, code)
