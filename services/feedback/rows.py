"""Rows as plain functions of the fold: writing them again gives the same rows."""

from collections.abc import Mapping
from typing import Any

from libs.events.ids import natural_id
from services.feedback.domain.case import Case
from services.feedback.domain.requests import TWO_WAY, Request

FIXED_CASE = frozenset({
    "case_id", "interaction_id", "customer_id", "kind", "channel", "origin", "case_ref", "effects", "language",
    "received_at", "acknowledge_by", "term",
})  # fmt: skip
FIXED_REQUEST = frozenset({
    "request_id", "event_id", "case_id", "customer_id", "channel", "purpose", "language", "requested_at", "expires_at",
    "token_hash",
})  # fmt: skip
"""Columns settled by the first event: an upsert leaves them (and their indexes) alone."""


def requested_event_id(request_id: str) -> str:
    """The id of the event that made a request: the same obligation can be written down once only."""
    return natural_id("requested", request_id)


def case_row(state: Case) -> dict[str, Any]:
    opened, standing = state.opened, state.standing
    return {
        "case_id": opened.case_id,
        "interaction_id": opened.interaction_id,
        "customer_id": opened.customer_id,
        "kind": str(opened.kind),
        "channel": str(opened.channel),
        "origin": opened.origin,
        "case_ref": opened.case_ref,
        "effects": str(opened.effects),
        "language": opened.language or "es",
        "reply_channel": str(opened.reply_channel) if state.reachable else None,
        "received_at": opened.received_at,
        "acknowledge_by": opened.acknowledge_by,
        "due_at": state.due_at,
        "term": opened.term,
        "status": standing.status,
        "open": standing.open,
        "awaited": standing.open and standing.settled_at is None,
        "acknowledged_at": standing.acknowledged_at,
        "responded_at": standing.responded_at,
        "resolved_at": standing.resolved_at,
        "closed_at": standing.closed_at,
        "outcome": standing.outcome,
        "agent": standing.agent,
        "team": standing.team,
        "referred_to": standing.referred_to,
        "reopenings": standing.reopenings,
        "acknowledged_late": state.unacknowledged,
        "in_time": state.in_time,
        "findings": list(state.findings),
        "version": state.version,
    }


def request_row(request: Request, language: str, token_hash: bytes | None) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "event_id": requested_event_id(request.request_id),
        "case_id": request.case_id,
        "customer_id": request.customer_id,
        "channel": str(request.channel),
        "purpose": request.purpose,
        "language": language,
        "status": request.status,
        "pending": request.pending,
        "closed": request.closed,
        "delivery": request.delivery,
        "requested_at": request.requested_at,
        "expires_at": request.expires_at,
        "answered_at": request.answered_at,
        "expired_at": request.expired_at,
        "expired_reason": request.expired_reason,
        "token_hash": token_hash if request.purpose in TWO_WAY else None,
    }


def mutable(row: Mapping[str, Any], fixed: frozenset[str]) -> list[str]:
    return [name for name in row if name not in fixed]
