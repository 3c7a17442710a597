"""From odds to a score that means the same everywhere: −log₁₀ of the share of periods on which a quiet series shows such odds.

How often quiet series reach given odds depends on their level and dispersion (a count of two at a mean of a tenth is no rarity). The
tables were made by `python -m bench.calibrate`: quiet series with seasons, trends and weekdays through the very engine; the quantiles of
their odds, and how many episodes a year (alarms at most seven periods apart are one) each score gives, at nodes of level and dispersion.
Between nodes they are interpolated linearly in log level and log(φ − 0.9); beyond the last quantile the odds themselves go on, since a
likelihood ratio of x is reached by chance at most once in x (Wald 1945; Ville 1939).
"""

from functools import lru_cache

import numpy as np

from services.classification.domain.detection import tables
from services.classification.domain.detection.baseline import Array
from services.classification.domain.detection.panel import Flags

LEVELS = np.array([-1.4, -1.0, -0.6, -0.2, 0.2, 0.7, 1.2, 1.8, 2.4])  # log10 of a period's mean
DISPERSIONS = np.array([1.05, 1.3, 1.7, 2.4, 4.0, 6.0])
SCORES = np.array([0.3, 0.7, 1.0, 1.3, 1.6, 2.0, 2.3, 2.6, 3.0, 3.3])
LEAN, LEANS_AT = {"day": 0.5, "week": 1.35}, 5
MOST = {"day": (-0.15, 0.15), "week": (-0.17, 0.12)}
"""How far a score may lean down and up."""
SCANTY = {"day": 0.0, "week": 0.5}
"""A period's mean below which a score never leans up: there quiet series reach given odds more often than the tables say as it is, and
one kind of them would have twice the false alarms asked for."""
SPENDS, SPENDS_MOST = {"day": 0.45}, 0.3
"""Powers of ten of episodes per unit of odds at `LEANS_AT`, and the most: a factor of 2 up or down."""
CAREFUL = {"day": 0.92, "week": 1.0}
"""Of the episodes asked for: a past with outbreaks, bursts and changes of level gives a tenth more than one without, as in the tables."""
SHAPE = (len(LEVELS), len(DISPERSIONS), len(SCORES))


def spread_of(dispersion: Array) -> Array:
    """The scale on which dispersions are interpolated."""
    return np.log(np.maximum(dispersion, 1.0) - 0.9)


@lru_cache(maxsize=4)
def quantiles(name: str) -> Array:
    """Odds (natural logarithm) at each score, level × dispersion × score."""
    return np.array(tables.ODDS[name].split(), dtype=np.float64).reshape(SHAPE)


@lru_cache(maxsize=4)
def episodes(name: str) -> Array:
    """log10 of episodes a series and year at each score."""
    return np.array(tables.EPISODES[name].split(), dtype=np.float64).reshape(SHAPE)


def weights(level: Array, dispersion: Array) -> tuple[Array, Array]:
    """Bilinear weights over the nodes, series × levels and series × dispersions."""
    return _linear(np.log10(np.maximum(level, 1e-6)), LEVELS), _linear(spread_of(dispersion), spread_of(DISPERSIONS))


