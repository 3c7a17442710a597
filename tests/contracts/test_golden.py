"""Events of every version ever written can be read for ever (golden files), one upcasting step at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from libs.events import catalogue
from libs.events.catalogue import UnknownType, UnknownVersion, base, topics
from libs.events.catalogue.base import EventData, event, upcaster
from libs.events.envelope import Event
from tests.contracts import golden_files as golden

FILES = sorted(golden.FOLDER.glob("*.json"))


def stored(type_name: str, data: dict[str, Any]) -> Event:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return Event("id", type_name, "/lazo/x", "s/1", 1, 1, now, now, "k", "c", None, None, orjson.dumps(data))


def test_every_type_and_version_has_a_golden_file() -> None:
    assert {path.stem for path in FILES} == set(catalogue.types()) | set(base._upcasters), (
        "run `python -m tests.contracts.golden_files`"
    )


def test_golden_files_were_never_edited() -> None:
    assert {path.name: golden.digest(path) for path in FILES} == golden.digests()


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_golden_event_decodes_to_the_newest_model(path: Any) -> None:
    for data in orjson.loads(path.read_bytes()).values():
        read = catalogue.decode(stored(path.stem, data))
        assert type(read) is catalogue.types()[type(read).TYPE]
        if path.stem == type(read).TYPE:  # not upcast: everything that was written is there
            again = read.model_dump(mode="json", exclude_unset=True)
            assert again == data


def test_an_edited_golden_file_would_be_noticed(tmp_path: Any) -> None:
    copy = tmp_path / FILES[0].name
    copy.write_bytes(FILES[0].read_bytes().replace(b"2026", b"2027", 1) + b" ")
    assert golden.digest(copy) != golden.digests()[copy.name]


@pytest.fixture
def three_versions() -> Iterator[type[EventData]]:
    types, upcasters = dict(base._types), dict(base._upcasters)

    @event("lazo.parcel.weighed.v3", topics.FEEDBACK)
    class ParcelWeighed(EventData):
        parcel_id: str
        grams: int
        place: str

    @upcaster("lazo.parcel.weighed.v1", "lazo.parcel.weighed.v2")
    def to_grams(data: dict[str, Any]) -> dict[str, Any]:
        return {"parcel_id": data["parcel_id"], "grams": data["kilos"] * 1000}

    @upcaster("lazo.parcel.weighed.v2", "lazo.parcel.weighed.v3")
    def with_place(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"place": "unknown"}

    yield ParcelWeighed
    for registry, before in ((base._types, types), (base._upcasters, upcasters)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]  # each with its own


def test_an_old_version_is_upcast_one_step_at_a_time(three_versions: type[EventData]) -> None:
    expected = three_versions.model_validate({"parcel_id": "p", "grams": 2000, "place": "unknown"})
    assert catalogue.decode(stored("lazo.parcel.weighed.v1", {"parcel_id": "p", "kilos": 2})) == expected
    assert catalogue.decode(stored("lazo.parcel.weighed.v2", {"parcel_id": "p", "grams": 2000})) == expected
    now = {"parcel_id": "p", "grams": 2000, "place": "unknown", "later": 1}
    assert catalogue.decode(stored("lazo.parcel.weighed.v3", now)) == expected


def test_upcasting_leaves_the_stored_event_as_it_was(three_versions: type[EventData]) -> None:
    old = stored("lazo.parcel.weighed.v1", {"parcel_id": "p", "kilos": 2})
    catalogue.decode(old)
    assert old.json() == {"parcel_id": "p", "kilos": 2}


def test_a_newer_version_is_told_from_an_unknown_type(three_versions: type[EventData]) -> None:
    with pytest.raises(UnknownVersion):
        catalogue.decode(stored("lazo.parcel.weighed.v4", {}))
    with pytest.raises(UnknownType):
        catalogue.decode(stored("lazo.parcel.lost.v1", {}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lazo.case.opened.v1", "lazo.case.opened.v3"),
        ("lazo.case.opened.v2", "lazo.case.opened.v1"),
        ("lazo.case.opened.v1", "lazo.case.closed.v2"),
        ("lazo.case.opened", "lazo.case.opened.v2"),
    ],
)
def test_an_upcaster_is_one_step_of_one_type(old: str, new: str) -> None:
    with pytest.raises(ValueError, match="one step"):
        upcaster(old, new)(lambda data: data)


def test_a_version_has_one_upcaster(three_versions: type[EventData]) -> None:
    with pytest.raises(ValueError, match="two upcasters"):
        upcaster("lazo.parcel.weighed.v1", "lazo.parcel.weighed.v2")(lambda data: data)


@pytest.mark.parametrize("name", ["lazo.case.opened", "Lazo.case.opened.v1", "lazo.case.v1", "lazo.case.opened.v0"])
def test_a_stored_name_has_noun_verb_and_version(name: str) -> None:
    with pytest.raises(ValueError, match="<noun>"):
        event(name, topics.FEEDBACK)(EventData)
