"""Which team had signed which version of a procedure, and when (G10): what tells a bad rule from a rule nobody knew (R24)."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from libs.events.catalogue.rulebook import ProcedureSigned

Signed = tuple[str, int, str]
"""Procedure, its version, team."""


class Signatures:
    """The first signature of each team under each version."""

    def __init__(self, first: Mapping[Signed, datetime] | None = None) -> None:
        self._first = dict(first or {})

    def had_signed(self, procedure: str | None, version: int | None, team: str | None, at: datetime) -> bool | None:
        """Whether the team had signed that version by then; None where there is no procedure or no team to ask about."""
        if procedure is None or version is None or not team:
            return None
        signed = self._first.get((procedure, version, team))
        return signed is not None and signed <= at


def fold(events: Iterable[ProcedureSigned]) -> dict[Signed, datetime]:
    """The first signatures as the events alone make them, in whatever order they come."""
    first: dict[Signed, datetime] = {}
    for event in events:
        key = (event.procedure, event.version, event.team)
        if key not in first or event.signed_at < first[key]:
            first[key] = event.signed_at
    return first