def _linear(x: Array, nodes: Array) -> Array:
    x = np.clip(x, nodes[0], nodes[-1])
    right = np.clip(np.searchsorted(nodes, x, side="right"), 1, len(nodes) - 1)
    share = (x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    found = np.zeros((len(x), len(nodes)))
    rows = np.arange(len(x))
    found[rows, right - 1], found[rows, right] = 1 - share, share
    return found


def at_nodes(table: Array, level: Array, dispersion: Array) -> Array:
    """The table's rows for some series, series × scores."""
    by_level, by_dispersion = weights(level, dispersion)
    across = (by_level @ table.reshape(len(LEVELS), -1)).reshape(len(level), len(DISPERSIONS), len(SCORES))
    rows: Array = (across * by_dispersion[:, :, None]).sum(axis=1)
    return rows


def score(name: str, odds: Array, level: Array, dispersion: Array) -> tuple[Array, Array]:
    """Two scores of one period, 0 where nothing can be said.

    The first is exact: reached on a share 10^−score of a quiet series' periods. The second leans towards where an alarm finds more: by
    `LEAN` of the way (weeks: all of it and more) from equal shares to equal odds (which is Neyman & Pearson's 1933 allocation when shares may
    differ), never by more than a power of ten of `MOST`, nor up where hardly anything comes (`SCANTY`).
    """
    rows = at_nodes(quantiles(name), level, dispersion)
    ordered = np.maximum.accumulate(rows, axis=1)
    exact = placed(ordered, odds)
    typical = float(np.mean(quantiles(name)[:, :, LEANS_AT]))
    leaning = placed(ordered, odds + LEAN[name] * (rows[:, LEANS_AT] - typical))
    down, up = MOST[name]
    most = np.where(level < SCANTY[name], 0.0, up)
    return exact, np.where(exact > 0.7, np.clip(leaning, exact + down, exact + most), exact)


def cut_for_share(name: str, share: float, level: Array, dispersion: Array) -> Array:
    """The odds that a quiet series reaches on such a share of its periods."""
    rows = np.maximum.accumulate(at_nodes(quantiles(name), level, dispersion), axis=1)
    wanted = -np.log10(share)
    place = int(np.clip(np.searchsorted(SCORES, wanted) - 1, 0, len(SCORES) - 2))
    part = (wanted - SCORES[place]) / (SCORES[place + 1] - SCORES[place])
    if wanted > SCORES[-1]:
        beyond: Array = rows[:, -1] + (wanted - SCORES[-1]) * np.log(10)
        return beyond
    found: Array = rows[:, place] + part * (rows[:, place + 1] - rows[:, place])
    return found


def placed(rows: Array, odds: Array) -> Array:
    """Where odds stand among quantiles, series × scores and never falling: −log₁₀ of the share of periods that reach them."""
    place = np.clip((odds[:, None] >= rows).sum(axis=1) - 1, 0, len(SCORES) - 2)
    each = np.arange(len(rows))
    low = rows[each, place]
    high = np.maximum(rows[each, place + 1], low + 1e-6)
    share = (odds - low) / (high - low)
    found = SCORES[place] + share * (SCORES[place + 1] - SCORES[place])
    below, beyond = odds < rows[:, 0], odds >= rows[:, -1]
    found[below] = 0.3 * np.exp(np.minimum(odds[below] - rows[below, 0], 0.0))
    found[beyond] = SCORES[-1] + (odds[beyond] - rows[beyond, -1]) / np.log(10)
    scored: Array = np.where(odds <= -29.0, 0.0, found)
    return scored


def spent(name: str, wanted: float, level: Array, dispersion: Array, among: Flags) -> Array:
    """Episodes a year that each series may have, so that those `among` which it is shared out have `wanted` on average.

    Where quiet series seldom reach high odds, equal shares would alarm at low odds; the nearer to equal odds, the more events are found at
    the same number of false alarms (Neyman & Pearson 1933). A series alone, or alike ones, have just what was asked for.
    """
    if name not in SPENDS or not among.any():
        return np.full(len(level), wanted)
    odds = at_nodes(quantiles(name), level, dispersion)[:, LEANS_AT]
    lean = SPENDS[name] * (odds - float(np.mean(odds[among])))
    weight = 10.0 ** np.clip(lean, -SPENDS_MOST, SPENDS_MOST)
    shares: Array = wanted * weight / float(np.mean(weight[among]))
    return shares


def cut_for_episodes(name: str, wanted: float | Array, level: Array, dispersion: Array) -> Array:
    """The score from which a quiet series alarms in `wanted` episodes a year."""
    rows = np.minimum.accumulate(at_nodes(episodes(name), level, dispersion), axis=1)
    target = np.log10(np.maximum(np.broadcast_to(wanted, len(level)) * CAREFUL[name], 1e-6))
    found = np.full(len(level), SCORES[-1])
    slope = 1.0  # beyond the table a tenth of the episodes costs a unit of score
    beyond = rows[:, -1] > target
    found[beyond] = SCORES[-1] + (rows[beyond, -1] - target[beyond]) / slope
    first = rows[:, 0] <= target
    for number in range(len(SCORES) - 1, 0, -1):
        high, low = rows[:, number - 1], rows[:, number]
        inside = (high > target) & (low <= target)
        share = (high[inside] - target[inside]) / np.maximum(high[inside] - low[inside], 1e-9)
        found[inside] = SCORES[number - 1] + share * (SCORES[number] - SCORES[number - 1])
    found[first] = SCORES[0]
    return found
