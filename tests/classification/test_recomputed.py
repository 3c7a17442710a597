"""A second, slow way to the numbers of verdict events (G3, G8): from the coded contacts and the event alone, in plain Python.

It shares no code with the monitor, the counting or the natures but the published model of the event. What a verdict says it
counted is counted again; the tail, the limit, the score and the probabilities are computed again by other formulas.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification.app import build as classification
from tests.classification.slow_borrowing import Taken
from tests.classification.slow_engine import Day, judged
from tests.classification.streams import ORIGIN, WEEK, contact
from tests.classification.test_monitoring import NUMBER_OF_DAYS, at, bring_in, story, verdicts

HOLIDAYS = {date(2025, month, day) for month, day in [(1, 6), (3, 24), (4, 17), (4, 18), (4, 22), (5, 1), (6, 2)]}
"""Colombia's in the story's days, and one decreed: a Tuesday within the lasting rise and after the outage."""
APART = 14
"""Two contacts of one customer in one slice, this many days apart or more, are two complaints."""
BESIDE = ("motive", "cause", "component", "touchpoint", "product", "location", "team", "supplier", "procedure")
"""What is watched beside motive and contact point."""


def of_slice(facts: Iterable[InteractionClassified], where: dict[str, str]) -> list[InteractionClassified]:
    return [
        fact
        for fact in facts
        if fact.kind not in {"compliment", "suggestion"}
        and all((getattr(fact, name) or "") == value for name, value in where.items())
    ]


def fresh_by_day(facts: Sequence[InteractionClassified]) -> tuple[Counter[date], Counter[date]]:
    """Per day: customers who had been silent for two weeks, and the rest of the contacts."""
    of: dict[str, list[date]] = defaultdict(list)
    for fact in facts:
        of[fact.customer_id].append(fact.occurred_at.date())
    fresh: Counter[date] = Counter()
    for own in of.values():
        own.sort()
        for place, day in enumerate(own):
            before = [earlier for earlier in own[:place] if earlier < day]
            if day not in own[:place] and (not before or (day - before[-1]).days >= APART):
                fresh[day] += 1
    everything = Counter(fact.occurred_at.date() for fact in facts)
    return fresh, Counter({day: everything[day] - fresh[day] for day in everything})


def tail(count: int, mean: float, variance: float) -> float:
    """P(X ≥ count) of a negative binomial, term by term by its recurrence; Poisson's where it is not overdispersed."""
    if variance <= mean * (1 + 1e-9):
        term, total = math.exp(-mean), 0.0
        for k in range(count):
            total += term
            term *= mean / (k + 1)
        return max(0.0, 1 - total)
    q = mean / variance
    size = mean * q / (1 - q)
    term, below = q**size, 0.0
    for k in range(count):
        below += term
        term *= (size + k) / (k + 1) * (1 - q)
    # Far out the sum below is 1 to the last digit; there the terms above are added instead.
    above, k = 0.0, count
    while term > 1e-300 and k < count + 5_000:
        above += term
        term *= (size + k) / (k + 1) * (1 - q)
        k += 1
    return above


