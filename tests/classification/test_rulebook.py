"""Rulebooks: shape, defects with their places, the command that checks."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.classification.cli import register
from services.classification.domain.problems import MESSAGES
from services.classification.domain.rulebook import Rulebook, checksum, document_of
from services.classification.rulebook_file import read

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = ROOT / "deploy/rulebooks/operator.yaml"

SMALL = """\
format: 1
id: small
name: {es: Pequeño, en: Small}
languages: [es, en]
components:
  - {code: product, name: {es: Producto, en: Product}}
  - {code: procedures, name: {es: Procedimientos, en: Procedures}}
  - {code: facilities, name: {es: Instalaciones, en: Facilities}}
  - {code: systems, name: {es: Sistemas, en: Systems}}
  - {code: information, name: {es: Información, en: Information}}
  - {code: people, name: {es: Personas, en: People}}
expectations:
  - {code: quality, name: {es: Calidad, en: Quality}}
  - {code: quantity, name: {es: Cantidad, en: Quantity}}
  - {code: timeliness, name: {es: Oportunidad, en: Timeliness}}
  - {code: cost, name: {es: Costo, en: Cost}}
norms:
  - {code: n1, since: 2020-01-01, name: {es: Norma, en: Norm}}
policies:
  - {code: p1, since: 2020-01-01, name: {es: Política, en: Policy}}
procedures:
  - code: pr1
    name: {es: Atender, en: Attend}
    motives: [wait]
    versions:
      - {version: 1, since: 2021-01-01, until: 2021-12-31, norm: n1, policy: p1}
      - {version: 2, since: 2022-01-01, norm: n1, policy: p1}
motives:
  - code: wait
    name: {es: Espera, en: Waiting}
    causes: [few]
    terms: {es: [espera], en: [waiting]}
causes:
  - {code: few, name: {es: Poco personal, en: Few people}, component: people, expectation: timeliness}
