"""The timer that judges a corrective action once the window after it has passed, and again while it is undecided (G4).

What is looked at is the declared window, or that and the weeks since which were said to be needed: days counted from the action
and from nothing else, so that a service which was down for a month judges the same days afterwards, one judgement after another.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.offload import offload
from libs.events.store import Unit
from libs.events.timers import Timer
from services.classification import desk, inputs, outcomes, tables
from services.classification.counting import PEERS, WATCHED
from services.classification.domain import looks
from services.classification.domain.agreements import UNITS
from services.classification.domain.effect import MOST_WEEKS, WEEKS, Days, Effect, evaluate, judge
from services.classification.domain.findings import Action, Finding, Judge
from services.classification.domain.numeric import Array
from services.classification.domain.watch import fresh_days
from services.classification.joining import within
from services.classification.waiting import Waiting

PAST_DAYS = 2 * 365
"""So much of the past is looked at: two of each season."""
BEFORE_AT_LEAST = 28
COMMON_PRIOR = 60.0
DISPERSION = 1.3
"""Of a slice too young to show its own; the middle of what the demonstration's and the benchmark's slices have."""
LEAST_KNOWN = 0.9
"""Share of days, before the action and after it, whose exposure has to be known for a rate; the others are taken for the middle one."""


class Judging:
    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    async def due(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: compare what came with what would have come; whatever is not better reopens the finding."""
        for timer in timers:
            finding = await desk.load(unit, timer.data["finding"])
            action = None if finding is None else finding.action
            days = None if action is None else looks.window(action)
            if finding is None or action is None or days is None or action.action_id != timer.key:
                continue
            effect, metric = await self._effect(unit.connection, finding, action, days)
            command = Judge(action_id=action.action_id, effect=effect, metric=metric)
            await desk.carry_out(unit, finding.finding_id, command, self._waiting, cause=timer)

    async def _effect(
        self, connection: AsyncConnection, finding: Finding, action: Action, window: int
    ) -> tuple[Effect, str]:
        """The declared measure in so many days after the action beside all the past there is, and what was measured; the day of
        the action is in neither."""
        assert action.implemented_at is not None
        where = action.slice or finding.slice
        day = action.implemented_at.astimezone(self._waiting.zone).date()
        until = day + timedelta(days=window)
        first = (await connection.execute(select(func.min(tables.days.c.day)))).scalar()
        since = max(first or day, day - timedelta(days=PAST_DAYS))
        if since >= day:
            return Effect("undecided", None, None, None, 0, 0), action.metric
        own = await _own(connection, where, since, until, self._waiting, contacts=action.metric == "contacts")
        others, related = await _around(connection, where, since, until)
        exposure = None
        if action.metric == "rate":
            exposure = await _exposure(connection, where, since, until, (day - since).days)
        metric = "complainants" if action.metric == "rate" and exposure is None else action.metric
        days = Days(
            own=own,
            others=others,
            related=related,
            action=(day - since).days,
            window=window,
            year=since.timetuple().tm_yday / 365.25,
            exposure=exposure,
        )
        ended = action.implemented_at + timedelta(days=window)
        helped, harmed = await outcomes.helped(connection, where, action.implemented_at, ended)
        least = looks.least_weeks(action)
        # A second of arithmetic where the weeks ahead are looked for: elsewhere, so that requests are answered meanwhile.
        effect = await offload(evaluate, days, action.expected_ratio, helped=helped, harmed=harmed, least_weeks=least)
        return (effect if effect.ratio is not None else _two_sums(days, action.expected_ratio, least)), metric


async def _own(
    connection: AsyncConnection,
    where: Mapping[str, str],
    since: date,
    until: date,
    waiting: Waiting,
    *,
    contacts: bool = False,
) -> Array:
    """Fresh complainants (or all contacts) per day of a slice, whatever attributes it names; the sums per day hold the usual two."""
    series = _series(where)
    if series is not None:
        name, place = series
        held = await _sums(connection, name, since, until, contacts=contacts)
        parts = [counts for (motive, at), counts in held.items() if motive == where["motive"] and place in {None, at}]
        return np.sum(parts, axis=0) if parts else np.zeros((until - since).days + 1)
    p = tables.particulars
    conditions: list[ColumnElement[bool]] = [p.c.counted, p.c.occurred_at < waiting.midnight(until + timedelta(days=1))]
    conditions += within(where)
    days: dict[str, list[date]] = defaultdict(list)
    for customer, at in await connection.execute(select(p.c.customer_id, p.c.occurred_at).where(*conditions)):
        days[customer].append(at.astimezone(waiting.zone).date())
    found = np.zeros((until - since).days + 1)
    for own in days.values():
        for day in own if contacts else fresh_days(own):
            if day >= since:
                found[(day - since).days] += 1
    return found


