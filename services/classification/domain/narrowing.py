"""A slice moved: of which failure is it? An open one that explains it, or a new one and the narrowest name for that. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import log, sqrt

import numpy as np

from services.classification.domain.localisation import Contact, Open, Rules, localise, silenced, window
from services.classification.domain.localisation.findings import RENAME
from services.classification.domain.localisation.model import Model
from services.classification.domain.localisation.windows import OTHER
from services.classification.domain.numeric import Array
from services.classification.domain.slices import WHY

DIMENSIONS = ("motive", "touchpoint", "location", "product", "team", "supplier", "channel", "segment", "agent")
"""Attributes a finding may be named by."""
PROTECTED = frozenset({"agent"})
"""Name one person: they need more complainants and a limit a hundred times stricter. Customers are never named."""
DEPTH = 3
SHORT, LONG = 7, 14
"""Days of a window: a rise that the last week shows is looked for in the last week, another in the last two."""
PAST = 26
"""Windows of a week before it that say what is usual; of two weeks half as many."""
TOGETHER = 0.9
"""Share of a broader set's complainants that the moved slice holds, from which on it is no other set."""
MOSTLY = 0.7
MEMBER = 0.5
"""Share of a wide slice's excess from which on it belongs to an open finding."""
STANDS_OUT, AS_USUAL = 4.0, 2.0
"""Standard deviations: among the hundred sets of a contact point one stands out so by chance once in 300 times; the rest of a slice is
above its mean so far once in 40, somewhat more often because the slice was looked at on a day on which it stood out."""
RULES = Rules(protected=PROTECTED)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """`known`: number of the open finding that explains the slice; None: a new failure, by the name `where`."""

    where: Mapping[str, str]
    known: int | None = None