"""


def test_the_example_rulebook_has_no_defects_and_covers_components_and_expectations_R06_R64_R67_R70() -> None:
    reading = read(OPERATOR.read_bytes())
    assert list(reading.found) == []
    book = reading.book
    assert book is not None
    leaves = [motive for motive in book.motives if motive.code not in book.parents]
    assert len(leaves) >= 20
    assert {cause.component for cause in book.causes} == {item.code for item in book.components}
    assert {cause.expectation for cause in book.causes} == {item.code for item in book.expectations}
    document = document_of(book)
    assert Rulebook.model_validate(document) == book
    assert checksum(document_of(Rulebook.model_validate(document))) == checksum(document)


def test_a_small_rulebook_is_sound() -> None:
    assert list(read(SMALL).found) == []


def replaced(old: str, new: str) -> Callable[[], str]:
    assert SMALL.count(old) == 1, old
    return lambda: SMALL.replace(old, new)


# code, how the small rulebook is broken, and the text at whose beginning the defect has to be told
DEFECTS = [
    ("unknown_reference", replaced("causes: [few]", "causes: [few, gone]"), "gone"),
    ("unknown_reference", replaced("component: people", "component: persons"), "persons"),
    ("unknown_reference", replaced("since: 2022-01-01, norm: n1", "since: 2022-01-01, norm: n9"), "n9"),
    ("cycle", replaced("    causes: [few]", "    parent:  wait\n    causes: [few]"), " wait\n    causes"),
    ("overlapping_dates", replaced("since: 2022-01-01", "since: 2021-12-01"), "2021-12-01"),
    ("gap_in_dates", replaced("since: 2022-01-01", "since: 2022-02-01"), "2022-02-01"),
    ("missing_date", replaced("{version: 2, since: 2022-01-01,", "{version: 2,"), "{version: 2,"),
    ("missing_date", replaced("{code: p1, since: 2020-01-01,", "{code: p1,"), "{code: p1,"),
    ("inverted_dates", replaced("until: 2021-12-31", "until: 2020-12-31"), "2020-12-31"),
    (
        "outlives_norm",
        replaced("{code: n1, since: 2020-01-01,", "{code: n1, since: 2020-01-01, until: 2023-12-31,"),
        "n1, policy: p1}\nmotives",
    ),
    ("precedes_norm", replaced("{code: n1, since: 2020-01-01,", "{code: n1, since: 2021-06-01,"), "2021-01-01, until"),
    ("motive_without_procedure", replaced("motives: [wait]", "motives: []"), "wait\n"),
    ("missing_translation", replaced("{es: Espera, en: Waiting}", "{es: Espera}"), "{es: Espera}"),
    (
        "missing_translation",
        replaced("terms: {es: [espera], en: [waiting]}", "terms: {es: [espera]}"),
        "{es: [espera]}",
    ),
    ("unknown_language", replaced("{es: Espera, en: Waiting}", "{es: Espera, en: Waiting, fr: Attente}"), "Attente"),
    (
        "duplicate_name",
        replaced("{es: Cantidad, en: Quantity}", "{es: Calidad, en: Quantity}"),
        "Calidad, en: Quantity",
    ),
    ("duplicate_code", replaced("{code: facilities,", "{code: product,"), "product, name: {es: Instalaciones"),
    ("missing_component", replaced("{code: people, name", "{code: staff, name"), "- {code: product"),
    ("reserved_code", replaced("  - code: wait", "  - code: unknown"), "unknown\n"),
    ("invalid_code", replaced("  - code: wait", "  - code: Wait!"), "Wait!"),
    ("unknown_key", replaced("    causes: [few]", "    cuases: [few]"), "[few]"),
    ("missing", replaced("expectation: timeliness}", "}"), "{code: few"),
    ("duplicate_key", replaced("id: small\n", "id: small\nid: other\n"), "id: other"),
    ("unknown_time_zone", replaced("id: small\n", "id: small\ntime_zone: Mars/Olympus\n"), "Mars"),
    ("syntax", replaced("languages: [es, en]", "languages: [es, en"), ":\n  - {code: product"),
    ("alias", replaced("name: {es: Pequeño, en: Small}", "name: &a {es: Pequeño, en: Small}"), "&a"),
]


def place_of(text: str, needle: str) -> tuple[int, int]:
    """Line and column of a text that occurs once; a leading blank of the needle only makes it unique."""
    assert text.count(needle) == 1, needle
    before = text[: text.index(needle) + len(needle) - len(needle.lstrip(" "))]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


@pytest.mark.parametrize(
    ("code", "make", "needle"), DEFECTS, ids=[f"{number}-{item[0]}" for number, item in enumerate(DEFECTS)]
)
def test_every_defect_is_told_with_its_line_and_column_R06_R22(code: str, make: Callable[[], str], needle: str) -> None:
    text = make()
    reading = read(text)
    assert not reading.sound
    found = [(item.defect.code, (item.place.line, item.place.column)) for item in reading.found]
    assert (code, place_of(text, needle)) in found, found
    for item in reading.found:
        assert item.defect.message("es") != item.defect.message("en")


def book(text: str) -> Rulebook:
    found = read(text).book
    assert found is not None
    return found


def codes(text: str, *history: str) -> list[tuple[str, bool]]:
    published = [(number, book(older)) for number, older in enumerate(history, start=1)]
    return [(item.defect.code, item.defect.warning) for item in read(text, published).found]


SECOND = SMALL.replace(
    "causes:\n  - {code: few",
    "causes:\n  - {code: slow, name: {es: Lentitud, en: Slowness}, component: people, expectation: timeliness}\n  - {code: few",
)


def test_a_code_may_be_reworded_but_never_change_its_meaning_G1() -> None:
    assert codes(SMALL.replace("Poco personal", "Muy poco personal"), SMALL) == []
    meant = SMALL.replace("{es: Poco personal, en: Few people}", "{es: Lluvia, en: Rain}")
    assert codes(meant, SMALL) == [("meaning_changed", False)]
    moved = SMALL.replace("component: people", "component: systems")
    assert codes(moved, SMALL) == [("component_changed", False)]


def test_a_code_that_was_dropped_is_said_and_may_not_come_back() -> None:
    assert codes(SMALL, SECOND) == [("code_dropped", True)]
    assert codes(SECOND, SECOND, SMALL) == [("code_reused", False)]


def test_the_procedure_in_force_is_that_of_the_day_R18_G10() -> None:
    found = book(SMALL)
    versions = {
        day: found.procedure_for("wait", day) for day in (date(2021, 12, 31), date(2022, 1, 1), date(2020, 1, 1))
    }
    assert [None if held is None else held[1].version for held in versions.values()] == [1, 2, None]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "1", "\x00", "{", "a: b: c", "- " * 2000, "{a: " * 200, "format: 1\nmotives: {}\n", "\ud800",
        "format: 1\nid: x\nlanguages: [no, on]\nmotives: [1, 2]\n", "? [a, b]\n: c\n", "!!python/object:os.system x",
        "format: 99999999999999999999999999\n", "x: 2026-99-99\n", "- &a [*a]\n",
    ],
)  # fmt: skip
def test_whatever_is_given_is_answered_and_nothing_is_raised(text: str) -> None:
    reading = read(text)
    assert not reading.sound
    assert all(item.place.line >= 1 and item.place.column >= 1 for item in reading.found)
    assert [item.line("f", "es") for item in reading.found]


def test_bytes_that_are_no_text_and_files_too_large_are_refused() -> None:
    broken = read(b"format: 1\nid: \xff\xfe\n")
    assert [(item.defect.code, item.place.line, item.place.column) for item in broken.found] == [("syntax", 2, 5)]
    assert [item.defect.code for item in read(b"#" * 4_000_001).found] == ["too_large"]


def test_every_message_stands_in_both_languages() -> None:
    for es, en in MESSAGES.values():
        assert es
        assert en
        assert es != en


def test_lazo_rulebook_check_prints_file_line_column_and_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    register(app)

    @app.callback()
    def _root() -> None:
        pass

    monkeypatch.setenv("LAZO_LANGUAGE", "es")
    file = tmp_path / "book.yaml"
    file.write_text(SMALL.replace("causes: [few]", "causes: [gone]"), "utf-8")
    result = CliRunner().invoke(app, ["rulebook", "check", str(file)])
    assert result.exit_code == 1
    line, column = place_of(file.read_text("utf-8"), "gone")
    assert f"{file}:{line}:{column}: «gone» no existe en causes" in result.output
    file.write_text(SMALL, "utf-8")
    assert CliRunner().invoke(app, ["rulebook", "check", str(file)]).exit_code == 0


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 20_000, "- " * 50_000, "? " * 50_000])
def test_a_hundred_thousand_brackets_are_refused_at_once(text: str) -> None:
    """libyaml alone takes a minute over them."""
    reading = read(text)
    assert [item.defect.code for item in reading.found] == ["syntax"]
    assert not reading.sound
