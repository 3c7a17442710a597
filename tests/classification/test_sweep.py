"""The weekly sweep: many slices rise a little, none of them enough, and one combination of values explains them all."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, text

from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.events.engines import make_engine, writing
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.counting import watched_of
from services.classification.domain.localisation.windows import MOST_VALUES, OTHER
from services.classification.domain.slices import parse
from services.classification.domain.sweep import LASTS, Tally, dimensions_of, lasts, look
from services.classification.joining import particulars_row
from services.classification.sweeping import read_tally
from services.classification.waiting import Waiting
from tests.classification.streams import ORIGIN, contact, emit, said
from tests.classification.test_monitoring import at, bring_in, pass_time, projections_equal_their_folds, verdicts

MOTIVES = tuple(f"m.{letter}" for letter in "abcdef")
POINTS, PLACES, PRODUCTS = ("store", "chat", "phone"), ("bogota", "cali", "pasto"), ("internet", "mobile", "tv")
FAILURE = {"location": "pasto", "product": "internet"}
WEEKS, BEGINS = 14, 84
"""The failure begins with week 12, a Monday, and lasts for two."""


def past(
    seed: int, extra: dict[str, str], many: int, days: tuple[int, ...] = tuple(range(14)), agents: int = 30
) -> list[Any]:
    """Fourteen weeks of 18 motives at contact points, one contact a day each, and `many` more a day of the values `extra`, spread
    evenly over everything else."""
    random = np.random.default_rng(seed)
    found: list[Any] = []

    def add(day: int, fixed: dict[str, str]) -> None:
        values = {"product": str(random.choice(PRODUCTS)), "agent": f"agent-{random.integers(agents):02d}"}
        where = {"motive": str(random.choice(MOTIVES)), "touchpoint": str(random.choice(POINTS)), "location": str(random.choice(PLACES))}  # fmt: skip
        merged = where | values | fixed
        made = contact(
            len(found), ORIGIN + timedelta(days=day), effects=Effects.HISTORY,
            motive=merged["motive"], touchpoint=merged["touchpoint"], location=merged["location"],
        )  # fmt: skip
        found.append(made.model_copy(update={"product": merged["product"], "agent": merged["agent"]}))

    for day in range(7 * WEEKS):
        for _ in range(random.poisson(18)):
            add(day, {})
        for _ in range(many if day - BEGINS in days else 0):
            add(day, extra)
    return found


def tally_of(
    contacts: list[Any], names: tuple[str, ...] = ("motive", "touchpoint", "location", "product", "agent")
) -> Tally:
    once = {
        ((one.occurred_at.date() - ORIGIN).days // 7, tuple(getattr(one, name) for name in names), one.customer_id)
        for one in contacts
    }
    counted = Counter((week, leaf) for week, leaf, _ in once)
    leaves = sorted({leaf for _, leaf in counted})
    counts = np.zeros((WEEKS, len(leaves)))
    for (week, leaf), number in counted.items():
        counts[week, leaves.index(leaf)] = number
    return Tally(ORIGIN, names, leaves, counts)


def monday(week: int) -> date:
    return ORIGIN + timedelta(days=7 * week)


def test_what_many_slices_share_is_found_once_and_explained_by_its_finding_from_then_on_R11() -> None:
    tally = tally_of(past(1, FAILURE, 6))
    assert look(tally, monday(10), []) == []
    (found,) = look(tally, monday(12), [])
    assert found.where == FAILURE
    assert found.log_p < found.limit
    assert look(tally, monday(13), [FAILURE]) == []


def test_quiet_weeks_open_nothing() -> None:
    """Half a false finding a year is one in a hundred looks."""
    tallies = [tally_of(past(seed, {}, 0)) for seed in range(2)]
    assert sum(len(look(tally, monday(week), [])) for tally in tallies for week in range(9, 14)) == 0


def test_one_person_is_not_named_on_thin_evidence() -> None:
    """R11: eight more complainants of one agent; the service's sweep does not look at agents at all."""
    assert "agent" not in dimensions_of()
    found = look(tally_of(past(2, {"agent": "agent-07"}, 2, (0, 1, 2, 3))), monday(12), [])
    assert [one.where for one in found if "agent" in one.where] == []


def test_a_day_or_two_are_no_failure_that_lasts() -> None:
    (found,) = look(tally_of(past(1, FAILURE, 6)), monday(12), [])
    assert lasts([8, 8, 8, 7, 8, 8, 8], found) < LASTS
    assert lasts([0, 0, 27, 25, 1, 1, 1], found) > LASTS


def test_an_empty_or_a_young_past_says_nothing() -> None:
    nothing = Tally(ORIGIN, ("motive",), [("a",)], np.zeros((20, 1)))
    young = Tally(ORIGIN, ("motive",), [("a",)], np.full((20, 1), 5.0))
    assert look(nothing, monday(19), []) == []
    assert look(young, monday(5), []) == []
    assert look(young, monday(40), []) == []


async def swept(run: Running) -> list[dict[str, Any]]:
    return [one for one in await verdicts(run) if one["evaluation"]["method"] == "sweep-1"]


