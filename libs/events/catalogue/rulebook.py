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
