"""Progress of a case in the contact centre's own system."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Required

from pydantic import ConfigDict, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from libs.events.catalogue.interactions import CaseStatus, CaseUpdateRecorded, Effects
from libs.events.ids import natural_id
from services.intake.domain.fields import TEXT, Identifier, Moment, Short, SourceId
from services.intake.domain.interactions import moment, trusted
from services.intake.domain.sources import Source


class Outcome(StrEnum):
    """What the firm found (R100); the customer's own version stays untouched beside it."""

    UPHELD = "upheld"
    PARTLY_UPHELD = "partly_upheld"
    NOT_UPHELD = "not_upheld"
    EXPLAINED = "explained"


class CaseUpdateIn(TypedDict, total=False):
    """One step of a case as the other system writes it."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # how pydantic reads it from a TypedDict

    source: Required[SourceId]
    external_id: Required[Identifier]
    case_ref: Required[Identifier]
    status: Required[CaseStatus]
    occurred_at: Required[Moment]
    agent: Short | None
    team: Short | None
    procedure: Short | None
    outcome: Outcome | None
    note: Annotated[str, StringConstraints(max_length=TEXT)] | None


ADAPTER: TypeAdapter[CaseUpdateIn] = TypeAdapter(CaseUpdateIn)
LIST: TypeAdapter[list[CaseUpdateIn]] = TypeAdapter(list[CaseUpdateIn])
KNOWN: Mapping[str, tuple[str, ...]] = {"": tuple(CaseUpdateIn.__annotations__)}


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """A valid update that only waits for its case to be looked up."""

    id: str
    case_ref: str
    values: dict[str, Any]


def case_key(source: str, case_ref: str) -> str:
    """The partition key of a case whose customer is not known yet."""
    return natural_id("case-ref", source, case_ref)


def prepare(element: Mapping[str, Any], source: Source, now: datetime, effects: Effects) -> PreparedUpdate:
    """Decide whether a well-formed update is a fact; Refused says what is wrong with it."""
    update_id = natural_id("case-update", source.id, element["external_id"])
    outcome = element.get("outcome")
    values = {
        "update_id": update_id,
        "external_id": element["external_id"],
        "origin": source.id,
        "case_ref": element["case_ref"],
        "status": element["status"],
        "occurred_at": moment(element["occurred_at"], now),
        "customer_id": None,
        "interaction_id": None,
        "agent": element.get("agent") or None,
        "team": element.get("team") or source.defaults.get("team"),
        "procedure": element.get("procedure") or None,
        "outcome": outcome.value if outcome else None,
        "note": element.get("note") or None,
        "effects": effects,
    }
    return PreparedUpdate(update_id, element["case_ref"], values)


def recorded(prepared: PreparedUpdate, interaction_id: str | None, customer_id: str | None) -> CaseUpdateRecorded:
    """The fact, tied to the interaction its case began with where that is known."""
    prepared.values["interaction_id"] = interaction_id
    prepared.values["customer_id"] = customer_id
    return trusted(CaseUpdateRecorded, prepared.values)
