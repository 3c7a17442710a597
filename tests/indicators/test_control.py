"""Control charts: arithmetic against published cases and simulated streams, the view against a plain fold, the route over HTTP (R72, G8)."""

import itertools
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.indicators.api.control import RULES
from services.indicators.app import build
from services.indicators.domain.control import TAIL, gaps, laney, run_rules
from services.indicators.domain.query import Query
from services.indicators.domain.registry import INDICATORS
from services.indicators.views.control import control
from services.indicators.views.measures import measure
from services.indicators.views.scope import live
from tests.indicators.conftest import Desk
from tests.indicators.test_measures import asked, holidays, question
from tests.indicators.world import START, World, consumed, interleaved, make, publish

BASE = "/indicators/v1/control-chart"


def test_laneys_limits_follow_the_definition_with_unequal_areas() -> None:
    """Worked by hand: ū = 72/12, z against √(ū/n), σ_z from the mean moving range."""
    counts, areas = [8, 4, 9, 5, 20, 4, 8, 2, 12], [1, 1, 2, 1, 2, 1, 1, 1, 2]
    chart = laney("u", counts, areas, [True] * 9)
    assert chart.centre == pytest.approx(6)
    z = [(c / n - 6) / np.sqrt(6 / n) for c, n in zip(counts, areas, strict=True)]
    sigma = np.abs(np.diff(z)).mean() / 1.128
    assert chart.sigma_z == pytest.approx(sigma)
    assert chart.points[2].upper == pytest.approx(6 + 3 * np.sqrt(3) * sigma)
    assert [point.z for point in chart.points] == pytest.approx(np.array(z) / sigma)
    assert min(point.lower for point in chart.points if point.lower is not None) == 0


def test_large_counts_that_vary_more_than_poisson_stay_within_laneys_limits_and_leave_plain_ones() -> None:
    random_ = np.random.default_rng(5)
    laneys = plain = 0
    for _ in range(40):
        rate = 2_000 * random_.gamma(100, 1 / 100, 60)
        counts = random_.poisson(rate).tolist()
        chart = laney("u", counts, [1.0] * 60, [True] * 60)
        laneys += sum("beyond" in point.rules for point in chart.points)
        mean = np.mean(counts)
        plain += int((np.abs(np.array(counts) - mean) > 3 * np.sqrt(mean)).sum())
    assert plain > 900, "most of 2,400 periods would have been called out"
    assert laneys < 24, "3 sigma: 6.5 of 2,400 expected, more as sigma is estimated from 60"


def test_a_shift_after_the_baseline_is_told_and_does_not_move_its_limits() -> None:
    random_ = np.random.default_rng(6)
    counts = [*random_.poisson(50, 40).tolist(), *random_.poisson(80, 10).tolist()]
    learnt = [True] * 40 + [False] * 10
    chart = laney("u", counts, [1.0] * 50, learnt)
    before = laney("u", counts[:40], [1.0] * 40, [True] * 40)
    assert (chart.centre, chart.sigma_z, chart.points[:40]) == (before.centre, before.sigma_z, before.points)
    assert sum("beyond" in point.rules for point in chart.points[40:]) >= 6
    assert "eight_on_a_side" in chart.points[-1].rules


def test_shares_have_limits_within_0_and_1_that_widen_with_fewer_trials() -> None:
    hits, trials = [9, 90, 8, 95, 10, 88, 9, 91], [10, 100, 10, 100, 10, 100, 10, 100]
    chart = laney("p", hits, trials, [True] * 8)
    assert chart.centre == pytest.approx(400 / 440)
    widths = [(point.upper or 0) - (point.lower or 0) for point in chart.points]
    assert widths[0] > widths[1]
    assert all(0 <= (point.lower or 0) <= (point.upper or 0) <= 1 for point in chart.points)


@pytest.mark.parametrize("counts", [[0] * 20, [3] * 5, []])
def test_without_events_or_periods_there_are_no_limits_and_no_alarm(counts: list[int]) -> None:
    chart = laney("u", counts, [1.0] * len(counts), [True] * len(counts))
    assert chart.sigma_z is None
    assert all(point.upper is None and not point.rules for point in chart.points)


def test_the_run_rules_tell_each_pattern_once_it_is_whole_and_on_one_side_only() -> None:
    assert run_rules([0.1, 3.2, 0.1])[1] == ("beyond",)
    assert run_rules([2.1, 0.0, 2.1])[2] == ("two_of_three",)
    assert run_rules([2.1, None, 0.0, None, 2.1])[4] == ("two_of_three",)
    assert not any(run_rules([2.1, 0.0, -2.1]))
    assert run_rules([1.1, 1.1, 0.0, 1.1, 1.1])[4] == ("four_of_five",)
    assert [bool(found) for found in run_rules([-0.1] * 9)] == [False] * 7 + [True] * 2
    assert not any(run_rules([0.5, -0.5] * 20))


def test_quiet_rare_events_break_the_gap_rules_as_seldom_as_they_say() -> None:
    """Predictive limits hold from the fourth event on, the rate being unknown: two tails and the runs of three."""
    random_ = np.random.default_rng(7)
    judged = 0
    told: dict[str, int] = defaultdict(int)
    for rate in (0.01, 0.03, 0.1):
        for _ in range(60):
            found = gaps(random_.poisson(rate, 4_000).tolist())
            judged += sum(gap.expected is not None for gap in found.gaps)
            for gap in found.gaps:
                for rule in gap.rules:
                    told[rule] += 1
    assert judged > 20_000
    for rule in ("soon", "close_together", "long"):
        assert told[rule] / judged < 2 * TAIL, (rule, told, judged)


