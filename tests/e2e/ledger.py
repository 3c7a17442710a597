"""What was sent, as a sender remembers it, and what must follow from it: reckoned here, without the services' code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

CASES = {"complaint", "claim", "request"}
Fact = dict[str, Any]


@dataclass
class Ledger:
    """Facts by their id, as answered by intake, and what the test knows about each."""

    facts: dict[str, Fact] = field(default_factory=dict)

    def add(self, sent: Iterable[Fact], ids: Iterable[str]) -> None:
        self.facts.update(zip(ids, sent, strict=True))

    def cases(self, start: datetime, end: datetime) -> dict[str, Fact]:
        """Facts that are cases and were received in the range, by interaction id."""
        return {
            identity: fact
            for identity, fact in self.facts.items()
            if fact["kind"] in CASES and start <= received(fact) < end
        }

    def id_of(self, external_id: str) -> str:
        [found] = [identity for identity, fact in self.facts.items() if fact["external_id"] == external_id]
        return found


def received(fact: Fact) -> datetime:
    return datetime.fromisoformat(fact["occurred_at"])


def business_days(start: datetime, end: datetime) -> int:
    """Mondays to Fridays from the day after `start` to the day of `end`, in UTC, without holidays."""
    days = (end.date() - start.date()).days
    return sum((start.date() + timedelta(days=n)).weekday() < 5 for n in range(1, days + 1))


async def everything(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = await client.get(path, params=params | {"limit": 200} | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found
