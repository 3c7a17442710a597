"""What a slice takes over as its place opens, a second time: beside `slow_engine`, and without code of the first implementation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Lender(Protocol):
    phi: float
    noise_mean: float

    def typical(self) -> float: ...


@dataclass(frozen=True)
class Taken:
    """What a slice takes over as its place opens: a level that weighs so many complainants, a dispersion that weighs so many; of how many
    slices, and whether they are its family."""

    level: float
    weight: float
    phi: float
    phi_weight: float
    slices: int
    kin: bool


def taken_from(kin: Sequence[Lender], everybody: Sequence[Lender]) -> Taken:
    """The mean of what an average day of theirs brings; it weighs its square over the variance among them, 0.3 at least and 4 at most."""
    lenders = kin or everybody
    if not lenders:
        return Taken(0.1, 0.2, 1.5, 60.0, 0, kin=False)
    mean = sum(one.typical() for one in lenders) / len(lenders)
    spread = sum((one.typical() - mean) ** 2 for one in lenders) / len(lenders)
    total = sum(one.noise_mean + 1 for one in lenders)
    phi = sum((one.noise_mean + 1) * one.phi for one in lenders) / total
    weight = min(max(mean**2 / max(spread, 1e-9), 0.3), 4.0) if len(lenders) > 1 else 0.5
    return Taken(round(max(mean, 0.01), 6), round(weight, 6), round(phi, 6), 60.0, len(lenders), kin=bool(kin))


def family_of(key: tuple[str, ...]) -> tuple[str, ...]:
    """Of (motive, touchpoint), also with their names before them, the motive; of (attribute, value) the attribute."""
    return key[:2] if len(key) > 2 else key[:1]
