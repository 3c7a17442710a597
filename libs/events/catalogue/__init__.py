"""The published language: every event type Lazo knows, by its stored name, with the steps from old versions to new ones."""

import orjson

from libs.events.catalogue import (
    classifications,
    coding,
    feedback,
    findings,
    inputs,
    interactions,
    models,
    rulebook,
    topics,
)
from libs.events.catalogue.base import EventData, Personal, PersonalText, _types, _upcasters, event, upcaster
from libs.events.envelope import Event

__all__ = [
    "EventData",
    "Personal",
    "PersonalText",
    "UnknownType",
    "UnknownVersion",
    "classifications",
    "coding",
    "decode",
    "event",
    "feedback",
    "findings",
    "inputs",
    "interactions",
    "model_of",
    "models",
    "personal_fields",
    "rulebook",
    "topics",
    "types",
    "upcaster",
]


class UnknownType(LookupError):
    """No such event type: a deterministic failure unless the subscription ignores it."""


class UnknownVersion(LookupError):
    """A newer version of a known type: transient, the deployment that knows it is on its way."""


def types() -> dict[str, type[EventData]]:
    """Every registered type by its stored name."""
    return dict(_types)


def model_of(type_name: str) -> type[EventData]:
    """The model registered under a stored name; raises UnknownType or UnknownVersion."""
    try:
        return _types[type_name]
    except KeyError:
        base = type_name.rpartition(".v")[0]
        if any(known.rpartition(".v")[0] == base for known in _types):
            raise UnknownVersion(type_name) from None
        raise UnknownType(type_name) from None


def decode(event: Event) -> EventData:
    """The event's data as its newest model, upcast step by step; personal fields stay sealed."""
    type_name, data = event.type, orjson.loads(event.data)
    while type_name in _upcasters:
        type_name, step = _upcasters[type_name]
        data = step(data)
    return model_of(type_name).model_validate(data)


_personal: dict[type[EventData], tuple[str, ...]] = {}


def personal_fields(model: type[EventData]) -> tuple[str, ...]:
    """Names of the fields marked personal."""
    if model not in _personal:
        _personal[model] = tuple(
            name
            for name, field in model.model_fields.items()
            if any(isinstance(mark, Personal) for mark in field.metadata)
        )
    return _personal[model]
