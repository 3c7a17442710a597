"""What a finding is called, for people who know no statistics."""

from collections.abc import Mapping

from services.classification.domain.rulebook import UNKNOWN, Rulebook

_SHAPES = {
    # (es, en)
    "chronic": (
        "{what}: pesa más en {place} que en otros lugares",
        "{what}: weighs more in {place} than elsewhere",
    ),
    "placed": ("{what}: más clientes de lo habitual en {place}", "{what}: more customers than usual at {place}"),
    "within": ("{what}: más clientes de lo habitual en {place}", "{what}: more customers than usual in {place}"),
    "alone": ("{what}: más clientes de lo habitual", "{what}: more customers than usual"),
}
PLACES = ("touchpoint", "location")
"""Attributes that say where."""
NAMED = {
    "motive": "motives",
    "cause": "causes",
    "touchpoint": "touchpoints",
    "location": "locations",
    "product": "products",
    "supplier": "suppliers",
    "team": "teams",
    "procedure": "procedures",
    "segment": "segments",
}
"""Attributes of a slice, and the section of the rulebook that names their values."""


def title(where: Mapping[str, str], book: Rulebook | None, chronic: bool) -> dict[str, str]:
    """The title in both languages, with the rulebook's names where it has them: what it is about (motive, product, …), then where."""
    titles: dict[str, str] = {}
    for place, language in enumerate(("es", "en")):
        named = {name: name_of(book, name, value, language) for name, value in where.items() if value}
        first = [name for name in ("motive", "cause") if name in named]
        what = [named[name] for name in (*first, *sorted(set(named) - {"motive", "cause", *PLACES}))]
        at = [named[name] for name in PLACES if name in named]
        shape = "chronic" if chronic else "placed" if "touchpoint" in named else "within"
        if not what:
            what, at, shape = at[:1], at[1:], "within"
        titles[language] = _SHAPES[shape if at else "alone"][place].format(what=", ".join(what), place=", ".join(at))
    return titles


def part_title(
    whole: Mapping[str, str], outer: Mapping[str, str], inner: Mapping[str, str], book: Rulebook | None
) -> dict[str, str]:
    """The title of a part: the whole's, and what it was narrowed to."""
    return {
        language: f"{text} ({', '.join(name_of(book, name, code, language) for name, code in inner.items() if name not in outer)})"
        for language, text in whole.items()
    }


def name_of(book: Rulebook | None, attribute: str, code: str, language: str) -> str:
    """What the rulebook calls a value of an attribute; the value itself where it has no name for it."""
    if attribute == "motive" and code == UNKNOWN:
        return {"es": "motivo sin codificar", "en": "uncoded motive"}[language]
    entries = () if book is None or attribute not in NAMED else book.section(NAMED[attribute])
    return next((entry.name.get(language, code) for entry in entries if entry.code == code), code)
