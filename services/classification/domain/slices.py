"""What the monitor watches: series of slices. A slice is its attribute values, as sorted pairs; a series is all slices of the same
attributes. Pure.

The first series, motive × contact point, holds every counted contact in exactly one slice: what all slices share is read from it, single
days and repeats are judged in it. The slices of the others overlap with it and with each other, and are asked one question: does
something go on that is diluted in the first? Whatever else they would say of a day was said there already.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

Slice = tuple[tuple[str, str], ...]
"""(attribute, value), in the order of the attributes."""

BASE, PEERS = "touchpoint", "location"
"""Names of the first series and of what places are compared by, in the tables; from before there were others."""
ATTRIBUTES = (
    "motive",
    "cause",
    "component",
    "touchpoint",
    "product",
    "location",
    "team",
    "supplier",
    "procedure",
    "segment",
)
UNSAID = {"motive": "unknown", "cause": "unknown"}
"""A code that says only that it is not known makes no series of its own: what it is about is anything."""
MARK = "*"
BETWEEN = "\x1f"
_FIRST = ("motive", "touchpoint")
_OLD = {"motive*touchpoint": BASE, "location*motive": PEERS}


class BadSeries(ValueError):
    """A series that cannot be watched; the text says why."""


@dataclass(frozen=True, slots=True)
class Series:
    """`name`: of its verdicts; `counts`: of its counts, which those of motive × location share with what places are compared by."""

    name: str
    counts: str
    dims: tuple[str, ...]

    @property
    def base(self) -> bool:
        return self.name == BASE

    def of(self, values: Mapping[str, str]) -> Slice | None:
        """A contact's slice; None where it has none. Of the first series each has one, with or without a contact point."""
        if not self.base and any(values[name] in {"", UNSAID.get(name)} for name in self.dims):
            return None
        return tuple((name, values[name]) for name in self.dims)

    def row_of(self, values: Mapping[str, str]) -> tuple[str, str, str] | None:
        """The same as the tables name it: counts, motive, place. In the way of every contact, so without detours."""
        first = self.dims == _FIRST
        parts = []
        for name in self.dims:
            value = values[name]
            if not first and (not value or value == UNSAID.get(name)):
                return None
            if name != "motive":
                parts.append(value)
        return self.counts, values["motive"] if "motive" in self.dims else "", BETWEEN.join(parts)

    def slice_of(self, motive: str, place: str) -> Slice:
        """Back from a row of the tables."""
        rest = iter(place.split(BETWEEN))
        return tuple((name, motive if name == "motive" else next(rest)) for name in self.dims)


def series_of(dims: Iterable[str]) -> Series:
    """The series of these attributes. Raises BadSeries."""
    ordered = tuple(sorted(dims))
    for name in ordered:
        if name not in ATTRIBUTES:
            raise BadSeries(f"{name!r} is none of {', '.join(ATTRIBUTES)}")
    if not 1 <= len(ordered) <= 2 or len(set(ordered)) < len(ordered):
        raise BadSeries("a series has one attribute, or two different ones")
    written = MARK.join(ordered)
    if len(ordered) == 1:
        # One word stood for motive and that attribute before.
        return Series(f"{MARK}{written}", f"{MARK}{written}", ordered)
    counts = _OLD.get(written, written)
    return Series(BASE if counts == BASE else written, counts, ordered)


@cache
def by_name(name: str) -> Series | None:
    """The series of that name of verdicts; None for verdicts of others: places among their peers, the weekly sweep."""
    if name == BASE:
        return FIRST
    try:
        one = series_of(part for part in name.split(MARK) if part)
    except BadSeries:
        return None
    return one if one.name == name else None


def series_at(where: Slice) -> Series:
    return series_of(name for name, _ in where)


def parse(text: str) -> tuple[Series, ...]:
    """The series of a setting, `product, motive*team`; the first is always watched. Raises BadSeries."""
    found = {FIRST.name: FIRST}
    for part in text.split(","):
        if part.strip():
            one = series_of(name.strip() for name in part.split(MARK))
            found[one.name] = one
    return tuple(found.values())


def stored(where: Slice) -> tuple[str, str]:
    """Motive and place, as the tables have them."""
    values = dict(where)
    motive = values.pop("motive", "")
    return motive, BETWEEN.join(values[name] for name in sorted(values))


def is_base(where: Slice) -> bool:
    return tuple(name for name, _ in where) == FIRST.dims


def counts_at(where: Slice) -> tuple[str, str, str]:
    """Series of counts, motive and place of a slice: a row's name in the tables."""
    return series_at(where).counts, *stored(where)


def family(where: Slice) -> tuple[str, str]:
    """Whom a slice is judged among: those of its motive, or of its attribute where it has no motive beside it."""
    values = dict(where)
    if len(where) > 1 and "motive" in values:
        return "motive", values["motive"]
    return "attribute", MARK.join(name for name, _ in where)


def at(motive: str, touchpoint: str) -> Slice:
    """A slice of the first series."""
    return (("motive", motive), ("touchpoint", touchpoint))


def named(where: Slice) -> dict[str, str]:
    """As people read it: without what it does not name."""
    return {name: value for name, value in where if value}


FIRST = series_of(("motive", "touchpoint"))
PEERED = series_of(("motive", "location"))
PLACES = frozenset({"touchpoint", "location", "product", "team", "segment"})
"""Attributes whose values open: what comes from there for the first time could not come before, or was not told apart (whoever begins to
mark relations as critical has marked none before)."""
WHY = frozenset({"cause", "component", "procedure"})
"""Attributes that say why, or by what rule: a finding is named by where it is, and its nature says why."""
DEFAULT = "motive, cause, component, touchpoint, product, location, team, supplier, procedure"
"""Segments are for who marks relations by them (R57). Pairs are for who asks for them: not for what they cost, which is little, but because they tell little sooner than the weekly sweep and
motives do, take their share of the false alarms from the others, and more than double the verdicts (docs/adr/0015)."""
