"""Mappings: what a row becomes, and what is said about a wrong mapping or a wrong row."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.intake.mapping import Mapper, MappingFile, Row, WrongMapping, WrongRow, load

FILE_DATE = datetime(2026, 1, 5, tzinfo=UTC)


def mapper(**changes: Any) -> Mapper:
    given: dict[str, Any] = {"fields": {"external_id": "ID", "text": "TEXTO"}, "missing": {"occurred_at": "file"}}
    return Mapper(MappingFile.model_validate({**given, **changes}), "src", FILE_DATE)


def element(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return mapper(**changes).element(Row(1, 2, values))


def wrong(values: dict[str, Any], **changes: Any) -> WrongRow:
    with pytest.raises(WrongRow) as caught:
        element(values, **changes)
    return caught.value


def test_columns_constants_templates_and_value_maps_make_an_element() -> None:
    made = element(
        {"ID": " 7 ", "A": "uno", "B": "", "C": "dos", "TIPO": "Queja", "MAIL": "a@x.co", "M": "12.50"},
        constants={"channel": "branch", "amount.currency": "COP"},
        fields={
            "external_id": "ID",
            "text": {"template": "{A} / {C}"},
            "subject": {"first_of": ["B", "C"]},
            "kind": {"column": "TIPO", "map": {"Queja": "complaint"}, "otherwise": "unknown"},
            "customer.email": "MAIL",
            "amount.amount": "M",
            "attributes.size": {"constant": 3},
        },
    )
    assert made == {
        "source": "src",
        "channel": "branch",
        "external_id": "7",
        "text": "uno / dos",
        "subject": "dos",
        "kind": "complaint",
        "customer": {"email": "a@x.co"},
        "amount": {"currency": "COP", "amount": "12.50"},
        "attributes": {"size": 3},
        "occurred_at": "2026-01-05T00:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("31/12/2025 14:05", "2025-12-31T14:05:00-05:00"), ("2025-12-31", "2025-12-31T00:00:00-05:00")],
)
def test_dates_are_read_by_the_first_format_that_fits_in_the_zone_given(text: str, expected: str) -> None:
    made = element(
        {"ID": "1", "TEXTO": "x", "FECHA": text},
        fields={"external_id": "ID", "text": "TEXTO", "occurred_at": "FECHA"},
        dates=["%d/%m/%Y %H:%M", "%Y-%m-%d"],
        zone="America/Bogota",
    )
    assert made["occurred_at"] == expected


def test_unix_seconds_and_milliseconds_are_dates_too() -> None:
    for form, text in (("unix", "1767225600"), ("unix_ms", "1767225600000")):
        fields = {"external_id": "ID", "text": "TEXTO", "occurred_at": {"column": "T", "formats": [form]}}
        assert element({"ID": "1", "TEXTO": "x", "T": text}, fields=fields)["occurred_at"].startswith(
            "2026-01-01T00:00"
        )


def test_rows_without_an_id_get_the_digest_of_their_content_the_same_one_every_time() -> None:
    def ids() -> list[str]:
        of = mapper(fields={"text": "TEXTO"})
        return [of.element(Row(n, n, {"TEXTO": t}))["external_id"] for n, t in enumerate(["a", "b", "a", "a"])]

    first = ids()
    assert first == ids()
    assert len(set(first)) == 4  # equal rows are different contacts


def test_rows_without_a_date_are_spread_over_the_declared_range_the_same_way_every_time() -> None:
    spread = {"occurred_at": {"from": "2015-01-01", "to": "2015-12-31"}}
    drawn = [element({"ID": str(n), "TEXTO": "x"}, missing=spread)["occurred_at"] for n in range(200)]
    again = [element({"ID": str(n), "TEXTO": "x"}, missing=spread)["occurred_at"] for n in range(200)]
    assert drawn == again
    months = {datetime.fromisoformat(moment).month for moment in drawn}
    assert months == set(range(1, 13))
    assert {datetime.fromisoformat(moment).year for moment in drawn} == {2015}


def test_rows_are_skipped_by_rule() -> None:
    of = mapper(skip={"when": [{"column": "ID", "equals": ["TOTAL"]}, {"column": "TEXTO", "empty": True}]})
    rows = [
        {"ID": "1", "TEXTO": "x"},
        {"ID": "TOTAL", "TEXTO": "x"},
        {"ID": "2", "TEXTO": " "},
        {"ID": "", "TEXTO": ""},
    ]
    assert [of.skipped(Row(n, n, values)) for n, values in enumerate(rows)] == [False, True, True, True]


def test_what_is_wrong_with_a_row_names_the_column_and_the_remedy() -> None:
    dated: dict[str, Any] = {"fields": {"external_id": "ID", "text": "T", "occurred_at": "F"}}
    found = wrong({"ID": "1", "T": "x", "F": "31/12/25"}, **dated, dates=["%Y-%m-%d"], zone="America/Bogota")
    assert found.column == "F"
    assert "%Y-%m-%d" in found.reason
    found = wrong({"ID": "1", "T": "x", "F": "2025-12-31"}, **dated, dates=["%Y-%m-%d"])
    assert "zone" in found.reason
    mapped = {"external_id": "ID", "kind": {"column": "K", "map": {"a": "claim"}}}
    assert "otherwise" in wrong({"ID": "1", "K": "b"}, fields=mapped).reason
    assert "missing.occurred_at" in wrong({"ID": "1", "TEXTO": "x"}, missing={}).reason
    refusing = {"external_id": "refuse", "occurred_at": "file"}
    assert "external_id" in wrong({"ID": "", "TEXTO": "x"}, missing=refusing).reason
    flags = {"external_id": "ID", "customer.internal": "I"}
    assert wrong({"ID": "1", "I": "perhaps"}, fields=flags).column == "I"


def test_a_column_that_is_not_there_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(WrongMapping, match=r"'TEXT'.*did you mean 'TEXTO'"):
        mapper(fields={"text": "TEXT"}).check(["ID", "TEXTO"])
    with pytest.raises(WrongMapping, match=r"skip\.when\[0\]"):
        mapper(skip={"when": [{"column": "NO", "empty": True}]}).check(["ID", "TEXTO"])
    mapper(fields={"text": {"column": "NO", "optional": True}}).check(["ID"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("fields: [", "YAML"),
        ("- a", "fields"),
        ("fields:\n  txet: A", "did you mean text"),
        ("fields:\n  text: {column: A, template: B}", "exactly one"),
        ("fields:\n  text: {colum: A}", "no such setting"),
        ("filds: {}", "did you mean fields"),
        ("encoding: klingon", "mac_roman"),
        ("zone: Bogota", "America/Bogota"),
        ("missing:\n  occurred_at: {from: 2020-01-01, to: 2019-01-01}", "before"),
        ("fields:\n  text: {column: A, zone: America/Bogota}", "occurred_at"),
        ("fields:\n  subject: {column: A, otherwise: x}", "map"),
    ],
)
def test_a_wrong_mapping_names_the_place_and_the_remedy(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(WrongMapping, match=named):
        load(path)


@pytest.mark.parametrize("name", ["cmf", "cfpb"])
def test_the_mappings_we_ship_are_valid(name: str) -> None:
    assert load(Path(__file__).parents[2] / "deploy" / "mappings" / f"{name}.yaml").fields
