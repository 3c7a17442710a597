"""Rows as CSV, streamed: memory stays the same however long the file gets."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.periods import instant
from services.indicators.domain.query import Query
from services.indicators.tables import Facts
from services.indicators.views import lists
from services.indicators.views.measures import Answer

CHUNK = 1_000
_CONTACT = (
    "interaction_id", "occurred_at", "recorded_at", "kind", "channel", "source", "external_id", "customer_id", "segment",
    "touchpoint", "product", "location", "team", "agent", "supplier", "language", "effects", "case_id", "motive", "cause",
    "component", "factor", "expectation", "severity", "procedure", "rulebook_version", "confidence", "review",
)  # fmt: skip
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


class Opener(Protocol):
    def open(self) -> Any: ...


def safe(value: Any) -> Any:
    """A spreadsheet takes text that begins with = + - @ for a formula; a quote before it keeps it text (OWASP)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_DANGEROUS) else value


def line(values: Iterable[Any]) -> str:
    """One record (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerow(["" if value is None else safe(value) for value in values])
    return out.getvalue()


async def contact_lines(desk: Opener, query: Query) -> AsyncIterator[bytes]:
    """Contacts of the range, newest first, a page at a time, so that no transaction stays open for a slow reader."""
    yield line(_CONTACT).encode()
    before = None
    whole = query.whole()
    while True:
        async with desk.open() as (connection, t):
            rows = await _page(connection, t, whole, before)
        if not rows:
            return
        yield "".join(line(_cell(row, name) for name in _CONTACT) for row in rows).encode()
        before = (rows[-1]["occurred_at"], rows[-1]["interaction_id"])


async def _page(connection: AsyncConnection, t: Facts, query: Query, before: lists.Place | None) -> list[Any]:
    return list(await lists.contacts(connection, t, query, before=before, limit=CHUNK))


def _cell(row: Any, name: str) -> Any:
    return instant(row[name]).isoformat() if name in {"occurred_at", "recorded_at"} else row[name]


async def point_lines(answer: Answer) -> AsyncIterator[bytes]:
    """Points of an indicator, one a line, groups as columns."""
    names = answer.query.group_by
    yield line(("period", *names, "value", "numerator", "denominator", "low", "high")).encode()
    for point in answer.points:
        m = point.measured
        label = answer.query.periods.labels[point.period]
        yield line((label, *point.group, m.value, m.numerator, m.denominator, m.low, m.high)).encode()