@pytest.mark.slow
async def test_a_joint_rise_is_one_finding_live_as_in_history_and_a_burst_or_one_loud_customer_is_none_R11_G3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each slice has a complainant or two more a week; together they are forty more. Two days of the week come
    late, and are a revision. Only the sweep is asked: the series of the place alone finds it before the week is over."""
    monkeypatch.setenv("LAZO_CLASSIFICATION_SERIES", "motive")
    watched = watched_of(parse("motive"))
    told = []
    for live in (False, True):
        clock = SimulatedClock(at(7 * WEEKS + 2) if not live else at(BEGINS - 1))
        async with running(classification, clock=clock) as run:
            facts = past(1, FAILURE, 6)
            if live:
                await bring_in(run, clock, [one for one in facts if one.occurred_at < at(BEGINS - 1)])
                late = [one for one in facts if at(BEGINS + 5) <= one.occurred_at < at(BEGINS + 7)]
                for day in range(BEGINS - 1, 7 * WEEKS):
                    clock.advance(at(day, 20))
                    await emit(
                        run, [one for one in facts if at(day) <= one.occurred_at < at(day + 1) and one not in late]
                    )
                    if day == BEGINS + 9:
                        await emit(run, late)
                    await run.settle()
                await pass_time(run, clock, timedelta(days=2))
            else:
                await bring_in(run, clock, facts)
            told.append([one[:1] + one[2:] for one in said((await swept(run))[-1:])])
            (found,) = (await run.client.get("/classification/v1/findings")).json()["items"]
            assert found["slice"] == FAILURE
            first, verdict = (await swept(run))[0], (await swept(run))[-1]
            assert (first["verdict_id"], verdict["revision"]) == (verdict["verdict_id"], 2 if live else 1)
            monday_ = datetime.fromisoformat(verdict["evaluation"]["window_start"])
            mine = [one for one in facts if (one.location, one.product) == ("pasto", "internet") and monday_ <= one.occurred_at < monday_ + timedelta(days=7)]  # fmt: skip
            assert verdict["evaluation"]["observed"] == len(mine), "counted again by hand"
            assert sorted(verdict["interaction_ids"]) == sorted(one.interaction_id for one in mine)
            assert len(verdict["evaluation"]["baseline"]) == verdict["evaluation"]["parameters"]["past_weeks"]
            links = (await run.client.get(f"/classification/v1/findings/{found['finding_id']}/interactions", params={"limit": 200})).json()  # fmt: skip
            assert {one["interaction_id"] for one in links["items"]} >= {one.interaction_id for one in mine}
            await projections_equal_their_folds(run, watched)
    assert told[0] == told[1]
    for facts in (
        past(1, FAILURE, 42, (2,)),
        [one.model_copy(update={"customer_id": "cus_loud"}) if at(BEGINS) <= one.occurred_at and (one.location, one.product) == ("pasto", "internet") else one for one in past(1, FAILURE, 6)],
    ):  # fmt: skip
        clock = SimulatedClock(at(7 * WEEKS + 2))
        async with running(classification, clock=clock) as run:
            await bring_in(run, clock, facts)
            assert await swept(run) == []


async def test_a_free_text_makes_no_more_slices_than_its_commonest_values_and_the_rest_is_one_on_both_databases(
    request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    day = ORIGIN + timedelta(days=1)
    facts = [contact(n, day, touchpoint="store").model_copy(update={"product": f"said {n:04d}"}) for n in range(900)]
    again = [
        one.model_copy(update={"interaction_id": f"x{n}", "customer_id": f"x{n}"}) for n, one in enumerate(facts[:5])
    ]
    tallies = []
    for target in (tmp_path / "one.db", request.getfixturevalue("postgres_url")):
        engine = make_engine(target, service="classification")
        try:
            async with writing(engine) as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execute(text("create schema classification"))
                await connection.run_sync(tables.particulars.create)
                await connection.execute(insert(tables.particulars), [particulars_row(one) for one in (*facts, *again)])
                tallies.append(await read_tally(connection, ORIGIN, ORIGIN + timedelta(days=7), Waiting()))
        finally:
            await engine.dispose()
    tally, other = tallies
    assert tally is not None
    assert other is not None
    assert (list(tally.leaves), tally.counts.tolist()) == (list(other.leaves), other.counts.tolist())
    products = {leaf[tally.dimensions.index("product")] for leaf in tally.leaves}
    assert len(products) == MOST_VALUES + 1
    assert OTHER in products
    assert {f"said {n:04d}" for n in range(5)} <= products
    assert tally.counts.sum() == 905


@pytest.mark.parametrize("most", [40])
async def test_where_combinations_are_too_many_attributes_are_left_out_and_it_is_said(
    most: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.classification.sweeping.MOST_LEAVES", most)
    clock = SimulatedClock(datetime.combine(ORIGIN + timedelta(days=10), time(), UTC))
    async with running(classification, clock=clock) as run:
        facts = [contact(n, ORIGIN, motive=MOTIVES[n % 6]).model_copy(update={"segment": f"a{n}"}) for n in range(90)]
        await emit(run, facts)
        await run.settle()
        async with run.services["classification"].runtime.store.reading() as connection:
            tally = await read_tally(connection, ORIGIN, ORIGIN + timedelta(days=7), Waiting())
    assert tally is not None
    assert "segment" not in tally.dimensions
    assert len(tally.leaves) == 6
    assert "leaves out ('segment', 'team', 'supplier')" in caplog.text