def reach(days: int) -> int:
    """How many days of contacts, the tested ones among them, `narrow` looks at."""
    span = SHORT if days <= SHORT else LONG
    return span * (PAST * SHORT // span + 2)


def narrow(
    contacts: Iterable[Contact],
    through: date,
    days: int,
    moved: Mapping[str, str],
    open_findings: Sequence[Mapping[str, str]],
) -> Narrowed:
    """What explains that `moved` rose in the `days` up to `through`; the slice itself where nothing else does.

    A set of several values of an attribute is named without that attribute: findings name one value each.
    """
    span = SHORT if days <= SHORT else LONG
    looked = window(contacts, DIMENSIONS, through, days=span, past=PAST * SHORT // span, gap=1, depth=DEPTH)
    if looked is None:
        return Narrowed(dict(moved))
    known = [Open({name: (value,) for name, value in where.items()}) for where in open_findings]
    cube, counts = looked.cube, looked.counts
    held = [number for number, one in enumerate(known) if cube.chosen(one.where) is not None]
    look = localise(cube, counts, looked.expected, looked.noise, RULES, open_findings=[known[place] for place in held])
    (number,) = silenced(cube, counts, look, looked.noise, [{name: (value,) for name, value in moved.items()}])
    if number is None:
        return Narrowed(dict(moved))
    found = look.findings[number]
    if found.same_as is not None:
        return Narrowed(dict(moved), held[found.same_as])
    # The rarer values together are several too, unless it is them that moved.
    where = {
        name: values[0]
        for name, values in found.where.items()
        if len(values) == 1 and values[0] and (values[0] != OTHER or moved.get(name) == OTHER)
    }
    if where.items() < moved.items():
        # Attributes that always come together are one name to the search, the shorter; what is watched under both keeps both.
        leaves = np.asarray(found.leaves, dtype=np.int64)
        inside = cube.mask(cube.chosen({name: (value,) for name, value in moved.items()}) or {})[leaves]
        if counts[leaves][inside].sum() >= TOGETHER * counts[leaves].sum():
            return Narrowed(dict(moved))
    if where.items() > moved.items():
        # The slice has a name already; a narrower one has to explain the counts far better, as an open finding's has to.
        model = Model.of(cube, counts, looked.expected, looked.noise, RULES)
        usual = look.mean.copy()
        usual[list(found.leaves)] /= found.ratio
        pair = [cube.chosen({name: (value,) for name, value in one.items()}) or {} for one in (where, moved)]
        inner, outer = (model.score(choice, cube.mask(choice), usual) for choice in pair)
        if inner < outer + RENAME:
            return Narrowed(dict(moved))
    return Narrowed(where or dict(moved))


def member_of(
    contacts: Sequence[Contact],
    through: date,
    days: int,
    moved: Mapping[str, str],
    open_findings: Sequence[Mapping[str, str]],
    share: float = MEMBER,
) -> int | None:
    """Number of the open finding in which most of what `moved` has above its half year lies; None where it is less than `share` of it.

    Complainants of the `days` up to `through`, beside the mean of as many windows as there are (half a year, one window left out).
    """
    excess = _seen(contacts, through, days, moved, open_findings).excess()
    return _largest(excess, share)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Distinct complainants of some sets within a slice, the last column those of the slice: of the tested window, and of past ones (rows)."""

    now: Array
    past: Array

    def excess(self) -> Array:
        return np.asarray(self.now - self.past.mean(axis=0))


def _seen(
    contacts: Sequence[Contact],
    through: date,
    days: int,
    moved: Mapping[str, str],
    sets: Sequence[Mapping[str, str]],
) -> _Seen:
    span = SHORT if days <= SHORT else LONG
    windows = PAST * SHORT // span
    inside: dict[int, list[set[str]]] = {}
    oldest = 0
    for contact in contacts:
        since = (through - contact.day).days
        back = since // span
        if back < 0:
            continue
        oldest = max(oldest, since)
        if (
            back == 1
            or back > windows + 1
            or any(contact.values.get(name, "") != value for name, value in moved.items())
        ):
            continue
        held = inside.setdefault(back, [set() for _ in range(len(sets) + 1)])
        held[-1].add(contact.customer)
        for number, where in enumerate(sets):
            if all(contact.values.get(name, "") == value for name, value in where.items()):
                held[number].add(contact.customer)
    # The window in which recording began is no whole one.
    counts = np.zeros((max(min(windows, (oldest + 1) // span - 2), 1) + 2, len(sets) + 1))
    for back, held in inside.items():
        if back < len(counts):
            counts[back] = [len(one) for one in held]
    return _Seen(counts[0], counts[2:])


def _largest(excess: Array, share: float) -> int | None:
    """The set with most above its past, if that is `share` of what the slice has above its own."""
    best = max(range(len(excess) - 1), key=lambda number: (excess[number], -number), default=None)
    return best if best is not None and excess[best] > 0 and excess[best] >= share * excess[-1] else None


def _explains(seen: _Seen, number: int) -> bool:
    """Whether a set stands out, and what the slice has without it is as usual and not as much above it as the set is.

    Standard deviations of one more window, by those of the past, whose noise is at least that of counting; and the quasi-likelihood of the
    rest's count at its usual mean m over that at ρ m, with ρ the set's own ratio: ((ρ − 1) m − c ln ρ) / φ.
    """
    past, now = seen.past[:, number], float(seen.now[number])
    others, rest = seen.past[:, -1] - past, float(seen.now[-1]) - now
    mean, usual = max(float(past.mean()), 0.5), max(float(others.mean()), 0.5)
    wide, noise = max(float(past.var()), mean), max(float(others.var()), usual)
    again = 1 + 1 / len(past)
    if now < mean + STANDS_OUT * sqrt(again * wide) or rest > usual + AS_USUAL * sqrt(again * noise):
        return False
    ratio = now / mean
    return ((ratio - 1) * usual - rest * log(ratio)) * usual / noise >= RENAME


def placed(contacts: Sequence[Contact], through: date, days: int, moved: Mapping[str, str]) -> dict[str, str]:
    """Where a rise of a cause, a component or a procedure lies, or of a motive or a contact point alone: the motive and the contact point,
    or else the motive, that hold most of its excess. The slice itself where there is none.

    Of what says only why half of the excess is enough, because what else the code is given for is no part of the failure. A motive is not
    named by one contact point, nor a contact point by one motive, unless seven tenths of its excess are there, or half of it and the rest is
    as usual (`_explains`): of a slice with nearly half of all contacts chance alone moves as many as a failure brings.
    """
    why = bool(moved.keys() & WHY)
    kept = {name: value for name, value in moved.items() if name not in WHY}
    inside = [one for one in contacts if all(one.values.get(name, "") == value for name, value in moved.items())]
    for names in (("motive", "touchpoint"), ("motive",)):
        found = {tuple(one.values.get(name, "") for name in names) for one in inside}
        sets = [{**kept, **dict(zip(names, values, strict=True))} for values in sorted(found) if all(values)]
        seen = _seen(inside, through, days, moved, sets)
        number = _largest(seen.excess(), MEMBER)
        if number is not None and (why or _largest(seen.excess(), MOSTLY) is not None or _explains(seen, number)):
            return sets[number]
    return dict(moved)


def holds(
    contacts: Sequence[Contact], through: date, days: int, moved: Mapping[str, str], wider: Sequence[Mapping[str, str]]
) -> int | None:
    """Number of the first wider set whose excess lies mostly in `moved`: what it rose by is the same failure."""
    for number, where in enumerate(wider):
        if where.items() < moved.items() and member_of(contacts, through, days, where, [moved], MOSTLY) is not None:
            return number
    return None
