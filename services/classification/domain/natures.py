"""Of what nature is a failure? Read from the causes coded, with the weights shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.events.catalogue.findings import Nature
from services.classification.domain.rulebook import Rulebook

LEADING_SHARE = 0.4
LEAST = 2.0
SUPPLIER_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Reading:
    nature: Nature
    weights: Mapping[str, float]  # nature to share of the excess, for those above nothing


def infer(
    window: Mapping[str, int],
    window_days: int,
    baseline: Mapping[str, int],
    baseline_days: int,
    rulebook: Rulebook | None,
    supplier_share: float = 0.0,
) -> Reading:
    """What there is more of than usual: per cause, distinct customers in the window less those its past leads one to expect.

    Each cause's excess counts for its nature (its own, else its component's) with weight one; `unknown` causes count for
    nothing. The leading nature is named when it has at least 40 % of the excess and two customers; else *unknown*. Where one supplier did the work in at least 80 % of
    the window's contacts (`supplier_share`), slips of people and systems, and what nobody could tell, are the supplier's (R32).
    """
    weights: dict[Nature, float] = {}
    share = window_days / baseline_days if baseline_days else 0.0
    for cause, count in window.items():
        nature = rulebook.nature_of(cause) if rulebook is not None else Nature.UNKNOWN
        excess = count - baseline.get(cause, 0) * share
        if nature is not Nature.UNKNOWN and excess > 0:
            weights[nature] = weights.get(nature, 0.0) + excess
    total = sum(weights.values())
    supplied = supplier_share >= SUPPLIER_SHARE
    if total <= 0:
        return Reading(Nature.SUPPLIER if supplied else Nature.UNKNOWN, {})
    shares = {
        nature.value: round(weight / total, 4) for nature, weight in sorted(weights.items(), key=lambda item: -item[1])
    }
    leading = max(weights, key=lambda nature: weights[nature])
    named = weights[leading] >= max(LEAST, LEADING_SHARE * total)
    nature = leading if named else Nature.UNKNOWN
    if supplied and nature in {Nature.HUMAN, Nature.SYSTEM, Nature.UNKNOWN}:
        nature = Nature.SUPPLIER
    return Reading(nature, shares)