@pytest.mark.parametrize("calendar", ["", "CO, 2025-04-22"])
async def test_a_second_slow_computation_gives_the_numbers_that_verdict_events_state_G3_G8(
    calendar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where holidays are expected: the verdict states them, and they are all that is known of a calendar here."""
    monkeypatch.setenv("LAZO_CLASSIFICATION_HOLIDAYS", calendar)
    found = story(Effects.HISTORY)
    if calendar:
        found = [one for one in found if one.occurred_at.date() not in HOLIDAYS or int(one.interaction_id[2:]) % 4 == 0]
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock) as run:
        rulebook = Path(__file__).resolve().parents[2] / "deploy/rulebooks/operator.yaml"
        await run.client.post("/classification/v1/rulebook/publish", content=rulebook.read_bytes())
        await bring_in(run, clock, found)
        published = await verdicts(run)
    assert len(published) >= 4
    assert any(said["evaluation"]["holidays"] for said in published) == bool(calendar)
    known = {date.fromisoformat(day) for said in published for day in said["evaluation"]["holidays"]}
    assert known == {day for day in HOLIDAYS if calendar and day <= max(known)}
    assert all((said["evaluation"]["calendar"] or "").startswith(calendar[:2]) for said in published)
    again = {repeats: Slowly(found, repeats=repeats, holidays=known) for repeats in (False, True)}
    for said in published:
        recomputed(said, found, again)
    beside = [set(said["slice"]) for said in published if said["evaluation"]["method"] == "odds-1"]
    assert {"cause"} in beside
    assert {"motive"} in beside, "the odds of other series are computed again as well"


FAILING = {"product": "p0", "location": "l0", "team": "g0", "supplier": "s0", "procedure": "r0"}


def spread(begins: int, length: int) -> list[InteractionClassified]:
    """Four motives at two contact points, four values of each attribute, drawn one by one; from a day on seven a day more have the
    first of each, in whatever motive: no slice of the first series doubles."""
    rng = np.random.default_rng(21)
    found: list[InteractionClassified] = []

    def add(day: int, **values: str) -> None:
        motive, touchpoint = f"m{rng.integers(4)}", f"t{rng.integers(2)}"
        when = ORIGIN + timedelta(days=day)
        found.append(
            contact(len(found), when, motive=motive, touchpoint=touchpoint, effects=Effects.HISTORY, **values)  # type: ignore[arg-type]  # values are attributes, all of them text
        )

    for day in range(length):
        for _ in range(rng.poisson(20 * WEEK[day % 7])):
            add(day, **{name: f"{value[0]}{rng.integers(4)}" for name, value in FAILING.items()})
        for _ in range(rng.poisson(7) if day >= begins else 0):
            add(day, **FAILING)
    return found


async def test_the_slow_computation_gives_the_numbers_of_every_series_that_overlaps_with_the_first_G3() -> None:
    """One failure behind a product, a place, a team, a supplier and a procedure at once, so that each of these series speaks."""
    found = spread(70, 86)
    clock = SimulatedClock(at(88))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, found)
        published = [said for said in await verdicts(run) if said["evaluation"]["method"] == "odds-1"]
    again = {False: Slowly(found, repeats=False, later=2)}
    for said in published:
        recomputed(said, found, again)
    systemic = {tuple(said["slice"].items()) for said in published if said["verdict"] == "systemic"}
    assert systemic >= {(pair,) for pair in FAILING.items()}


def opening(begins: int, fails: int, length: int, effects: Effects = Effects.HISTORY) -> list[InteractionClassified]:
    """Three motives at three contact points, and a fourth that opens on a day and has a product of its own; from a later day on one of its
    motives brings eight a day more."""
    rng = np.random.default_rng(4)
    found: list[InteractionClassified] = []

    def add(day: int, motive: int, point: int) -> None:
        when, product = ORIGIN + timedelta(days=day), "new" if point == 3 else f"p{rng.integers(2)}"
        found.append(contact(len(found), when, motive=f"m{motive}", touchpoint=f"t{point}", product=product, effects=effects))  # fmt: skip

    for day in range(length):
        for point in range(4 if day >= begins else 3):
            for motive in range(3):
                for _ in range(rng.poisson((1 + motive) * (0.6 + 0.3 * point) * WEEK[day % 7])):
                    add(day, motive, point)
        for _ in range(rng.poisson(8) if day >= fails else 0):
            add(day, 1, 3)
    return found


async def test_a_young_slices_verdict_states_what_it_took_over_and_is_computed_again_from_that_and_the_counts_G3() -> (
    None
):
    """First day, level, noise and their weights come from the event; that they are right follows from the others' counts."""
    found = opening(60, 84, 104)
    clock = SimulatedClock(at(107))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, found)
        published = [said for said in await verdicts(run) if said["evaluation"]["method"] == "odds-1"]
        shown = (await run.client.get("/classification/v1/monitors", params={"limit": 500})).json()["items"]
    again = {False: Slowly(found, repeats=False, later=3, published=published)}
    young = [said for said in published if said["evaluation"]["borrowed"]]
    assert {"motive": "m1", "touchpoint": "t3"} in [said["slice"] for said in young]
    assert [said for said in young if said["slice"].keys() != {"motive", "touchpoint"}]
    for said in published:
        recomputed(said, found, again)
    for said in young:
        begins = said["evaluation"]["borrowed"]["begins"]
        last = datetime.fromisoformat(said["evaluation"]["window_end"]).date() - timedelta(days=1)
        assert len(said["evaluation"]["baseline"]) == (last - date.fromisoformat(begins)).days - APART + 1
    stated = {name_of(one["slice"]): one["borrowed"] for one in shown}
    assert {key for key, one in stated.items() if one} == again[False].begins.keys()


