"""How days and weeks are watched. Every number here was chosen on simulated streams (docs/explanation/isolated-or-systemic.md)."""

from dataclasses import dataclass, field

from services.classification.domain.detection.baseline import Shape
from services.classification.domain.detection.filtering import Kinds


@dataclass(frozen=True, slots=True)
class Setting:
    """One frequency."""

    name: str
    block: int  # periods in a block of the baseline
    shape: Shape
    kinds: Kinds
    refit: int  # blocks between fits; a step search falls on one of them
    young: int  # periods before anything is judged
    pattern_memory: float = 0.985  # of the weekday pattern, a block
    pattern_prior: float = 15.0  # complainants
    noise_memory: float = 0.99  # of the dispersion, a block
    noise_prior: float = (
        20.0  # complainants, at a dispersion of 1.3; in proportion less where fewer than one a period are usual
    )
    noise_least: float = 0.0  # but at least this part of it
    noise_whole: bool = False  # with what cutting counts off takes from the dispersion given back
    lends: bool = False  # series judged together lend each other strength
    per_year: float = field(default=365.25)


DAYS = Setting(
    name="day",
    block=7,
    shape=Shape(block_days=7, reach=208, half_life=180.0, trust=208, step_score=14.0),
    kinds=Kinds(
        short=(1.0, 2.0, 4.0, 8.0, 16.0),
        lasting=(0.35, 0.7, 1.4, 3.0, 8.0),
        isolated=(4.0, 8.0, 16.0, 32.0, 64.0),
        begin_short=0.003,
        begin_lasting=0.002,
        begin_isolated=0.05,
        stay_short=0.85,
        tail=0.2,
        stay_lasting=0.985,
        stay_isolated=0.1,
        resize=0.15,
        stay_level=0.97,
        wander=0.05,
    ),
    refit=1,
    young=28,
)

WEEKS = Setting(
    name="week",
    block=1,
    shape=Shape(
        years=(364.0, 365.25),
        averaged=True,
        reach=600,
        half_life=800.0,
        trust=600,
        step_least=26,
        look_from=156,
        look_every=12,
        stride=6,
    ),
    kinds=Kinds(
        short=(1.5, 2.25, 3.4, 5.0),
        lasting=(0.5, 1.0, 2.0, 4.0),
        profile=(1.0, 1.0, 0.15),
        begin_short=0.015,
        begin_lasting=0.0001,
        stay_short=0.02,
        skip=0.1,
        tail=0.53,
        stay_tail=0.63,
        tail_size=0.06,
        cases=6.0,
        tail_many=0.98,
        stay_many=0.63,
        stay_after=0.7,
        after=0.12,
        unseen=4.0,
        stay_lasting=0.95,
        resize=0.07,
        stay_level=0.7,
        wander=0.022,
        crowding=2.0,
        fresh=17.0,
    ),
    refit=4,
    young=16,
    noise_memory=0.998,
    noise_prior=30.0,
    noise_least=1.0,
    noise_whole=True,
    lends=True,
    per_year=52.18,
)

SETTINGS = {"day": DAYS, "week": WEEKS}
