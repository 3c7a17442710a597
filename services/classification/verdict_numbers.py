"""What a verdict states of the day it was reached on, so that anyone can compute it again."""

from datetime import date
from math import log10

from libs.events.catalogue.findings import Borrowed, Evaluation, Verdict
from services.classification.domain import borrowing
from services.classification.domain.episodes import Episode
from services.classification.domain.judges import METHOD, ORDINARY
from services.classification.domain.lots import WINDOWS
from services.classification.domain.monitor import Rules
from services.classification.domain.numeric import upper_limit
from services.classification.domain.watch import Key, Watch
from services.classification.waiting import Waiting

_MONDAY = date(1970, 1, 5).toordinal()


def evaluation_of(watch: Watch, key: Key, episode: Episode, rules: Rules, waiting: Waiting) -> Evaluation:
    """Of an episode as it stood at its verdict; who complained, and how often, is counted by whoever publishes it."""
    numbers = episode.numbers
    upper = upper_limit(numbers.expected, numbers.variance, ORDINARY / len(WINDOWS))
    parameters = {
        "window_days": float(numbers.window),
        "windows": float(len(WINDOWS)),
        "rate_per_day": numbers.rate,
        "dispersion": numbers.dispersion,
        "dispersion_of_a_day": numbers.careful,
        "common_factor": numbers.common,
        **({"holiday_factor": numbers.factor} if rules.holidays else {}),
        "variance": numbers.variance,
        "p": _p(episode),
        "level": numbers.level,
        "slices": float(numbers.slices),
        "odds_going_on": numbers.odds,
        "odds_of_one_in_1000": numbers.base,
        "p_going_on": numbers.going_on,
        "p_one_day": numbers.one_day,
        "isolated": numbers.isolated,
        "p_last_days": numbers.recent,
        "repeats_lane": float(numbers.lane == "repeats"),
    }
    if episode.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        # How much more would decide: as many days as a burst needs to be over, or so many complainants that the window
        # alone would be as rare as an alarm has to be.
        enough = upper_limit(numbers.expected, numbers.variance, numbers.level / len(WINDOWS))
        parameters["more_days"] = float(max(1, rules.calm_days - (episode.decided - episode.start)))
        parameters["more_customers"] = float(max(1, enough - numbers.observed))
    return Evaluation(
        method=METHOD,
        window_start=waiting.midnight(watch.day_of(numbers.day - numbers.window + 1)),
        window_end=waiting.midnight(watch.day_of(numbers.day + 1)),
        observed=numbers.observed,
        expected=round(numbers.expected, 6),
        upper=float(upper),
        score=round(-log10(max(_p(episode), 1e-300)), 4),
        customers=0,
        contacts=0,
        baseline=watch.baseline(key, numbers.day, numbers.lane, numbers.borrowed),
        # Nine digits that tell something: rounded to nine places a p of 1e-17 would stand as 0.
        parameters={name: float(f"{value:.9g}") for name, value in parameters.items()},
        borrowed=None if numbers.borrowed is None else borrowed_of(numbers.borrowed),
        **watch.calendar_at(numbers.day),
    )


def borrowed_of(told: borrowing.Borrowed) -> Borrowed:
    """The same as events have it."""
    return Borrowed(
        begins=date.fromordinal(_MONDAY + told.begin),
        level=told.level,
        weight=told.weight,
        dispersion=told.dispersion,
        dispersion_weight=borrowing.NOISE_WEIGHT,
        slices=told.slices,
        kin=told.kin,
    )


def _p(episode: Episode) -> float:
    """How rare the verdict's evidence is among quiet slices: for *systemic*, that something goes on; else whichever lane spoke."""
    return episode.numbers.going_on if episode.verdict is Verdict.SYSTEMIC else episode.numbers.p
