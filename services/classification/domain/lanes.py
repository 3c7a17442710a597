"""What one day says of all slices, by one kind of count."""

from dataclasses import dataclass, fields, replace

import numpy as np

from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.panel import Flags


@dataclass(frozen=True, slots=True)
class Lane:
    """One judged day of one kind of count, an entry per slice."""

    p: Array  # of the lanes of this kind, how many they are counted in
    level: Array  # the p an alarm needed
    going_on: Array  # p that something goes on, counted in
    one_day: Array  # p of this day alone, counted in
    odds: Array  # natural logarithm: an event against quiet or isolated
    base: Array  # the odds that a quiet slice reaches on one day in 1,000
    isolated: Array  # probability that this day is an incident of its own
    window: Ints
    observed: Array
    expected: Array
    variance: Array
    recent: Array  # p of the last days, not counted in
    rate: Array  # a day, before weekday and what is shared
    dispersion: Array
    careful: Array  # the dispersion that a day alone is judged by
    common: Array
    factor: Array  # of a holiday or of the day after one; 1 on others
    known: Flags
    borrowed: Array  # slices × what each borrowed as its place opened: `borrowing.told`


def merged(one: Lane, rows: Ints, other: Lane, others: Ints) -> Lane:
    """Both, each at its rows."""
    found = {}
    for field in fields(Lane):
        a, b = getattr(one, field.name), getattr(other, field.name)
        whole = np.zeros((len(rows) + len(others), *a.shape[1:]), dtype=a.dtype)
        whole[rows], whole[others] = a, b
        found[field.name] = whole
    return Lane(**found)


def silent(lane: Lane) -> Lane:
    """A lane of as many slices that says nothing."""
    ones, zeros = np.ones(len(lane.p)), np.zeros(len(lane.p))
    return replace(
        lane,
        p=ones,
        level=zeros,
        going_on=ones,
        one_day=ones,
        odds=zeros - 30.0,
        observed=zeros,
        expected=zeros,
        recent=ones,
    )
