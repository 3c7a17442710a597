"""Where is it? The fewest, narrowest sets of attribute values whose own rates explain a cube that moved.

The cube is a sparse log-linear model: the mean of leaf i is e_i · a · Π ρ_k over the sets k that hold it, with e_i what was
expected, a what the day adds to everything alike, ρ_k > 1 the rate ratio of failure k. Sets are found forward, each as the
maximum of the penalised likelihood ratio over all groups of all cuboids (a scan: Kulldorff 1997) and then by coordinate ascent
over selections of values, one attribute at a time (multidimensional subset scan: Neill, McFowland & Zheng 2013; within an
attribute the best selection is a prefix of its values in the order of their ratios: linear-time subset scanning, Neill 2012).
After each new set all ratios are fitted together (iterative proportional fitting, Deming & Stephan 1940), earlier sets are
searched again with the others held, and sets that no longer pay for themselves leave.

A broader set than the failure dilutes its excess, a narrower one leaves excess behind; the penalised likelihood is largest in
between. A set is a finding when its tail probability, under all the noise there is, passes its share of the allowed error.
"""

from services.classification.domain.localisation.cube import Mask
from services.classification.domain.localisation.model import MAX_VALUES, Model, Set, siblings

ROUNDS = 3
MOST_SPLITS = 12


def search(model: Model) -> None:
    """Add sets until none is a finding; after each, make the whole explanation better by small moves; take out what no
    longer pays."""
    while len(model.sets) < model.rules.most:
        found = model.best()
        if found is None:
            break
        model.sets.append(found)
        model.fit()
        _improve(model)
        _merge(model)
    _split(model)
    _prune(model)
    _numbers(model)


def _merge(model: Model) -> None:
    """Siblings become one set with several values where that is the better explanation."""
    again = True
    while again:
        again = False
        for one, other, dim in siblings(model.sets):
            first, second = model.sets[one], model.sets[other]
            if second.held:
                continue
            values = tuple(sorted({*first.choice[dim], *second.choice[dim]}))
            choice = first.choice | {dim: values}
            if first.held or len(values) >= len(model.cube.values[dim]):
                continue
            sets = [each for number, each in enumerate(model.sets) if number != other]
            sets[one] = Set(choice, model.mask(choice))
            tried = model.tried(sets)
            if tried.worth > model.worth + 0.5:
                _take(model, tried)
                again = True
                break


def _improve(model: Model) -> None:
    """Search each set again with the others held, and try each without one of its attributes: two failures that overlap are
    first seen as their intersection and what is left of them. Sets that share no leaf with the newest stay as they are."""
    if len(model.sets) < 2:
        return
    changed = [model.sets[-1].mask]
    for _ in range(ROUNDS):
        moved: list[Mask] = []
        for number in range(len(model.sets)):
            each = model.sets[number]
            if each.held or not any((each.mask & mask).any() for mask in changed):
                continue
            options = [
                {d: v for d, v in each.choice.items() if d != dim} for dim in each.choice if len(each.choice) > 1
            ]
            found = model.best(number)
            if found is not None and found.choice != each.choice:
                options.append(found.choice)
            best: Model | None = None
            for choice in options:
                if any(other.choice == choice for other in model.sets):
                    continue
                sets = list(model.sets)
                sets[number] = Set(choice, model.mask(choice))
                tried = model.tried(sets)
                if tried.worth > (best or model).worth + 0.5 and _stands(tried, number):
                    best = tried
            if best is not None:
                _take(model, best)
                moved.append(model.sets[number].mask | each.mask)
        if not moved:
            return
        changed = moved


def _stands(model: Model, number: int) -> bool:
    each, mean = model.sets[number], model.mean(number)
    return model.passes(each.choice, each.mask, mean, mean - model.expected * model.common)


def _take(model: Model, other: Model) -> None:
    model.sets, model.common, model.worth = other.sets, other.common, other.worth


def _split(model: Model) -> None:
    """One set with several values may be two failures that share the rest: take a value out, search again, keep what is
    better as a whole (log likelihood less the prices of all sets)."""
    parts = [
        (number, dim, value)
        for number, each in enumerate(model.sets)
        if not each.held
        for dim, values in each.choice.items()
        if 1 < len(values) <= MAX_VALUES
        for value in values
    ]
    for number, dim, value in parts[:MOST_SPLITS]:
        if len(model.sets) >= model.rules.most:
            return
        if number >= len(model.sets) or value not in model.sets[number].choice.get(dim, ()):
            continue
        now = model.sets[number]
        rest = tuple(code for code in now.choice[dim] if code != value)
        if not rest:
            continue
        choice = now.choice | {dim: rest}
        sets = list(model.sets)
        sets[number] = Set(choice, model.mask(choice))
        tried = model.tried(sets)
        found = tried.best()
        if found is None:
            continue
        tried.sets.append(found)
        tried.fit()
        _improve(tried)
        _merge(tried)
        _prune(tried)
        if tried.worth > model.worth + 0.5:
            _take(model, tried)


def _prune(model: Model) -> None:
    while True:
        losers: list[tuple[float, int]] = []
        for number, each in enumerate(model.sets):
            mean = model.mean(number)
            score = model.score(each.choice, each.mask, mean)
            passes = model.passes(each.choice, each.mask, mean, mean - model.expected * model.common)
            if each.held:
                continue
            if score <= 0 or not passes:
                losers.append((score, number))
        if not losers:
            return
        del model.sets[min(losers)[1]]
        model.fit()


def _numbers(model: Model) -> None:
    for number, each in enumerate(model.sets):
        mean = model.mean(number)
        each.score = model.score(each.choice, each.mask, mean)
        each.log_p, each.limit = model.judge(each.choice, each.mask, mean, mean - model.expected * model.common)