async def _around(
    connection: AsyncConnection, where: Mapping[str, str], since: date, until: date
) -> tuple[Array, dict[str, Array]]:
    """What the action did not touch (other motives elsewhere; for a failure of no one motive, other places), and where its complaints could go: the same motive at other
    places, other motives at the same place. Without a place the other motives are what it did not touch."""
    name = PEERS if PEERS in where else WATCHED
    place = where.get(name)
    length = (until - since).days + 1
    others, elsewhere, otherwise = np.zeros(length), np.zeros(length), np.zeros(length)
    motive = where.get("motive")
    for (its_motive, its_place), counts in (await _sums(connection, name, since, until)).items():
        if motive is None:
            # Of a failure that crosses motives nothing but other places is surely untouched; without a place, nothing is.
            others += counts if place is not None and its_place != place else 0.0
        elif its_motive == motive:
            elsewhere += counts if its_place != place else 0.0
        elif place is not None and its_place == place:
            otherwise += counts
        else:
            others += counts
    related = {} if place is None else {"elsewhere": elsewhere, "another motive": otherwise}
    return others, {label: counts for label, counts in related.items() if counts.sum()}


def _series(where: Mapping[str, str]) -> tuple[str, str | None] | None:
    """The series of sums per day that holds exactly this slice, and its place there (None: all places together)."""
    rest = where.keys() - {"motive"}
    if "motive" not in where or len(rest) > 1 or not rest <= {WATCHED, PEERS}:
        return None
    return (PEERS, where[PEERS]) if PEERS in where else (WATCHED, where.get(WATCHED))


async def _sums(
    connection: AsyncConnection, series: str, since: date, until: date, *, contacts: bool = False
) -> dict[tuple[str, str], Array]:
    table = tables.days
    counted = table.c.contacts if contacts else table.c.fresh
    query = select(table.c.motive, table.c.place, table.c.day, counted).where(
        table.c.series == series, table.c.day >= since, table.c.day <= until
    )
    length = (until - since).days + 1
    found: dict[tuple[str, str], Array] = defaultdict(lambda: np.zeros(length))
    for motive, place, day, number in await connection.execute(query):
        found[motive, place][(day - since).days] += number
    return found


async def _exposure(
    connection: AsyncConnection, where: Mapping[str, str], since: date, until: date, action: int
) -> Array | None:
    """Contracts, orders or contacts per day of the slice without its motive and cause; None where too few days are known.

    A day that is zero or missing among known ones has the middle amount: unknown is neither nobody nor everybody."""
    held = {name: value for name, value in where.items() if name not in {"motive", "cause"}}
    for name in UNITS:
        exposed = await inputs.exposed(connection, name, since, until)
        amounts = [exposed.on(held, since + timedelta(days=number)) for number in range((until - since).days + 1)]
        known = np.array([amount is not None for amount in amounts])
        if known[:action].mean() < LEAST_KNOWN or known[action + 1 :].mean() < LEAST_KNOWN:
            continue
        middle = float(np.median([amount for amount in amounts if amount is not None]))
        return np.array([middle if amount is None else amount for amount in amounts]) / middle
    return None


def _two_sums(days: Days, expected_ratio: float, least_weeks: int) -> Effect:
    """Less than four weeks of past: the two sums, freed of what the other slices did meanwhile."""
    effect = _compared(days, expected_ratio)
    if effect.judgement != "undecided":
        return effect

    def decides(weeks: int) -> bool:
        """Whether the days after would decide if as many again came as they came so far."""
        tail = slice(days.action + 1, days.action + 1 + days.window)
        repeated = 1 + weeks * 7 // max(days.window, 1) + 1
        own, others = (
            np.concatenate([counts[: tail.start], np.tile(counts[tail], repeated)])
            for counts in (days.own, days.others)
        )
        ahead = replace(days, own=own, others=others, window=days.window + 7 * weeks)
        return _compared(ahead, expected_ratio).judgement != "undecided"

    weeks = next((number for number in WEEKS if number >= least_weeks and decides(number)), MOST_WEEKS)
    return replace(effect, weeks_needed=weeks)


def _compared(days: Days, expected_ratio: float) -> Effect:
    before_days = min(days.action, max(days.window, BEFORE_AT_LEAST))
    before, after = slice(days.action - before_days, days.action), slice(days.action + 1, days.action + 1 + days.window)
    others_before, others_after = float(days.others[before].sum()), float(days.others[after].sum())
    mean = (others_before + others_after) / (before_days + days.window)
    return judge(
        before=int(days.own[before].sum()),
        before_exposure=before_days * (others_before + COMMON_PRIOR) / (mean * before_days + COMMON_PRIOR),
        after=int(days.own[after].sum()),
        after_exposure=days.window * (others_after + COMMON_PRIOR) / (mean * days.window + COMMON_PRIOR),
        dispersion=DISPERSION,
        expected_ratio=expected_ratio,
    )
