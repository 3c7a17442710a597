"""What a finding is called, for people who know no statistics."""

from collections.abc import Mapping

from services.classification.domain.rulebook import Entry, Rulebook

_SHAPES = {
    # (es, en)
    "touchpoint": (
        "{motive}: más clientes de lo habitual en {place}",
        "{motive}: more customers than usual at {place}",
    ),
    "location": (
        "{motive}: pesa más en {place} que en otros lugares",
        "{motive}: weighs more in {place} than elsewhere",
    ),
    "alone": ("{motive}: más clientes de lo habitual", "{motive}: more customers than usual"),
}


def title(where: Mapping[str, str], book: Rulebook | None, chronic: bool) -> dict[str, str]:
    """The title in both languages, with the rulebook's names where it has them."""
    dimension = "location" if chronic else ("touchpoint" if "touchpoint" in where else "alone")
    motives = {} if book is None else dict(book.motive_by_code)
    points = {} if book is None else {point.code: point for point in book.touchpoints}
    titles: dict[str, str] = {}
    for language, shape in zip(("es", "en"), _SHAPES[dimension], strict=True):
        place = where.get("location") or where.get("touchpoint", "")
        titles[language] = shape.format(
            motive=_name(motives.get(where["motive"]), where["motive"], language),
            place=_name(points.get(place), place, language),
        )
    return titles


def part_title(whole: Mapping[str, str], outer: Mapping[str, str], inner: Mapping[str, str]) -> dict[str, str]:
    """The title of a part: the whole's, and what it was narrowed to."""
    added = ", ".join(value for name, value in inner.items() if name not in outer)
    return {language: f"{text} ({added})" for language, text in whole.items()}


def _name(entry: Entry | None, code: str, language: str) -> str:
    if entry is None:
        return {"es": "motivo sin codificar", "en": "uncoded motive"}[language] if code == "unknown" else code
    return entry.name.get(language, code)
