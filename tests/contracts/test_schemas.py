"""The committed contracts are the models', and nobody breaks a reader or a writer of the version before unnoticed."""

import shutil
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, create_model

from libs.events import catalogue
from libs.events.catalogue import base, schemas, topics
from libs.events.catalogue.base import EventData, Personal, PersonalText, event
from tests.contracts import golden_files as golden

TYPES = sorted(catalogue.types())


def test_the_committed_files_are_what_the_models_generate() -> None:
    made = schemas.files(schemas.committed_fingerprints())
    present = {str(path.relative_to(schemas.FOLDER)): path.read_bytes() for path in schemas.FOLDER.rglob("*.json")}
    assert present == made, "run `make schemas` and look at the difference"


def test_no_committed_type_was_broken_or_changed_in_place() -> None:
    assert schemas.breaks() == {}


@pytest.mark.parametrize("name", TYPES)
def test_golden_data_are_valid_under_the_committed_schema(name: str) -> None:
    schema = orjson.loads((schemas.FOLDER / "events" / f"{name}.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for data in orjson.loads((golden.FOLDER / f"{name}.json").read_bytes()).values():
        validator.validate(data)


def test_every_type_of_the_document_leads_to_its_schema_and_topic() -> None:
    document = orjson.loads((schemas.FOLDER / "asyncapi.json").read_bytes())
    assert document["asyncapi"] == "3.0.0"
    listed = {}
    for channel in document["channels"].values():
        for name, reference in channel["messages"].items():
            message = document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
            assert (schemas.FOLDER / message["payload"]["schema"]["$ref"]).is_file()
            listed[name] = channel["address"]
    assert listed == {name: model.TOPIC for name, model in catalogue.types().items()}
    assert {channel["address"] for channel in document["channels"].values()} == set(topics.ALL)
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]


# Each check can fail -------------------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    amount: str
    note: str | None = None


class Before(EventData):
    TYPE = "lazo.test.happened.v1"
    TOPIC = topics.FEEDBACK

    name: str
    count: int
    colour: Colour = Colour.RED
    secret: PersonalText = None
    inner: Inner
    tags: list[str] = Field(default_factory=list)
    share: float | None = Field(default=None, ge=0, le=1)


def changed(**fields: Any) -> type[EventData]:
    """`Before` with other fields; None removes one."""
    kept: dict[str, Any] = {
        name: (Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation, field)
        for name, field in Before.model_fields.items()
        if name not in fields
    }
    added = {name: given for name, given in fields.items() if given is not None}
    model = create_model("Before", __base__=EventData, **kept, **added)
    model.TYPE, model.TOPIC = Before.TYPE, Before.TOPIC
    return model


class Inner2(BaseModel):
    amount: str
    currency: str


class MoreColours(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class FewerColours(StrEnum):
    RED = "red"


BREAKING: list[tuple[str, type[EventData], str]] = [
    ("a field removed", changed(tags=None), "tags: removed"),
    ("a required field removed", changed(count=None), "count: removed"),
    ("a new required field", changed(place=(str, ...)), "place: new and required"),
    ("a required field made optional", changed(name=(str | None, None)), "name: was required"),
    ("an optional field made required", changed(tags=(list[str], ...)), "tags: was optional"),
    ("another type", changed(count=(str, ...)), "count: type was integer, is string"),
    ("a wider type", changed(count=(float, ...)), "count: type was integer, is number"),
    ("a new value of an enumeration", changed(colour=(MoreColours, MoreColours.RED)), "green is new: readers"),
    ("a value of an enumeration gone", changed(colour=(FewerColours, FewerColours.RED)), "blue no longer allowed"),
    ("a narrower bound", changed(share=(Annotated[float, Field(ge=0, le=0.5)] | None, None)), "maximum was 1"),
    ("a personal field no longer sealed", changed(secret=(str | None, None)), "secret: sealed in one version"),
    ("a field sealed from now on", changed(name=(Annotated[str, Personal()], ...)), "name: sealed in one version"),
    ("a required field in a nested model", changed(inner=(Inner2, ...)), "inner.currency: new and required"),
    ("another type of list", changed(tags=(list[int], Field(default_factory=list))), "tags[]: type was string"),
]


@pytest.mark.parametrize(("what", "model", "message"), BREAKING, ids=[case[0] for case in BREAKING])
def test_an_incompatible_change_is_found(what: str, model: type[EventData], message: str) -> None:
    found = schemas.incompatibilities(schemas.schema_of(Before), schemas.schema_of(model))
    assert any(message in line for line in found), (what, found)


IN_PLACE = {"a required field removed", "a new required field", "a required field made optional"}
IN_PLACE |= {"an optional field made required", "another type", "a wider type", "a required field in a nested model"}


@pytest.mark.parametrize(("what", "model", "message"), BREAKING, ids=[case[0] for case in BREAKING])
def test_the_fingerprint_tells_a_version_changed_in_place(what: str, model: type[EventData], message: str) -> None:
    same = schemas.fingerprint(schemas.schema_of(Before)) == schemas.fingerprint(schemas.schema_of(model))
    assert same == (what not in IN_PLACE), message


@pytest.mark.parametrize(
    "model",
    [
        changed(),
        changed(place=(str | None, None)),
        changed(places=(list[Inner], Field(default_factory=list))),
        changed(name=(str, Field(description="said otherwise"))),
    ],
    ids=["nothing", "an optional field", "an optional list of models", "another description"],
)
def test_a_compatible_change_passes(model: type[EventData]) -> None:
    before, after = schemas.schema_of(Before), schemas.schema_of(model)
    assert schemas.incompatibilities(before, after) == []
    assert schemas.fingerprint(before) == schemas.fingerprint(after)


@pytest.fixture
def registered() -> Iterator[Callable[[type[EventData]], None]]:
    """Registers a model of `lazo.test.happened.v1` in place of the one before, for one test."""

    def register(model: type[EventData]) -> None:
        base._types.pop(Before.TYPE, None)
        event(Before.TYPE, topics.FEEDBACK)(model)

    yield register
    base._types.pop(Before.TYPE, None)


def test_make_schemas_writes_new_types_and_refuses_broken_ones(
    registered: Callable[[type[EventData]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "schemas"
    shutil.copytree(schemas.FOLDER, folder)
    registered(Before)
    assert schemas.main(["--check"], folder) == 1
    assert schemas.main([], folder) == 0
    assert schemas.main(["--check"], folder) == 0
    path = folder / "events" / f"{Before.TYPE}.json"
    committed = path.read_bytes()

    registered(changed(place=(str | None, None)))
    assert schemas.main([], folder) == 0  # an optional field: the file moves on, the fingerprint stays
    assert b"place" in path.read_bytes()
    assert schemas.breaks(folder) == {}

    registered(changed(place=(str, ...)))
    capsys.readouterr()
    assert schemas.main([], folder) == 1
    assert "lazo.test.happened.v1: data.place: was optional, is required" in capsys.readouterr().err
    assert "changed in place" in "".join(schemas.breaks(folder)[Before.TYPE])

    path.write_bytes(orjson.dumps(schemas.schema_of(changed(place=(str, ...)))))  # the file edited by hand to match
    assert schemas.breaks(folder) == {
        Before.TYPE: ["changed in place: its required fields or their types are not what was committed"]
    }
    assert schemas.main(["--accept", Before.TYPE], folder) == 0
    assert schemas.breaks(folder) == {}
    assert path.read_bytes() != committed

    base._types.pop(Before.TYPE)
    assert schemas.breaks(folder) == {Before.TYPE: ["removed: the log still holds events of it"]}


# Writers -------------------------------------------------------------------------------------------------------------


def test_a_field_that_a_writer_added_is_named_however_deep() -> None:
    data = {"name": "x", "count": 1, "inner": {"amount": "1", "extra": 2}, "colour": "red", "more": []}
    assert schemas.unknown_fields(Before, data) == ["inner.extra", "more"]
    assert schemas.unknown_fields(Before, {"name": "x", "count": 1, "inner": {"amount": "1"}}) == []


def test_a_reader_passes_over_what_a_newer_writer_added() -> None:
    read = Before.model_validate({"name": "x", "count": 1, "inner": {"amount": "1"}, "later": {"a": 1}})
    assert "later" not in read.model_dump()


@pytest.mark.parametrize("name", TYPES)
def test_writers_add_no_unknown_field(name: str) -> None:
    model = catalogue.model_of(name)
    for data in orjson.loads((golden.FOLDER / f"{name}.json").read_bytes()).values():
        assert schemas.unknown_fields(model, data) == []
        written = model.model_validate(data).model_dump(mode="json")
        assert schemas.unknown_fields(model, written) == []
