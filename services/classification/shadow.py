"""Other settings of the monitor, run over history beside those in force, without effect (G11).

The counts that stand in the tables are judged twice: under the rules in force and under those asked about. Nothing is written,
no verdict is reached, nobody is told. What comes out is which findings would have come and when, and what that costs: the
false alarms a month that the setting admits, and what people said of the findings that both sides share.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.engines import reading
from libs.events.offload import offload
from services.classification import tables
from services.classification.counting import MONITOR, PEERS
from services.classification.domain.monitor import Rules
from services.classification.domain.peers import Peers
from services.classification.domain.preview import Seen, Tally, compare, seen_by, systemic
from services.classification.domain.slices import DEFAULT, Series, parse
from services.classification.domain.watch import MAX_DAYS, Watch
from services.classification.teaching import slice_key

MONTH = 30.4375
ASKABLE = tuple(field.name for field in fields(Rules) if field.name not in {"calendar", "holidays"})
"""What of the monitor's rules may be asked about: its numbers."""


class ShadowRunning(Exception):
    """One at a time: each takes a core."""


class UnknownSetting(Exception):
    """The monitor has no such setting; the text is its name."""


class Shadow:
    """Reads; has nothing to write with."""

    def __init__(self, engine: AsyncEngine, rules: Rules, series: Sequence[Series] = parse(DEFAULT)) -> None:
        self._engine, self._rules = engine, rules
        self._watched = {one.counts: one for one in series}
        self._busy = asyncio.Lock()

    def rules_with(self, changes: Mapping[str, float]) -> Rules:
        """The rules in force with some of them changed. Raises UnknownSetting."""
        types = {name: type(getattr(self._rules, name)) for name in ASKABLE}
        for name in changes:
            if name not in types:
                raise UnknownSetting(name)
        return replace(self._rules, **{name: types[name](value) for name, value in changes.items()})

    async def run(self, changes: Mapping[str, float]) -> dict[str, Any]:
        """Both sides and their differences. Raises ShadowRunning, UnknownSetting."""
        other = self.rules_with(changes)
        if self._busy.locked():
            raise ShadowRunning
        async with self._busy:
            d, w, f = tables.days, tables.watermarks, tables.findings
            async with reading(self._engine) as connection:
                mark = (await connection.execute(select(w).where(w.c.name == MONITOR))).one_or_none()
                days: Sequence[Any] = []
                if mark is not None and mark.through is not None:
                    since = mark.latest - timedelta(days=MAX_DAYS)
                    query = select(d.c.series, d.c.motive, d.c.place, d.c.day, d.c.fresh, d.c.contacts)
                    query = query.where(d.c.day >= since).order_by(d.c.day, d.c.motive, d.c.place)
                    days = (await connection.execute(query)).all()
                said = (await connection.execute(select(f.c.slice_key, f.c.status, f.c.finding_id))).all()
            through = None if mark is None else mark.through
            live, asked = [await offload(_judge, rules, days, through, self._watched) for rules in (self._rules, other)]
        first = min((row.day for row in days), default=None)
        months = 0.0 if first is None or through is None else max(1, (through - first).days + 1) / MONTH
        people: dict[str, set[str]] = {}
        for row in said:
            people.setdefault(row.slice_key, set()).add("dismissed" if row.status == "dismissed" else row.status)
        return {
            "judged_through": through,
            "months": round(months, 2),
            "live": _side(self._rules, live, months, people),
            "shadow": _side(other, asked, months, people),
            "verdicts": compare(live, asked, Tally()),
            "changed": dict(changes),
        }


def _judge(rules: Rules, days: Sequence[Any], through: Any, watched: Mapping[str, Series]) -> list[Seen]:
    """In a thread: a year of two hundred slices takes seconds."""
    watch, peers = Watch(rules=rules), Peers()
    if through is None:
        return []
    for row in days:
        if (series := watched.get(row.series)) is not None:
            watch.add(series.slice_of(row.motive, row.place), row.day, row.fresh, row.contacts)
        if row.series == PEERS:
            peers.add(row.motive, row.place, row.day, row.fresh)
    watch.advance(through)
    peers.advance(through)
    return seen_by(watch, peers)


def _side(rules: Rules, seen: Sequence[Seen], months: float, people: Mapping[str, set[str]]) -> dict[str, Any]:
    slices = systemic(seen)
    keys = [slice_key(where) for where in slices]
    first: dict[str, Any] = {}
    for one in seen:
        if one.verdict == "systemic":
            key = slice_key(one.slice)
            first[key] = min(first.get(key, one.since), one.since)
    kept = people.items()
    return {
        "rules": {name: getattr(rules, name) for name in ASKABLE},
        "false_alarms_admitted": round(rules.false_alarms_per_month * months, 2),
        "findings": [
            {"slice": where, "since": first[key], "people_said": sorted(people.get(key, ()))}
            for where, key in zip(slices, keys, strict=True)
        ],
        # What people said of the slices this side would open, and of those it would miss.
        "dismissed_by_people": sum(people.get(key) == {"dismissed"} for key in keys),
        "taken_up_missed": sorted(key for key, statuses in kept if key not in keys and statuses != {"dismissed"}),
    }
