"""What people do for the coding's sake: second, blind codings on `lazo.classifications`; the past coded again, on `lazo.rulebook`."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from libs.events.catalogue.base import EventData, event
from libs.events.catalogue.topics import CLASSIFICATIONS, RULEBOOK


@event("lazo.second-coding.recorded.v1", CLASSIFICATIONS)
class SecondCodingRecorded(EventData):
    """A second person coded a contact without seeing the first decision, which stays in force (R07). Key: the customer."""

    interaction_id: str
    customer_id: str
    at: datetime
    by: str = Field(description="the second person")
    motive: str = Field(description="rulebook code, or unknown")
    cause: str = Field(description="rulebook code, or unknown")
    first_by: str
    first_motive: str
    first_cause: str
    first_revision: int = Field(description="the decision it stands beside")
    machine_motive: str | None = Field(default=None, description="what was decided before any person")
    machine_cause: str | None = None
    rulebook_version: int


class Move(BaseModel):
    """How many contacts went from one motive to another."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    before: str
    after: str
    count: int


@event("lazo.recoding.started.v1", RULEBOOK)
class RecodingStarted(EventData):
    """A person had the past coded again under a rulebook and a model, after a preview. Nobody is written to about it."""

    recoding_id: str
    at: datetime
    by: str
    rulebook_version: int
    model_version: str
    total: int = Field(description="contacts to go through")
    since: datetime | None = None
    until: datetime | None = None
    motive: str | None = Field(default=None, description="only contacts that were coded so")


@event("lazo.recoding.ended.v1", RULEBOOK)
class RecodingEnded(EventData):
    """It came to its end, was cancelled, or another rulebook overtook it."""

    recoding_id: str
    at: datetime
    outcome: str = Field(description="done, cancelled or overtaken")
    by: str | None = Field(default=None, description="who cancelled it")
    looked_at: int
    appended: int
    changed: int
    by_people: int = Field(description="left alone because a person had decided")
    erased: int = Field(description="left alone because the words are gone")
    moves: list[Move] = Field(default_factory=list)
