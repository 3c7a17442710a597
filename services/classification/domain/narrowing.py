"""A slice moved: of which failure is it? An open one that explains it, or a new one and the narrowest name for that. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.classification.domain.localisation import Contact, Open, Rules, localise, silenced, window
from services.classification.domain.localisation.findings import RENAME
from services.classification.domain.localisation.model import Model
from services.classification.domain.localisation.windows import OTHER
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
    span = SHORT if days <= SHORT else LONG
    windows = PAST * SHORT // span
    inside: dict[int, list[set[str]]] = {}
    oldest = 0
    for contact in contacts:
        back = (through - contact.day).days // span
        if back < 0:
            continue
        oldest = max(oldest, back)
        if (
            back == 1
            or back > windows + 1
            or any(contact.values.get(name, "") != value for name, value in moved.items())
        ):
            continue
        sets = inside.setdefault(back, [set() for _ in range(len(open_findings) + 1)])
        sets[-1].add(contact.customer)
        for number, where in enumerate(open_findings):
            if all(contact.values.get(name, "") == value for name, value in where.items()):
                sets[number].add(contact.customer)
    past = max(min(windows, oldest - 1), 1)
    excess = [
        float(len(inside[0][number])) - sum(len(sets[number]) for back, sets in inside.items() if back > 1) / past
        if 0 in inside
        else 0.0
        for number in range(len(open_findings) + 1)
    ]
    best = max(range(len(open_findings)), key=lambda number: (excess[number], -number), default=None)
    return best if best is not None and excess[best] > 0 and excess[best] >= share * excess[-1] else None


def placed(contacts: Sequence[Contact], through: date, days: int, moved: Mapping[str, str]) -> dict[str, str]:
    """Where a rise of a cause, a component or a procedure lies, or of a motive or a contact point alone: the motive and the contact point,
    or else the motive, that hold most of its excess. The slice itself where there is none.

    Of what says only why half of the excess is enough, because what else the code is given for is no part of the failure; a motive is not
    named by one contact point unless seven tenths of its excess are there.
    """
    share = MEMBER if moved.keys() & WHY else MOSTLY
    kept = {name: value for name, value in moved.items() if name not in WHY}
    inside = [one for one in contacts if all(one.values.get(name, "") == value for name, value in moved.items())]
    for names in (("motive", "touchpoint"), ("motive",)):
        found = {tuple(one.values.get(name, "") for name in names) for one in inside}
        sets = [{**kept, **dict(zip(names, values, strict=True))} for values in sorted(found) if all(values)]
        number = member_of(inside, through, days, moved, sets, share)
        if number is not None:
            return sets[number]
    return dict(moved)
