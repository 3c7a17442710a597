"""`lazo.rulebook`: the versioned rulebook (taxonomy, procedures, norms). Key: the section."""

from datetime import datetime
from typing import Any

from pydantic import Field

from libs.events.catalogue.base import EventData, event
from libs.events.catalogue.topics import RULEBOOK


@event("lazo.rulebook.published.v1", RULEBOOK)
class RulebookPublished(EventData):
    """A whole rulebook version. Codes are never reused and never change meaning."""

    version: int
    name: str
    published_at: datetime
    published_by: str
    checksum: str = Field(description="sha256 of the canonical JSON of document")
    document: dict[str, Any]


@event("lazo.procedure.signed.v1", RULEBOOK)
class ProcedureSigned(EventData):
    """A team signed that it knows a version of a procedure (R24, G10). Key: the section, `procedures`."""

    procedure: str
    version: int
    team: str
    signed_at: datetime = Field(description="when the team signed, which may be before it was recorded")
    by: str = Field(description="who recorded it")


@event("lazo.topic.emerged.v1", RULEBOOK)
class TopicEmerged(EventData):
    """Texts that fit nothing in the rulebook turned out to be alike (R73). Key: the section, `topics`."""

    topic_id: str
    size: int
    customers: int
    examples: list[str] = Field(description="interaction ids, the most typical first")
    words: list[str] = Field(default_factory=list, description="words that several of the customers used")
    first_at: datetime
    last_at: datetime
    rulebook_version: int


@event("lazo.topic.settled.v1", RULEBOOK)
class TopicSettled(EventData):
    """A person decided about a topic: it becomes a motive, or is none. It never codes anything by itself."""

    topic_id: str
    outcome: str = Field(description="proposed, dismissed or emerging (taken up again)")
    motive: str | None = Field(default=None, description="the code proposed for it")
    at: datetime
    by: str
