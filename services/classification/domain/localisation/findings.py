"""What a look at the cube says: failures with their evidence, what they explain, what stays unexplained; and their names over
consecutive looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.classification.domain.localisation.cube import Choice, Codes, Cube, Mask
from services.classification.domain.localisation.evidence import log_tail
from services.classification.domain.localisation.model import UNEVEN, Model, Rules, Set
from services.classification.domain.localisation.noise import Noise
from services.classification.domain.localisation.search import search
from services.classification.domain.numeric import Array

Named = Mapping[str, tuple[str, ...]]
RENAME = 6.0
"""Nats by which another set must explain an open failure better before the finding is renamed: odds of 400 to 1. A failure of
ten days changes its name in about one of fifty with it, in one of six without."""
SAME = 0.3
"""Two sets that share so much of their excess (Jaccard, by excess) tell of one failure."""


@dataclass(frozen=True, slots=True)
class Found:
    """One failure. `observed`, `expected`: distinct complainants of its leaves, the other failures explained.

    `ratio`: fitted rate over expected rate; `excess`: complainants it explains; `log_p`: natural log of the tail probability
    under all the noise, `limit`: what it had to pass; `leaves`: numbers of its members; `same_as`: number of the open finding
    this is, if any; `contacts`: raw contacts, where they were handed in.
    """

    where: dict[str, tuple[str, ...]]
    observed: float
    expected: float
    ratio: float
    excess: float
    log_p: float
    limit: float
    gain: float
    leaves: tuple[int, ...]
    contacts: float | None = None
    same_as: int | None = None
    renamed: bool = False


@dataclass(frozen=True, slots=True)
class Localisation:
    """`common`: factor on everything alike; `mean`: fitted mean of each leaf; `unexplained`: complainants beyond it."""

    findings: tuple[Found, ...]
    common: float
    mean: Array
    unexplained: float


@dataclass(frozen=True, slots=True)
class Open:
    """A finding that is open already, by the name it has."""

    where: Named


def localise(
    cube: Cube,
    counts: Array,
    expected: Array,
    noise: Noise,
    rules: Rules | None = None,
    *,
    open_findings: Sequence[Open] = (),
    contacts: Array | None = None,
) -> Localisation:
    """Explain one window of a cube. `counts`: distinct complainants per leaf; `expected`: of them, as always.

    Open findings are explained first, so that a failure that goes on is no new finding; they leave only by being closed.
    Raises ValueError for arrays of another length than the cube, negative or not finite.
    """
    for name, values in (("counts", counts), ("expected", expected)):
        if values.shape != (cube.leaves,):
            raise ValueError(f"{name} of shape {values.shape} for a cube of {cube.leaves} leaves")
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name} must be finite and not negative")
    model = Model.of(cube, counts.astype(np.float64), expected.astype(np.float64), noise, rules or Rules())
    held: list[int] = []
    for number, known in enumerate(open_findings):
        choice = cube.chosen(known.where)
        if choice is not None:
            model.sets.append(Set(choice, cube.mask(choice), held=True))
            held.append(number)
    if model.sets:
        model.fit()
    search(model)
    renamed = _rename(model, held)
    mean = model.mean()
    base = expected * model.common
    found = []
    for number, each in enumerate(model.sets):
        others = model.mean(number)
        usual = float(others[each.mask].sum())
        place = held[number] if number < len(held) else None
        seen = float(counts[each.mask].sum())
        found.append(
            Found(
                where=cube.named(each.choice),
                observed=seen,
                expected=usual,
                ratio=each.ratio,
                excess=max(0.0, float((mean - others)[each.mask].sum())),
                log_p=each.log_p,
                limit=each.limit,
                gain=each.score,
                leaves=tuple(int(leaf) for leaf in np.flatnonzero(each.mask)),
                contacts=None if contacts is None else float(contacts[each.mask].sum()),
                same_as=place,
                renamed=number in renamed,
            )
        )
    beyond = float(np.maximum(counts - np.maximum(mean, base), 0.0).sum())
    return Localisation(tuple(found), model.common, mean, beyond)


def _rename(model: Model, held: list[int]) -> set[int]:
    """Open failures that another set explains far better get that name; a new finding that tells of one of them is it."""
    renamed: set[int] = set()
    for number in range(len(held)):
        each = model.sets[number]
        mean = model.mean(number)
        explained = mean - model.expected * model.common
        better = model.best(number)
        if better is None or better.choice == each.choice:
            continue
        now = model.score(each.choice, each.mask, mean)
        passes = model.passes(each.choice, each.mask, mean, explained)
        if not passes and not _kin(model, each, better):
            continue
        if better.score > max(now, 0.0) + RENAME and _kin(model, each, better):
            better.held = True
            model.sets[number] = better
            renamed.add(number)
            model.fit()
    if renamed:
        # What a renamed set now explains is no finding of its own any more.
        for each in list(model.sets[len(held) :]):
            number = model.sets.index(each)
            mean = model.mean(number)
            if not model.passes(each.choice, each.mask, mean, mean - model.expected * model.common):
                del model.sets[number]
                model.fit()
    for number, each in enumerate(model.sets):
        mean = model.mean(number)
        each.score = model.score(each.choice, each.mask, mean)
        each.log_p, each.limit = model.judge(each.choice, each.mask, mean, mean - model.expected * model.common)
    return renamed


def _kin(model: Model, one: Set, other: Set) -> bool:
    excess = np.maximum(model.counts - model.expected * model.common, 0.0)
    both, either = excess[one.mask & other.mask].sum(), excess[one.mask | other.mask].sum()
    return bool(either > 0 and both >= SAME * either)


def follow(names: Sequence[Named], one: Localisation) -> list[int | None]:
    """For each finding of a look the number of the open name it continues; None for a new failure."""
    return [
        found.same_as if found.same_as is not None and found.same_as < len(names) else None for found in one.findings
    ]


def silenced(
    cube: Cube, counts: Array, look: Localisation, noise: Noise, slices: Sequence[Named], level: float = 1e-3
) -> list[int | None]:
    """For each moved slice the number of the finding that explains it; None where it stands out beyond what was explained.

    A slice is explained when its count is likely (p > `level`) under the fitted mean, an excess already explained allowed to
    be uneven; it is silenced for the finding that holds most of its excess.
    """
    found: list[int | None] = []
    for each in slices:
        choice: Choice | None = cube.chosen(each)
        if choice is None:
            found.append(None)
            continue
        mask = cube.mask(choice)
        mean = float(look.mean[mask].sum())
        shares = [
            float((look.mean * (1 - 1 / finding.ratio))[_within(mask, finding)].sum()) for finding in look.findings
        ]
        if not shares or max(shares) <= 0:
            found.append(None)
            continue
        usual = mean + 0.5 * noise.exposure
        variance = float(noise.variance(look.mean[mask]).sum()) + noise.exposure * usual
        variance += (noise.shared(tuple(sorted(choice))) * usual) ** 2 + (UNEVEN * sum(shares)) ** 2
        likely = float(log_tail(float(counts[mask].sum()), usual, variance)) > np.log(level)
        found.append(int(np.argmax(shares)) if likely else None)
    return found


def _within(mask: Mask, finding: Found) -> Codes:
    leaves = np.asarray(finding.leaves, dtype=np.int64)
    within: Codes = leaves[mask[leaves]]
    return within
