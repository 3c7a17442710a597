"""What was planted in the generated year is what the monitor says of it: from coded facts with the true motives."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from bench.demo_year import RULEBOOK_MOTIVES, START, Facts, play
from services.classification.counting import WATCHED, counted_of, fold
from services.classification.domain.effect import Days, evaluate
from services.demo.plan import PLANTED
from services.demo.year import generate

WINDOW = 28


async def test_every_planted_failure_is_one_finding_named_rightly_and_in_time_and_bursts_are_isolated_G3_G4() -> None:
    """R11, R12, R13: no problem of the list holds; the days after the last onset's allowed delay are left out for speed."""
    result = await play(7, days=245, imported=True)
    assert result.problems == []
    assert {one.planted for one in result.findings} == {
        planted.name for planted in PLANTED if planted.verdict == "systemic"
    }


@pytest.mark.parametrize("seed", [7, 8])
def test_the_three_actions_of_the_year_are_judged_as_they_were_planted_R95(seed: int) -> None:
    year = generate(seed, START)
    facts = Facts(year)
    coded = [fact for day in range(len(year.days)) for fact in facts.day(day)]
    sums = fold(counted_of(fact, START + timedelta(days=400), ZoneInfo("UTC")) for fact in coded)
    for planted in PLANTED:
        if planted.action_day is None:
            continue
        # Done at the weekly look after that day.
        action = planted.action_day - planted.action_day % 7 + 7
        motive, length = RULEBOOK_MOTIVES[planted.motive], action + WINDOW + 1
        own, others = np.zeros(length), np.zeros(length)
        for (series, of, place, day), (fresh, _) in sums.items():
            at = (day - START.date()).days
            if series != WATCHED or at >= length:
                continue
            if (of, place) == (motive, planted.touchpoint):
                own[at] += fresh
            elif of != motive and place != planted.touchpoint:
                others[at] += fresh
        begins = START.timetuple().tm_yday / 365.25
        effect = evaluate(Days(own, others, {}, action, WINDOW, year=begins), 0.6)
        assert effect.judgement == planted.action_effect, planted.name
