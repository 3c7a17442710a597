"""The read model against a plain fold, for any order of arrival and any question (R08, R42, G2, G8)."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.indicators.domain.arithmetic import proportion, quantile
from services.indicators.domain.fold import Asked, Fold
from services.indicators.domain.periods import Periods, instant, micros, periods
from services.indicators.domain.query import Query
from services.indicators.domain.registry import DIMENSIONS, INDICATORS
from services.indicators.views.drill import behind
from services.indicators.views.measures import measure
from services.indicators.views.scope import live
from tests.indicators.conftest import Desk
from tests.indicators.world import START, World, interleaved, make

BOGOTA = ZoneInfo("America/Bogota")
NOW = START + timedelta(days=70)
FREE = frozenset({date(2026, 1, 12), date(2026, 3, 23)})


def holidays(country: str, first: int, last: int) -> frozenset[date]:
    return FREE


def question(**changes: Any) -> Query:
    spans = periods(START, NOW + timedelta(days=2), changes.pop("granularity", "week"), changes.get("zone", BOGOTA))
    return Query(spans, changes.pop("zone", BOGOTA), micros(NOW), **changes)


def asked(world: World, query: Query) -> Asked:
    fold = Fold(world.facts(), as_of=None if query.as_of is None else instant(query.as_of), rulebook=query.rulebook)
    edges = [instant(edge) for edge in query.periods.edges]
    spans = list(zip(query.periods.labels, edges, edges[1:], strict=False))
    return Asked(fold, spans, query.group_by, dict(query.where))


def expected(
    asked: Asked, code: str, known: datetime
) -> dict[tuple[str, tuple[str, ...]], tuple[float | None, int, int | None]]:
    """(value, numerator, denominator) of each point that has something in it."""

    def shares(found: dict[Any, tuple[int, int]]) -> dict[Any, Any]:
        return {place: (proportion(hit, total, minimum=1).value, hit, total) for place, (hit, total) in found.items()}

    def quantiles(found: dict[Any, list[float]], share: float) -> dict[Any, Any]:
        return {
            place: (quantile([(value, 1) for value in values], share), len(values), len(values))
            for place, values in found.items()
        }

    share = INDICATORS[code].quantile or 0.5
    match code:
        case "complaints_received":
            return {place: (number, number, None) for place, number in asked.received().items()}
        case "complainants":
            return {place: (number, number, None) for place, number in asked.complainants().items()}
        case "motive_share":
            return shares(asked.split("motive"))
        case "component_balance":
            return shares(asked.split("component"))
        case "systemic_share":
            return shares(asked.systemic())
        case "acknowledgement_in_target":
            return shares(asked.acknowledged_in_target(known))
        case "acknowledgement_time" | "acknowledgement_time_p90":
            return quantiles(asked.acknowledgement_hours(), share)
        case "resolution_time" | "resolution_time_p90":
            return quantiles(asked.resolution_days(BOGOTA, holidays), share)
        case "csat":
            return shares(asked.satisfied())
        case "backlog":
            return {place: (len(ages), len(ages), None) for place, ages in asked.open_ages(known).items()}
        case "backlog_age" | "backlog_age_p90":
            return quantiles(asked.open_ages(known), share)
        case "detection_delay":
            return quantiles(asked.detection_delays(), share)
    raise AssertionError(code)


async def answered(desk: Desk, code: str, query: Query) -> dict[Any, Any]:
    async with desk.reading() as connection:
        answer = await measure(connection, await live(connection), INDICATORS[code], query, holidays, minimum=1)
    labels = query.periods.labels
    return {
        (labels[point.period], point.group): (
            point.measured.value,
            point.measured.numerator,
            point.measured.denominator,
        )
        for point in answer.points
        if point.measured.numerator or point.measured.denominator
    }


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"granularity": "month", "group_by": ("motive",)},
    {"granularity": "day", "where": {"touchpoint": ("branch",)}},
    {"group_by": ("verdict", "nature")},
    {"group_by": ("kind", "component"), "where": {"language": ("es", "en")}},
    {"as_of": micros(START + timedelta(days=25))},
    {"as_of": micros(START + timedelta(days=25)), "group_by": ("motive",), "rulebook": 1},
    {"rulebook": 2, "group_by": ("severity",), "where": {"motive": ("billing", "unknown")}},
    {"zone": ZoneInfo("Europe/Madrid"), "granularity": "month", "group_by": ("team",)},
    {"where": {"verdict": ("systemic",)}},
]  # fmt: skip


@pytest.mark.parametrize("code", INDICATORS)
async def test_every_indicator_equals_a_plain_fold_for_every_question_G8(desk: Desk, code: str) -> None:
    world = make(4, contacts=120)
    await desk.project(interleaved(world.events, random.Random(3)), batches=random.Random(5))
    for changes in QUESTIONS:
        query = question(**changes)
        by = INDICATORS[code].by
        if by is not None and by not in query.group_by:
            query = question(**{**changes, "group_by": (*query.group_by, by)})
        if code.startswith("resolution") and query.zone is not BOGOTA:
            continue
        found = await answered(desk, code, query)
        wanted = {
            place: value
            for place, value in expected(asked(world, query), code, instant(query.known)).items()
            if value[1] or value[2]
        }
        found = {place: value for place, value in found.items() if place in wanted or value[1]}
        assert found.keys() == wanted.keys(), changes
        for place, value in wanted.items():
            assert found[place] == pytest.approx(value), (changes, place)


async def test_the_worlds_facts_reach_every_branch() -> None:
    """A fold that finds nothing would agree with a read model that finds nothing."""
    fold = asked(make(4, contacts=120), question(group_by=("motive", "verdict")))
    assert len(fold.received()) > 20
    assert {group[1] for _, group in fold.received()} >= {"systemic", "unknown"}
    assert fold.detection_delays()
    assert fold.resolution_days(BOGOTA, holidays)
    assert fold.satisfied()
    assert fold.open_ages(NOW)
    assert set(DIMENSIONS) >= {"motive", "verdict"}


@pytest.mark.parametrize("code", INDICATORS)
async def test_the_events_behind_a_point_are_as_many_as_its_numerator_and_denominator_G8_R49(
    desk: Desk, code: str
) -> None:
    world = make(11, contacts=120)
    await desk.project(world.events)
    known = {event.id for event in world.events}
    base = question(granularity="month", group_by=("channel",))
    async with desk.reading() as connection:
        t = await live(connection)
        answer = await measure(connection, t, INDICATORS[code], base, holidays, minimum=1)
        opened = 0
        for point in answer.points:
            where = {name: (value,) for name, value in zip(answer.query.group_by, point.group, strict=True)}
            query = question(granularity="month", where=where).only(base.periods.labels[point.period])
            for part, number in ((False, point.measured.numerator), (True, point.measured.denominator)):
                if number is None:
                    continue
                listed, after = [], None
                while page := await behind(
                    connection, t, INDICATORS[code], query, denominator=part, after=after, limit=7
                ):
                    listed += page
                    after = (page[-1].at, page[-1].event_id)
                assert len({one.unit for one in listed}) == number, (point, part)
                assert {one.event_id for one in listed} <= known
                assert len({one.event_id for one in listed}) == len(listed)
                opened += len(listed)
        assert opened > 0 or code == "detection_delay"


async def test_what_was_known_on_a_day_stays_what_it_was_when_late_facts_arrive_G2(desk: Desk) -> None:
    world = make(5, contacts=100)
    day = START + timedelta(days=20)
    early = [event for event in world.events if event.recordedtime <= day]
    late = [event for event in world.events if event.recordedtime > day]
    backdated = [event for event in late if event.type == "lazo.case.opened.v1" and event.time < day]
    assert backdated, "the world has late facts"

    await desk.project(early)
    then = {code: await answered(desk, code, question(as_of=micros(day), group_by=("motive",))) for code in INDICATORS}
    await desk.project(late)
    for code in INDICATORS:
        assert await answered(desk, code, question(as_of=micros(day), group_by=("motive",))) == then[code], code

    async def listed(as_of: datetime | None) -> set[str]:
        spans = Periods((micros(START), micros(day)), ("x",), (START.date(),))
        query = Query(spans, BOGOTA, micros(NOW), as_of=None if as_of is None else micros(as_of))
        async with desk.reading() as connection:
            found = await behind(
                connection, await live(connection), INDICATORS["complaints_received"], query, limit=1_000
            )
        return {one.event_id for one in found}

    # The difference between the two reports is known by its events.
    assert await listed(None) - await listed(day) == {event.id for event in backdated}
    assert await listed(day) <= await listed(None)


async def test_history_under_an_earlier_rulebook_stays_after_it_is_coded_again_G1(desk: Desk) -> None:
    world = make(9, contacts=100)
    again = [
        event for event in world.events
        if event.type == "lazo.interaction.classified.v1" and event.json()["rulebook_version"] == 2
    ]  # fmt: skip
    ids = {event.id for event in again}
    await desk.project([event for event in world.events if event.id not in ids])
    before = await answered(desk, "motive_share", question(group_by=("motive",), rulebook=1))
    await desk.project(again)
    assert await answered(desk, "motive_share", question(group_by=("motive",), rulebook=1)) == before
    assert await answered(desk, "motive_share", question(group_by=("motive",))) != before


async def test_the_tables_are_the_same_for_every_interleaving_and_duplicates_are_harmless(
    desks: Callable[[str], Awaitable[Desk]],
) -> None:
    world = make(2, contacts=40)
    contents = []
    for seed in range(4):
        desk = await desks(f"order-{seed}")
        order = random.Random(seed)
        await desk.project(interleaved(world.events, order) if seed else world.events, batches=order)
        async with desk.reading() as connection:
            t = await live(connection)
            contents.append(
                {table.name: sorted(map(repr, await connection.execute(table.select()))) for table in t.all()}
            )
    assert all(one == contents[0] for one in contents)
    assert all(contents[0][table] for table in contents[0] if not table.startswith("texts")), "every table was filled"


def test_the_fold_knows_utc_days() -> None:
    assert START.tzinfo is UTC


async def test_taking_everything_again_in_large_batches_changes_nothing(desk: Desk) -> None:
    """The second time every row is there already: the quick way into PostgreSQL fails and the careful one takes over."""
    world = make(6, contacts=120)

    async def contents() -> dict[str, list[str]]:
        async with desk.reading() as connection:
            t = await live(connection)
            return {table.name: sorted(map(repr, await connection.execute(table.select()))) for table in t.all()}

    half = len(world.events) // 2
    await desk.project(world.events[:half])
    await desk.project(world.events)
    once = await contents()
    await desk.project(world.events)
    assert await contents() == once
    kept = sum(len(rows) for rows in once.values())
    assert kept == len({event.id for event in world.events})
