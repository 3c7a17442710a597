"""A rulebook whose shape is wrong in one place is still checked everywhere else, and told in the reader's language."""

import re

import pytest

from services.classification.domain.problems import MESSAGES, SPANISH
from services.classification.domain.rulebook_history import against
from services.classification.rulebook_file import read
from tests.classification.test_rulebook import ROOT, SMALL

BROKEN = [
    # what is written instead, our code, the text at which it is told
    ("since: 2022-01-01", "since: 2022-02-31", "not_a_date", "2022-02-31"),
    ("{es: Calidad, en: Quality}", '{es: Calidad, en: ""}', "empty_text", '""}'),
    ("{es: Calidad, en: Quality}", "{es: Calidad, en: [Quality]}", "not_text", "[Quality]"),
    ("{version: 1,", "{version: one,", "not_whole", "one,"),
    ("{version: 1,", "{version: 0,", "out_of_bounds", "0, since"),
    ("causes: [few]", "causes: few", "not_a_list", "few\n"),
    ("name: {es: Espera, en: Waiting}", "name: Espera", "not_a_mapping", "Espera\n"),
    ("expectation: timeliness}", "expectation: timeliness, act: acts}", "not_among", "acts}"),
    (
        "{es: Calidad, en: Quality}",
        "{es: Calidad, en: Quality, eng: Quality}",
        "invalid_language",
        "Quality}}\n  - {code: qua",
    ),
    ("languages: [es, en]", "languages: []", "empty_list", "[]"),
]


@pytest.mark.parametrize(("old", "new", "code", "where"), BROKEN, ids=[item[2] for item in BROKEN])
def test_what_has_no_shape_is_told_at_its_place_in_both_languages_and_nothing_else_is(
    old: str, new: str, code: str, where: str
) -> None:
    """R06."""
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    (found,) = read(text).found
    before = text[: text.rindex(where) if code == "invalid_language" else text.index(where)]
    assert found.defect.code == code
    if code != "invalid_language":
        assert (found.place.line, found.place.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert found.line("f", "es") != found.line("f", "en")


def test_a_part_without_shape_hides_no_other_defect_and_makes_none_R06_R18_R22() -> None:
    text = SMALL
    for old, new in (
        ("{code: p1, since: 2020-01-01,", "{code: p1, since: 2020-01-01, sinse: 1,"),  # a misspelt key
        ("{es: Espera, en: Waiting}", "{es: Espera}"),  # no translation
        ("{version: 2, since: 2022-01-01,", "{version: 2, since: 2022-02-31,"),  # no such day
        ("causes: [few]", "causes: [few, gone]"),  # names nothing
        ("{es: Cantidad, en: Quantity}", "{es: Calidad, en: Quantity}"),  # a name twice
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    reading = read(text)
    assert reading.book is None
    assert sorted(item.defect.code for item in reading.found) == [
        "duplicate_name",
        "missing_translation",
        "not_a_date",
        "unknown_key",
        "unknown_reference",
    ]


def test_an_entry_left_out_for_its_shape_does_not_shift_the_places_of_those_behind_it() -> None:
    """R06: the second component has no code; the name twice is three further down."""
    text = SMALL.replace("{code: procedures, name", "{name", 1).replace("en: Systems}", "en: Product}", 1)
    found = {item.defect.code: item for item in read(text).found}
    assert set(found) == {"missing", "duplicate_name"}
    before = text[: text.rindex("Product}")]
    assert found["duplicate_name"].place.line == before.count("\n") + 1


def test_a_defect_is_a_sentence_of_ours_in_spanish_R06() -> None:
    """No message of a library reaches a person: `invalid` carries one and is what nobody foresaw."""
    english = re.compile(r"\b(should|input|expected|found|unable|value|did not)\b")
    for old, new, _, _ in BROKEN:
        for item in read(SMALL.replace(old, new, 1)).found:
            assert item.defect.code != "invalid"
            assert not english.search(item.defect.message("es").casefold())
    for text in ("a: [1, 2", "a: 1\n\tb: 2", "a: b: c", 'a: "b', "a: @b", "- a\nb", "a: {b: 1", 'a: "\\q"', "a\nb: 1"):
        (found,) = read(text).found
        assert found.defect.code == "syntax"
        assert not english.search(found.defect.message("es").casefold()), found.defect.message("es")
    assert all(es != en for es, en in MESSAGES.values() if "{" not in es)
    assert all(SPANISH.values())


def test_another_companys_rulebook_in_place_of_ones_own_is_asked_about_in_few_lines_G1() -> None:
    first, other = (read((ROOT / f"deploy/rulebooks/{name}.yaml").read_bytes()).book for name in ("bank", "operator"))
    assert first is not None
    assert other is not None
    found = list(against(other, [(1, first)]))
    assert [item.code for item in found].count("other_book") == 1
    dropped = [item for item in found if item.code == "codes_dropped"]
    assert {"motives", "causes"} <= {item.pointer[0] for item in dropped}
    assert all(item.warning for item in dropped)
    assert len(found) < 40
    assert not list(against(first, [(1, first)]))