def recomputed(said: dict[str, Any], found: Sequence[InteractionClassified], again_: Mapping[bool, "Slowly"]) -> None:
    e = said["evaluation"]
    given = e["parameters"]
    first = datetime.fromisoformat(e["window_start"]).astimezone(UTC).date()
    last = datetime.fromisoformat(e["window_end"]).astimezone(UTC).date() - timedelta(days=1)
    mine = of_slice(found, said["slice"])
    window = [fact for fact in mine if first <= fact.occurred_at.date() <= last]
    assert len(window) == e["contacts"]
    assert len({fact.customer_id for fact in window}) == e["customers"]
    assert datetime.fromisoformat(said["since"]) == min(fact.occurred_at for fact in window)
    newest = sorted(window, key=lambda fact: (-fact.occurred_at.timestamp(), fact.interaction_id))
    assert said["interaction_ids"] == [fact.interaction_id for fact in newest[:500]]
    natures_again(said)
    if e["method"] != "odds-1":
        return
    fresh, again = fresh_by_day(mine)
    counts = again if given["repeats_lane"] else fresh
    days = [first + timedelta(days=index) for index in range((last - first).days + 1)]
    assert len(days) == given["window_days"]
    assert sum(counts[day] for day in days) == e["observed"]
    behind = last - timedelta(days=APART)
    baseline = [counts[behind - timedelta(days=index)] for index in reversed(range(len(e["baseline"])))]
    assert baseline == e["baseline"]
    odds_again(said, again_[bool(given["repeats_lane"])], last)
    wanted = 0.01 / given["windows"]
    least = int(e["upper"])
    assert tail(least, e["expected"], given["variance"]) <= wanted * (1 + 1e-6)
    assert tail(least - 1, e["expected"], given["variance"]) > wanted * (1 - 1e-6)
    assert e["score"] == pytest.approx(-math.log10(max(given["p"], 1e-300)), abs=2e-3)


def odds_again(said: dict[str, Any], slowly: "Slowly", last: date) -> None:
    """Baseline, filter and p of the verdict's last day, from the contacts of all slices up to it."""
    e, given = said["evaluation"], said["evaluation"]["parameters"]
    first_series = said["slice"].keys() == {"motive", "touchpoint"}
    name = name_of(said["slice"])
    days = slowly.told[name]
    borrowed = e["borrowed"]
    assert (borrowed is not None) == (name in slowly.begins)
    if borrowed is not None:
        # What it says it took over is what follows from the others' counts.
        own = slowly.taken[name]
        assert (borrowed["slices"], borrowed["kin"], borrowed["dispersion_weight"]) == (own.slices, own.kin, 60)
        assert [borrowed[part] for part in ("level", "weight", "dispersion")] == pytest.approx([own.level, own.weight, own.phi], rel=1e-5)  # fmt: skip
    days = days[: (last - slowly.monday).days + 1]
    today, window = days[-1], days[-int(given["window_days"]) :]
    assert given["odds_going_on"] == pytest.approx(today.odds, abs=1e-6)
    assert given["odds_of_one_in_1000"] == pytest.approx(today.base, abs=1e-6)
    assert given["dispersion"] == pytest.approx(today.phi, rel=1e-7)
    assert given["common_factor"] == pytest.approx(today.common, rel=1e-7)
    assert given.get("holiday_factor", 1.0) == pytest.approx(today.factor, rel=1e-7)
    assert e["expected"] == pytest.approx(sum(day.mean for day in window), abs=1e-5)
    mean = sum(day.mean for day in window)
    assert given["variance"] == pytest.approx(today.phi * mean + today.vague * mean**2, rel=1e-5)
    lanes = 3.0 if first_series else 1.0  # beside the first, one thing is asked
    if today.odds > today.base:
        # As the tables end: too few excursions of quiet slices were seen in so small an operation to say more.
        assert given["p_going_on"] == pytest.approx(lanes * 1e-3 * math.exp((today.base - today.odds) / 0.75), rel=1e-5)
    if not first_series:
        assert given["p_one_day"] == 1
    elif not given["repeats_lane"]:
        assert given["dispersion_of_a_day"] == pytest.approx(today.careful, rel=1e-7)
        spread = today.careful * today.mean + (today.vague + today.unknown) * today.mean**2
        alone = tail(int(today.count), today.mean, spread) if today.count > today.mean + math.sqrt(spread) else 1.0
        assert given["p_one_day"] == pytest.approx(min(1.0, lanes * alone), rel=1e-4)
    spoke = given["p_going_on"] if said["verdict"] == "systemic" else min(given["p_going_on"], given["p_one_day"])
    assert given["p"] == pytest.approx(spoke)
    if said["verdict"] == "systemic":
        assert given["p"] <= given["level"]