def test_a_rare_severe_motive_that_comes_four_times_in_a_fortnight_is_told_at_once() -> None:
    counts = [0] * 700
    for day in (40, 130, 260, 350, 420, 560, 650, 653, 657, 660):
        counts[day] = 1
    found = gaps(counts)
    assert "close_together" in found.gaps[-1].rules
    assert not any(gap.rules for gap in found.gaps[:-2])
    assert found.open is not None
    assert found.open.gap == 39


def test_a_gap_is_judged_by_what_came_before_it_alone() -> None:
    random_ = np.random.default_rng(8)
    counts = random_.poisson(0.08, 900).tolist()
    whole = gaps(counts).gaps
    for cut in (200, 500, 899):
        short = gaps(counts[:cut]).gaps
        assert short == whole[: len(short)]


def folded(world: World, query: Query) -> dict[tuple[str, ...], list[int]]:
    received = asked(world, query).received()
    groups = {group for _, group in received}
    return {group: [received.get((label, group), 0) for label in query.periods.labels] for group in groups}


async def test_a_control_chart_is_drawn_from_what_a_plain_fold_counts_G8(desk: Desk) -> None:
    world = make(9, contacts=150)
    await desk.project(interleaved(world.events, random.Random(2)), batches=random.Random(3))
    for changes in ({}, {"group_by": ("motive",)}, {"granularity": "day", "where": {"touchpoint": ("branch",)}}):
        query = question(**changes)
        async with desk.reading() as connection:
            answer = await measure(
                connection, await live(connection), INDICATORS["complaints_received"], query, holidays, minimum=5
            )
        series, left_out = control(answer, "laney", None)
        wanted = folded(world, query)
        assert left_out == 0
        assert {one.group for one in series if sum(one.counts)} == set(wanted)
        for one in series:
            known = len(one.counts)
            assert list(one.counts) == wanted[one.group][:known]
            edges = [min(edge, query.known) for edge in query.periods.edges[: known + 1]]
            days = [(end - begin) / 86_400e6 for begin, end in itertools.pairwise(edges)]
            full = [day if day >= max(days) / 2 else 0.0 for day in days]
            assert one.laney == laney("u", wanted[one.group][:known], full, [True] * known)
        rare, _ = control(answer, "g", None)
        assert [one.gaps for one in rare] == [gaps(list(one.counts)) for one in series]


async def test_every_point_of_a_control_chart_opens_to_its_events_and_both_languages_name_it_G8() -> None:
    """R72, G8"""
    async with running(build, clock=SimulatedClock(START + timedelta(days=50))) as one:
        people = await one.environment.vault.resolve([{"email": f"p{number}@example.org"} for number in range(12)])
        world = make(4, contacts=200, keys=await one.environment.vault.keys(people))
        await publish(one.environment.log, world.events)
        await consumed(one.services["indicators"])
        asked_ = {
            "from": "2026-01-05",
            "to": "2026-02-20",
            "tz": "UTC",
            "granularity": "day",
            "group_by": "channel",
            "where[kind]": "complaint",
        }
        body: dict[str, Any] = {}
        for language, title in (
            ("es", "Quejas recibidas: Gráfico de control U′ (por día)"),
            ("en", "Complaints received: U′ control chart (per day)"),
        ):
            body = (await one.client.get(BASE, params={**asked_, "lang": language})).json()
            assert (body["chart"], body["title"]) == ("u", title)
            assert {rule["name"] for rule in body["rules"]} <= {names[language] for names in RULES.values()}
        assert len(body["items"]) == 3
        opened = 0
        for item in body["items"]:
            assert item["centre"] > 0
            for point in item["points"][:12]:
                page = (await one.client.get(point["events"] + "&limit=200")).json()
                assert len({row["unit"] for row in page["items"]}) == point["numerator"]
                opened += point["numerator"]
        assert opened > 10
        share = (
            await one.client.get(BASE, params={**asked_, "group_by": "", "of": "motive_share", "granularity": "week"})
        ).json()
        assert share["chart"] == "p"
        assert {item["group"]["motive"] for item in share["items"]} >= {"billing", "outage"}
        point = max(
            (point for item in share["items"] for point in item["points"]), key=lambda point: point["numerator"]
        )
        page = (await one.client.get(point["events"] + "&limit=200")).json()
        assert len(page["items"]) == point["numerator"] > 0
        rare = (await one.client.get(BASE, params={**asked_, "chart": "g", "where[motive]": "outage"})).json()
        assert rare["chart"] == "g"
        assert all(item["cases"] == len(item["points"]) + 1 for item in rare["items"] if item["cases"])
        for wrong, pointer in (
            ({"of": "csat", "chart": "g"}, "/query/of"), ({"of": "backlog"}, "/query/of"), ({"of": "x"}, "/query/of"),
            ({"chart": "pie"}, "/query/chart"), ({"baseline": "soon"}, "/query/baseline"), ({"by": "motive"}, "/query/by"),
        ):  # fmt: skip
            refused = await one.client.get(BASE, params=wrong)
            assert refused.status_code == 422
            assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
        assert (await one.client.get(BASE, headers={"Authorization": ""})).status_code == 401
