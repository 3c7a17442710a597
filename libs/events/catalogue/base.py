"""What every event type shares: a frozen model, a stored name, a topic, marks on personal fields."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a field that says something about a person: sealed before it reaches any store, log, quarantine or trace."""


PersonalText = Annotated[str | None, Personal()]
"""Text about a person. In a stored event it holds a sealed token; None once the person was erased."""


class EventData(BaseModel):
    """The data of an event. Writers must not add fields (checked in `Draft`), readers ignore those they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]


NAME = re.compile(r"(lazo\.[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*)\.v([1-9][0-9]*)")
"""A stored name; its groups are the name without the version, and the version."""

D = TypeVar("D", bound=EventData)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_types: dict[str, type[EventData]] = {}
_upcasters: dict[str, tuple[str, Upcaster]] = {}


def event(type_name: str, topic: str) -> Callable[[type[D]], type[D]]:
    """Register a model under its stored name `lazo.<noun>.<verb>.v<N>`; a name is registered once."""

    def register(model: type[D]) -> type[D]:
        if not NAME.fullmatch(type_name):
            raise ValueError(f"{type_name} is not lazo.<noun>.<verb>.v<N>")
        if type_name in _types:
            raise ValueError(f"{type_name} is registered twice")
        model.TYPE = type_name
        model.TOPIC = topic
        _types[type_name] = model
        return model

    return register


def upcaster(old: str, new: str) -> Callable[[Upcaster], Upcaster]:
    """Register the one step from an old version's data to the next version's data."""

    def register(step: Upcaster) -> Upcaster:
        before, after = NAME.fullmatch(old), NAME.fullmatch(new)
        if not (before and after and before[1] == after[1] and int(after[2]) == int(before[2]) + 1):
            raise ValueError(f"{old} to {new} is not one step of one type")
        if old in _upcasters:
            raise ValueError(f"{old} has two upcasters")
        _upcasters[old] = (new, step)
        return step

    return register
