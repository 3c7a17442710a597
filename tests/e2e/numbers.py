"""The indicators against the ledger: exactly what happened, and every number opens to the ids that were sent (G8)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from statistics import median
from typing import Any

import httpx
import pytest

from libs.events.ids import natural_id
from tests.e2e.ledger import Fact, Ledger, business_days, everything, received


class Numbers:
    """Asks for one range, by month in UTC, and sums what comes back."""

    def __init__(self, client: httpx.AsyncClient, ledger: Ledger, start: datetime, end: datetime) -> None:
        self.client, self.ledger, self.start, self.end = client, ledger, start, end
        self.asked = {"from": start.isoformat(), "to": end.isoformat(), "tz": "UTC"}
        self.cases = ledger.cases(start, end)

    async def points(self, code: str, **more: Any) -> list[dict[str, Any]]:
        path = f"/indicators/v1/indicators/{code}"
        answer = await self.client.get(path, params=self.asked | {"granularity": "month"} | more)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["points"]
        return found

    async def behind(self, code: str, **more: Any) -> list[dict[str, Any]]:
        return await everything(
            self.client, f"/indicators/v1/indicators/{code}/events", **self.asked, granularity="month", **more
        )

    def by_month(self, facts: dict[str, Fact]) -> dict[str, dict[str, Fact]]:
        found: dict[str, dict[str, Fact]] = {}
        for identity, fact in facts.items():
            month = received(fact).astimezone(UTC).strftime("%Y-%m")
            found.setdefault(month, {})[identity] = fact
        return found

    async def received_and_who(self) -> None:
        """1 and 3: cases and customers per month; behind a month's number stand the contacts of that month."""
        months = self.by_month(self.cases)
        for point in await self.points("1"):
            wanted = months.get(point["period"][:7], {})
            assert point["numerator"] == point["value"] == len(wanted), point
            behind = await self.behind("1", period=point["period"])
            assert {row["interaction_id"] for row in behind} == wanted.keys()
        for point in await self.points("3"):
            wanted = months.get(point["period"][:7], {})
            assert point["value"] == len({fact["customer"]["id"] for fact in wanted.values()}), point

    async def motives_and_components(self, coded: dict[str, tuple[str, str]]) -> None:
        """4 and 6; `coded`: motive and component by text."""
        for code, place, name in (("4", 0, "motive"), ("6", 1, "component")):
            for month, facts in self.by_month(self.cases).items():
                wanted = Counter(coded[fact["text"]][place] for fact in facts.values())
                points = [point for point in await self.points(code) if point["period"].startswith(month)]
                assert {point["group"][name]: point["numerator"] for point in points if point["numerator"]} == wanted
                assert {point["denominator"] for point in points} == {len(facts)}
        motive = coded[next(iter(self.cases.values()))["text"]][0]
        rows = await self.behind("4", **{"where[motive]": motive})
        assert {row["interaction_id"] for row in rows} == {
            identity for identity, fact in self.cases.items() if coded[fact["text"]][0] == motive
        }

    async def backlog(self, closed: set[str]) -> None:
        """10: what is open at the end, and how old."""
        left = [fact for identity, fact in self.cases.items() if identity not in closed]
        assert (await self.points("10"))[-1]["value"] == len(left)
        age = median((self.end - received(fact)).total_seconds() / 86_400 for fact in left)
        assert (await self.points("backlog_age"))[-1]["value"] == pytest.approx(age, abs=1e-3)

    async def times(self, acknowledged: dict[str, datetime], closed: dict[str, datetime]) -> None:
        """12 and 14."""
        [point] = [point for point in await self.points("12") if point["denominator"]]
        hours = [(at - received(self.cases[identity])).total_seconds() / 3600 for identity, at in acknowledged.items()]
        assert (point["value"], point["denominator"]) == (pytest.approx(median(hours)), len(hours))
        assert {row["interaction_id"] for row in await self.behind("12")} == acknowledged.keys()
        in_target = await self.points("acknowledgement_in_target")
        assert sum(point["numerator"] for point in in_target) == len(acknowledged)
        [point] = [point for point in await self.points("14") if point["denominator"]]
        days = [business_days(received(self.cases[identity]), at) for identity, at in closed.items()]
        assert (point["value"], point["denominator"]) == (median(days), len(days))
        assert {row["interaction_id"] for row in await self.behind("14")} == closed.keys()

    async def satisfaction(self, scores: dict[str, int]) -> None:
        """30."""
        [point] = [point for point in await self.points("30") if point["denominator"]]
        content = sum(score >= 4 for score in scores.values())
        assert (point["numerator"], point["denominator"]) == (content, len(scores))
        assert point["low"] < point["value"] < point["high"]
        rows = await self.behind("30", part="denominator")
        assert {row["case_id"] for row in rows} == {natural_id("case", identity) for identity in scores}

    async def systemic(self, slice_: dict[str, Fact], since: datetime, finding: dict[str, Any]) -> None:
        """37: the cases of the finding's slice since its first one."""
        wanted = {identity for identity, fact in slice_.items() if received(fact) >= since}
        points = await self.points("37")
        assert sum(point["numerator"] for point in points) == len(wanted)
        assert sum(point["denominator"] for point in points) == len(self.cases)
        assert {row["interaction_id"] for row in await self.behind("37")} == wanted
        [point] = [point for point in await self.points("detection_delay") if point["denominator"]]
        assert point["denominator"] == 1
        grouped = await self.points("1", group_by="verdict")
        assert sum(point["value"] for point in grouped if point["group"]["verdict"] == "systemic") == len(wanted)
        assert finding["interaction_ids"]