class Slowly:
    """What the second implementation says of every slice, day by day: of motive and contact point, and of what is watched beside them.

    A day's numbers follow from the days before it, so one run serves every verdict.
    """

    def __init__(
        self,
        found: Sequence[InteractionClassified],
        *,
        repeats: bool,
        later: int = 45,
        holidays: Iterable[date] = (),
        published: Iterable[dict[str, Any]] = (),
    ) -> None:
        """`later`: so many days after the last contact are judged too. `published`: verdicts that may state what slices took over."""
        facts = [fact for fact in found if fact.kind not in {"compliment", "suggestion"}]
        begin = min(fact.occurred_at.date() for fact in facts)
        self.monday = begin - timedelta(days=begin.weekday())
        last = max(fact.occurred_at.date() for fact in facts) + timedelta(days=later)
        days = [self.monday + timedelta(days=index) for index in range((last - self.monday).days + 1)]
        heard: dict[tuple[str, ...], int] = {}
        series: dict[bool, dict[tuple[str, ...], list[float]]] = {False: {}, True: {}}
        for names in (("motive", "touchpoint"), *((name,) for name in BESIDE)):
            for values in {tuple(str(getattr(fact, name) or "") for name in names) for fact in facts}:
                beside = len(names) == 1
                if beside and values[0] in {"", "unknown"}:
                    continue
                where = dict(zip(names, values, strict=True))
                mine = of_slice(facts, where)
                key = name_of(where)
                heard[key] = (min(fact.occurred_at.date() for fact in mine) - self.monday).days
                own = fresh_by_day(mine)[repeats]
                series[beside][key] = [float(own[day]) for day in days]
        number = (self.monday - date(1970, 1, 5)).days
        begun = (begin - self.monday).days
        self.begins = opened(heard, begun)
        self.taken: dict[tuple[str, ...], Taken] = {}
        stated = {}
        for said in published:
            borrowed = said["evaluation"]["borrowed"]
            if borrowed is not None and bool(said["evaluation"]["parameters"]["repeats_lane"]) == repeats:
                key = name_of(said["slice"])
                numbers = [
                    borrowed[name] for name in ("level", "weight", "dispersion", "dispersion_weight", "slices", "kin")
                ]
                stated[key] = Taken(*numbers)
                self.begins[key] = (date.fromisoformat(borrowed["begins"]) - self.monday).days
        self.told: dict[tuple[str, ...], list[Day]] = judged(
            series[False],
            heard,
            number,
            begun,
            shared=not repeats,
            beside={} if repeats else series[True],
            holidays=[(day - self.monday).days for day in holidays],
            begins=self.begins,
            stated=stated,
            taken=self.taken,
        )


def name_of(where: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part for pair in sorted(where.items()) for part in pair)


def opened(heard: Mapping[tuple[str, ...], int], begun: int) -> dict[tuple[str, ...], int]:
    """Slices that begin with a place: their first contact is at most 28 days after the first at any of their contact point, location,
    product or team, and that is 28 days or more after recording began. The day they begin: that of their own first contact."""
    places = {"touchpoint", "location", "product", "team"}
    pairs = {key: [pair for pair in zip(key[::2], key[1::2], strict=True) if pair[0] in places and pair[1]] for key in heard}  # fmt: skip
    first: dict[tuple[str, str], int] = {}
    for key, day in heard.items():
        for pair in pairs[key]:
            first[pair] = min(first.get(pair, day), day)
    found = {}
    for key, day in heard.items():
        newest = max((first[pair] for pair in pairs[key]), default=-1)
        if newest >= begun + 28 and day - newest <= 28:
            found[key] = day
    return found


def natures_again(said: dict[str, Any]) -> None:
    """Bayes' rule with odds against each other, one nature at a time."""
    prior = {
        "procedure": 0.22, "norm": 0.08, "explanation": 0.15, "human": 0.15, "supplier": 0.14, "system": 0.14, "product": 0.12,
    }  # fmt: skip
    weight = {name: math.prod(math.exp(term["weights"].get(name, 0.0)) for term in said["reasons"]) for name in prior}
    for name, stated in said["natures"].items():
        others = sum(prior[other] * weight[other] for other in prior if other != name)
        odds = prior[name] * weight[name] / others
        assert odds / (1 + odds) == pytest.approx(stated, abs=2e-4)
    best = max(said["natures"].items(), key=lambda item: item[1], default=("unknown", 0.0))
    assert said["nature"] == (best[0] if best[1] >= 0.5 else "unknown")
    assert said["nature_method"] == ("natures-1" if said["reasons"] else None)


def test_the_slow_tail_is_the_binomials_where_that_is_known() -> None:
    assert tail(0, 3.0, 3.0) == 1
    assert tail(1, 3.0, 3.0) == pytest.approx(1 - math.exp(-3))
    assert tail(1, 2.0, 4.0) == pytest.approx(1 - 0.5**2)  # size 2, q 1/2
    assert tail(2, 2.0, 4.0) == pytest.approx(1 - 0.5**2 - 2 * 0.5**3)
