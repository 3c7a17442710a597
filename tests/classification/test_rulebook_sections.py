"""The sections around motives and causes: what `check` finds in them, and what they answer."""

from datetime import date

import pytest

from libs.events.catalogue.interactions import Kind
from services.classification.rulebook_file import read
from tests.classification.test_rulebook import SMALL, book, codes, place_of

WHOLE = SMALL.replace(
    "norms:\n",
    """\
factors:
  - {code: staffing, component: people, name: {es: Dotación, en: Staffing}}
kinds:
  - {code: complaint, name: {es: Queja, en: Complaint}}
severities:
  - {code: low, rank: 1, name: {es: Baja, en: Low}}
  - {code: high, rank: 2, name: {es: Alta, en: High}}
harms:
  - {code: time, rank: 1, name: {es: Tiempo, en: Time}}
teams:
  - {code: desk, name: {es: Mesa, en: Desk}}
  - {code: board, name: {es: Junta, en: Board}}
stages:
  - {code: help, name: {es: Ayuda, en: Help}}
touchpoints:
  - {code: shop, name: {es: Tienda, en: Shop}, channels: [branch], stages: [help], procedures: [pr1], suppliers: [guards]}
suppliers:
  - code: guards
    name: {es: Guardias, en: Guards}
    agreements: [{name: {es: Puntualidad, en: Punctuality}, since: 2022-01-01, measure: late-shifts, at_most: 1}]
products:
  - {code: lunch, name: {es: Almuerzo, en: Lunch}}
locations:
  - {code: centre, name: {es: Centro, en: Centre}, parent: town}
  - {code: town, name: {es: Ciudad, en: Town}}
segments:
  - {code: regular, name: {es: Habitual, en: Regular}}
promises:
  - code: promise
    since: 2022-01-01
    name: {es: Promesa, en: Promise}
    pillars:
      - code: prompt
        name: {es: Pronto, en: Prompt}
        standards: [{code: ten, name: {es: Diez minutos, en: Ten minutes}, measure: wait-minutes, at_most: 10, motives: [wait]}]
        roles: {desk: {es: Abrir otra caja, en: Open another counter}}
routes:
  - {code: r-high, since: 2022-01-01, name: {es: Grave, en: Grave}, team: board, severities: [high], kinds: [complaint]}
  - {code: r-wait, since: 2022-01-01, name: {es: Espera, en: Waiting}, team: desk, together: [board], motives: [wait], until: 2025-12-31}
  - {code: r-rest, since: 2022-01-01, name: {es: Resto, en: Rest}, team: desk, escalates_to: board}
norms:
""",
    1,
).replace("expectation: timeliness}", "expectation: timeliness, factor: staffing}")


def test_a_rulebook_with_every_section_is_sound() -> None:
    assert [(item.defect.code, item.place) for item in read(WHOLE).found] == []


BROKEN = [
    ("factor_of_another", "component: people, name: {es: Dotación", "component: systems, name: {es: Dotación", "staffing}", False),
    ("unknown_reference", "factor: staffing}", "factor: weather}", "weather", False),
    ("unknown_kind", "{code: complaint, name", "{code: rant, name", "rant", False),
    ("unknown_severity", "{code: low, rank", "{code: tiny, rank", "tiny", False),
    ("duplicate_rank", "{code: high, rank: 2", "{code: high, rank:  1", " 1, name: {es: Alta", False),
    ("unknown_reference", "stages: [help]", "stages: [nowhere]", "nowhere", False),
    ("unknown_channel", "channels: [branch]", "channels: [pigeon]", "pigeon", True),
    ("not_checkable", "measure: wait-minutes, at_most: 10", "measure: wait-minutes", "{code: ten", False),
    ("not_checkable", "at_most: 10", "at_most: 10, at_least: 2", "{code: ten", False),
    ("not_checkable", "measure: late-shifts, at_most: 1", "at_most: 1", "{name: {es: Puntualidad", False),
    ("unknown_reference", "roles: {desk:", "roles: {nobody:", "{es: Abrir otra", False),
    ("missing_date", "  - code: promise\n    since: 2022-01-01\n", "  - code: promise\n", "code: promise", False),
    ("unknown_reference", "team: board", "team: ghosts", "ghosts", False),
    ("route_never_reached", "severities: [high], kinds: [complaint]}", "severities: []}", "r-wait", True),
    ("unforeseen_without_route", "team: desk, escalates_to: board}", "team: desk, kinds: [claim]}", "- {code: r-high", True),
    ("missing_translation", "{es: Abrir otra caja, en: Open another counter}", "{es: Abrir otra caja}", "{es: Abrir otra caja}", False),
    ("duplicate_name", "{es: Junta, en: Board}", "{es: Mesa, en: Board}", "Mesa, en: Board", False),
    ("unknown_field", "motives:\n  - code: wait", "required_fields: {claim: [colour]}\nmotives:\n  - code: wait", "colour", True),
    ("reserved_code", "{code: time, rank", "{code: unknown, rank", "unknown, rank", False),
    ("out_of_bounds", "{code: time, rank: 1", "{code: time, rank: 0", "0, name: {es: Tiempo", False),
    ("outlives_policy", "{code: p1, since: 2020-01-01,", "{code: p1, since: 2020-01-01, until: 2023-12-31,", "p1}\nmotives", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "old", "new", "needle", "warning"), BROKEN, ids=[f"{n}-{b[0]}" for n, b in enumerate(BROKEN)]
)
def test_every_defect_of_a_section_is_told_with_its_line_and_column_R17_R22_R70_R79_R80_R97(
    code: str, old: str, new: str, needle: str, warning: bool
) -> None:
    assert WHOLE.count(old) == 1, old
    text = WHOLE.replace(old, new)
    found = [(item.defect.code, item.defect.warning, (item.place.line, item.place.column)) for item in read(text).found]
    assert (code, warning, place_of(text, needle)) in found, found
    for item in read(text).found:
        assert item.defect.message("es") != item.defect.message("en")


def test_a_procedure_that_ends_and_a_motive_left_behind_are_warned_of() -> None:
    text = SMALL.replace("since: 2022-01-01, norm: n1", "since: 2022-01-01, until: 2026-12-31, norm: n1")
    assert codes(text) == [("procedure_ends", True)]


def test_the_route_is_the_first_that_fits_on_that_day_R97_R62() -> None:
    found = book(WHOLE)

    def team(day: date, **fields: object) -> tuple[str, str]:
        route = found.route_for("wait", day, **fields)  # type: ignore[arg-type]  # named fields of route_for
        assert route is not None
        return route.code, route.team

    assert team(date(2025, 6, 1)) == ("r-wait", "desk")
    assert team(date(2026, 6, 1)) == ("r-rest", "desk"), "the other had ended"
    assert team(date(2025, 6, 1), kind=Kind.COMPLAINT, severity="high") == ("r-high", "board")
    assert team(date(2025, 6, 1), kind=Kind.CLAIM, severity="high") == ("r-wait", "desk")
    assert found.route_for("wait", date(2021, 1, 1)) is None, "none was in force yet"


def test_what_names_no_date_and_no_owner_has_the_rulebooks() -> None:
    text = SMALL.replace("time_zone", "#").replace(
        "languages: [es, en]\n", "languages: [es, en]\nsince: 2019-05-01\nowner: ana\n"
    )
    found = book(text.replace("{code: n1, since: 2020-01-01,", "{code: n1,"))
    assert found.since_of(found.norms[0]) == date(2019, 5, 1)
    assert found.since_of(found.policies[0]) == date(2020, 1, 1)
    assert found.owner_of(found.motives[0]) == "ana"
