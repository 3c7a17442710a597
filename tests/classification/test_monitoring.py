"""The monitor on real engines: counts, verdicts and findings from streams of coded contacts."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import select

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.findings import VerdictReached
from libs.events.catalogue.interactions import Effects, Kind
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.counting import USUAL, counted_of, fold
from services.classification.desk import finding_row
from services.classification.domain.findings import fold as fold_finding
from services.classification.domain.slices import Series
from tests.classification.streams import ORIGIN, WEEK, contact, days, emit, said

NUMBER_OF_DAYS = 150
run_zone = ZoneInfo("UTC")
SLICES = [
    ("billing.refund", "store"),
    ("care.rude", "store"),
    ("service.no_internet", "call_centre"),
    ("digital.app", "app"),
]
BUSY = ("contract.offer", "call_centre")


def story(effects: Effects) -> list[InteractionClassified]:
    """150 days: a lasting rise in refunds at the store from day 90, an outage of one day on 100, one customer forty times."""
    rng = np.random.default_rng(11)
    found: list[InteractionClassified] = []

    def add(**fields: Any) -> None:
        found.append(contact(len(found), effects=effects, **fields))

    for index, day in enumerate(days(NUMBER_OF_DAYS)):
        for motive, touchpoint in SLICES:
            for _ in range(rng.poisson(1.5 * WEEK[index % 7])):
                add(day=day, motive=motive, touchpoint=touchpoint)
        for _ in range(rng.poisson(6 * WEEK[index % 7])):
            add(day=day, motive=BUSY[0], touchpoint=BUSY[1])
        if index >= 90:
            for _ in range(rng.poisson(5)):
                add(day=day, motive="billing.refund", touchpoint="store", cause="refund_needs_paper_form")
        if index == 100:
            for _ in range(60):
                add(day=day, motive="service.no_internet", touchpoint="call_centre", cause="supplier_fibre_cut")
        if 110 <= index < 120:
            for _ in range(4):
                add(day=day, motive="care.rude", touchpoint="store", customer="cus_angry")
        if index % 3 == 0:
            add(day=day, motive="care.rude", touchpoint="store", kind=Kind.COMPLIMENT)
    return found


def at(day: int, hours: float = 0) -> datetime:
    return datetime.combine(ORIGIN + timedelta(days=day), time(), UTC) + timedelta(hours=hours)


async def verdicts(run: Running) -> list[dict[str, Any]]:
    """Every verdict event, as the store has them."""
    store = run.services["classification"].runtime.store
    events = store.tables.events
    async with store.reading() as connection:
        rows = await connection.execute(
            select(events.c.data).where(events.c.type == VerdictReached.TYPE).order_by(events.c.position)
        )
        return [VerdictReached.model_validate_json(row.data).model_dump(mode="json") for row in rows]


async def bring_in(run: Running, clock: SimulatedClock, found: list[InteractionClassified]) -> None:
    """Everything at once, as an import does."""
    await emit(run, found)
    await run.settle()
    await pass_time(run, clock, timedelta(seconds=10))


async def pass_time(run: Running, clock: SimulatedClock, by: timedelta) -> None:
    clock.advance(by)
    await run.settle()


async def live(run: Running, clock: SimulatedClock, found: list[InteractionClassified], until: int) -> None:
    """Day by day, the clock moving with them."""
    by_day: dict[Any, list[InteractionClassified]] = {}
    for fact in found:
        by_day.setdefault(fact.occurred_at.date(), []).append(fact)
    for index, day in enumerate(days(until)):
        if clock.now() < at(index, 20):
            clock.advance(at(index, 20))
        await emit(run, by_day.get(day, []))
        await run.settle()
    clock.advance(at(until + 2))
    await run.settle()


async def projections_equal_their_folds(run: Running, watched: Sequence[Series] = USUAL) -> None:
    store, runtime = run.services["classification"].runtime.store, run.services["classification"].runtime
    async with store.reading() as connection:
        events = store.tables.events
        rows = (await connection.execute(select(events.c.type, events.c.data).order_by(events.c.position))).all()
        coded = [
            InteractionClassified.model_validate_json(row.data)
            for row in rows
            if row.type == InteractionClassified.TYPE
        ]
        facts = [counted_of(data, runtime.clock.now(), run_zone) for data in coded]
        sums = {
            (row.series, row.motive, row.place, row.day): (row.fresh, row.contacts)
            for row in await connection.execute(select(tables.days))
            if (row.fresh, row.contacts) != (0, 0)
        }
        stored = {row.finding_id: dict(row._mapping) for row in await connection.execute(select(tables.findings))}
    assert sums == fold(facts, watched)
    for identity, row in stored.items():
        async with store.unit() as unit:
            state = fold_finding([decode(event) for event in await unit.stream(f"finding/{identity}")])
        assert state is not None
        assert row == finding_row(state)


async def test_a_lasting_rise_is_systemic_and_bursts_are_isolated_R12_R13_G3() -> None:
    """R12, R13, R32, G3: an outage of a day and one customer forty times are isolated; the rise is systemic, by its procedure."""
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock) as run:
        rulebook = Path(__file__).resolve().parents[2] / "deploy/rulebooks/operator.yaml"
        await run.client.post("/classification/v1/rulebook/publish", content=rulebook.read_bytes())
        await bring_in(run, clock, story(Effects.HISTORY))
        found = await verdicts(run)
        last = {tuple(sorted(item["slice"].items())): item for item in found if len(item["slice"]) == 2}
        judged = {dict(key)["motive"]: item for key, item in last.items()}
        assert {motive: item["verdict"] for motive, item in judged.items()} == {
            "billing.refund": "systemic",
            "service.no_internet": "isolated",
            "care.rude": "isolated",
        }
        assert judged["billing.refund"]["nature"] == "procedure"
        assert judged["service.no_internet"]["nature"] == "supplier"
        rude = judged["care.rude"]["evaluation"]
        assert rude["parameters"]["repeats_lane"] == 1
        assert rude["contacts"] - rude["customers"] >= rude["observed"] >= 10
        findings = (await run.client.get("/classification/v1/findings", params={"state": "open"})).json()["items"]
        assert [item["slice"]["motive"] for item in findings] == ["billing.refund"]
        assert "Store" in findings[0]["title"]["en"]
        assert "Tienda" in findings[0]["title"]["es"]
        shown = (await run.client.get("/classification/v1/monitors")).json()
        first = [item for item in shown["items"] if item["series"] == "motive*touchpoint"]
        assert len(first) == 5
        assert first[0]["slice"]["motive"]
        assert {item["finding_id"] for item in found if item["verdict"] == "systemic"} == {findings[0]["finding_id"]}
        await projections_equal_their_folds(run)


@pytest.mark.slow
async def test_history_at_once_gives_the_verdicts_of_the_same_facts_arriving_live_G3() -> None:
    """R27, G3: live, every day is judged because it has ended, by a timer and without anybody asking."""
    once_clock, live_clock = SimulatedClock(at(NUMBER_OF_DAYS + 3)), SimulatedClock(at(0, 1))
    async with running(classification, clock=once_clock) as run:
        shuffled = story(Effects.HISTORY)
        np.random.default_rng(5).shuffle(shuffled)
        await bring_in(run, once_clock, shuffled)
        at_once = await verdicts(run)
    async with running(classification, clock=live_clock) as run:
        await live(run, live_clock, story(Effects.LIVE), NUMBER_OF_DAYS)
        arriving = await verdicts(run)
        await projections_equal_their_folds(run)
    assert said(at_once) == said(arriving)
    assert len(at_once) >= 4


async def test_a_late_fact_corrects_the_counts_and_appends_a_revision() -> None:
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock) as run:
        found = story(Effects.HISTORY)
        await bring_in(run, clock, found)
        before = [
            item
            for item in await verdicts(run)
            if item["slice"].get("touchpoint") and item["slice"].get("motive") == "service.no_internet"
        ]
        late = contact(900_001, ORIGIN + timedelta(days=100), motive="service.no_internet", touchpoint="call_centre")
        await emit(run, [late])
        await run.settle()
        after = [
            item
            for item in await verdicts(run)
            if item["slice"].get("touchpoint") and item["slice"].get("motive") == "service.no_internet"
        ]
        assert after[: len(before)] == before, "what was said stays said"
        newest = after[-1]
        assert newest["revision"] == before[-1]["revision"] + 1
        assert newest["verdict_id"] == before[-1]["verdict_id"]
        assert newest["evaluation"]["observed"] == before[-1]["evaluation"]["observed"] + 1
        assert "i-900001" in newest["interaction_ids"]
        await projections_equal_their_folds(run)


async def test_a_recoded_contact_leaves_its_old_slice_and_a_repeated_event_counts_once() -> None:
    clock = SimulatedClock(at(40))
    async with running(classification, clock=clock) as run:
        first = contact(1, ORIGIN, motive="unknown")
        await emit(run, [first, contact(2, ORIGIN, customer="cus_1", motive="unknown")])
        await run.settle()
        await emit(run, [contact(1, ORIGIN, motive="care.wait", revision=2)])
        await emit(run, [first])
        await run.settle()
        await projections_equal_their_folds(run)
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            rows = {
                (row.motive, row.fresh, row.contacts)
                for row in await connection.execute(select(tables.days).where(tables.days.c.series == "touchpoint"))
            }
        assert rows == {("unknown", 1, 1), ("care.wait", 1, 1)}


async def test_a_restart_publishes_nothing_again(tmp_path: Path) -> None:
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock, data=tmp_path) as run:
        await bring_in(run, clock, story(Effects.HISTORY))
        before = await verdicts(run)
    async with running(classification, clock=clock, data=tmp_path) as run:
        await emit(run, [contact(900_002, clock.now().date(), motive="contract.offer", touchpoint="call_centre")])
        await pass_time(run, clock, timedelta(days=2))
        assert await verdicts(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("factor", [pytest.param(0.1, id="helps"), pytest.param(2.2, id="harms")])
async def test_an_action_is_judged_when_its_window_has_passed_G4_R95(factor: float) -> None:
    """G4, R94, R95: what helped, what did not and what harmed, each judged by what came after."""
    clock = SimulatedClock(at(0, 1))
    async with running(classification, clock=clock) as run:
        rng = np.random.default_rng(4)
        number = 0

        async def live_days(first: int, last: int, rate: float) -> None:
            nonlocal number
            for index in range(first, last):
                clock.advance(at(index, 20))
                day = ORIGIN + timedelta(days=index)
                batch = []
                for motive, level in (("billing.refund", rate), ("contract.offer", 8.0)):
                    for _ in range(rng.poisson(level)):
                        batch.append(contact(number, day, motive=motive))
                        number += 1
                await emit(run, batch)
                await run.settle()

        await live_days(0, 60, 1.5)
        await live_days(60, 90, 8.0)
        found = (await run.client.get("/classification/v1/findings")).json()["items"]
        assert len(found) == 1, "one failure, one finding"
        base = f"/classification/v1/findings/{found[0]['finding_id']}"
        plan = {
            "description": "No forms",
            "owner": "ana",
            "due": "2026-01-01",
            "expected_ratio": 0.5,
            "window_days": 21,
        }
        assert (await run.client.post(f"{base}/plan-action", json=plan)).status_code == 409, "confirm it first"
        assert (await run.client.post(f"{base}/confirm")).status_code == 200
        assert (await run.client.post(f"{base}/plan-action", json=plan)).status_code == 200
        assert (await run.client.post(f"{base}/plan-action", json=plan)).status_code == 200, (
            "the same again is no error"
        )
        before = {"implemented_at": at(60).isoformat()}
        refused = await run.client.post(f"{base}/implement-action", json=before, headers={"accept-language": "en"})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["code"] == "test-after-the-fact"
        assert (await run.client.post(f"{base}/implement-action")).status_code == 200
        await live_days(90, 112, 8.0 * factor)
        clock.advance(timedelta(days=2))
        await run.settle()
        judged = (await run.client.get(base)).json()
        action = judged["actions"][-1]
        assert action["judgement"] == ("effective" if factor < 1 else "harmful")
        assert action["low"] < action["ratio"] < action["high"]
        assert judged["status"] == ("judged" if factor < 1 else "confirmed")
        assert judged["reopened"] == (0 if factor < 1 else 1)
        await projections_equal_their_folds(run)
