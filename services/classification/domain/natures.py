"""Of what nature is a failure? Log-odds from what was seen, added up with every weight shown (R13-R16, G10).

For each nature n: score(n) = ln prior(n) + Σ weight(evidence, n), and P(n) = exp(score(n)) / Σ exp(score): Bayes' rule with
evidence taken as independent given the nature ("naive Bayes"; weights of evidence: Good 1950). The weights are *judged, not
fitted*: no public set of complaints says which nature each failure turned out to be. They are small on purpose (no single
piece but the coded causes moves the odds by more than e^2.5 ≈ 12), stand in the verdict event one by one, and people
correct what comes of them. A nature is named from P ≥ 0.5; below that it is *unknown*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt

from libs.events.catalogue.findings import Nature, NatureTerm

METHOD = "natures-1"
NAMED = 0.5
NATURES = tuple(nature for nature in Nature if nature is not Nature.UNKNOWN)
PRIOR: Mapping[Nature, float] = {
    Nature.PROCEDURE: 0.22,
    Nature.NORM: 0.08,
    Nature.EXPLANATION: 0.15,
    Nature.HUMAN: 0.15,
    Nature.SUPPLIER: 0.14,
    Nature.SYSTEM: 0.14,
    Nature.PRODUCT: 0.12,
}
RIGHT, WRONG = 0.7, 0.05
"""How often a failure's cause is coded under its own nature, and under each of the six others (0.7 + 6 · 0.05 = 1)."""
MOST_TOLD = 3.0
"""So many customers' causes count as independent at most: one coder reads all of them, and errs alike on all of them."""
HALF = 3.0
"""A share of n cases weighs n / (n + 3): half of its weight at three cases."""
BEFORE, AFTER = 21, 3
"""A change may lie up to so many days before the onset, or after it (onsets are known to some days)."""
FADES = 10.0
KINDS: Mapping[str, Nature] = {
    "procedure": Nature.PROCEDURE,
    "norm": Nature.NORM,
    "policy": Nature.NORM,
    "supplier": Nature.SUPPLIER,
    "release": Nature.SYSTEM,
    "product": Nature.PRODUCT,
    "campaign": Nature.EXPLANATION,
    "information": Nature.EXPLANATION,
    "staff": Nature.HUMAN,
}
"""Which nature a change of a kind speaks for; `other` speaks for none."""


@dataclass(frozen=True, slots=True)
class Share:
    """`yes` of `of`."""

    yes: float = 0.0
    of: float = 0.0

    @property
    def value(self) -> float:
        return self.yes / self.of if self.of > 0 else 0.0

    @property
    def lean(self) -> float:
        """From -1 (none) to 1 (all), shrunk by how few there are."""
        return (2.0 * self.value - 1.0) * self.of / (self.of + HALF) if self.of > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The team or agent with the most, its share, and the share it has of everything else."""

    who: str
    share: float
    usual: float
    of: float


@dataclass(frozen=True, slots=True)
class Change:
    """A change that fits the slice. `days`: onset less change; negative when it came after the onset."""

    change_id: str
    kind: str
    days: float
    what: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a failure. Whatever was not recorded stays empty and weighs nothing."""

    causes: Mapping[Nature, float] = field(default_factory=dict)  # customers above usual, by their cause's nature
    explained: Share = Share()  # decided cases that an explanation settled
    upheld: Share = Share()  # decided cases upheld, in part or wholly
    followed: Share = Share()  # cases answered by the procedure in force
    known: Share = Share()  # contacts whose team had signed the procedure's version
    spread: Spread | None = None
    supplier: Share | None = None  # contacts in which one supplier did the work; None where nobody records suppliers
    supplier_name: str | None = None
    changes: Sequence[Change] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """The nature named, the probability of each, and the terms that gave them."""

    nature: Nature
    natures: Mapping[str, float]
    terms: Sequence[NatureTerm]


def read(seen: Seen) -> Reading:
    """Add everything up."""
    found = [
        term
        for term in (
            _causes(seen),
            _share("explained", seen.explained, {Nature.EXPLANATION: 2.5}),
            _share("upheld", seen.upheld, UPHELD),
            _share("followed", seen.followed, FOLLOWED),
            _share("known", seen.known, KNOWN),
            _spread(seen.spread),
            _supplier(seen),
            *(_change(change) for change in _nearest(seen.changes)),
        )
        if term is not None
    ]
    return conclude(found)


def conclude(terms: Sequence[NatureTerm]) -> Reading:
    """From terms to probabilities: what anyone can do again with the numbers of a verdict event."""
    if not terms:
        return Reading(Nature.UNKNOWN, {}, ())
    scores = {
        nature: log(PRIOR[nature]) + sum(term.weights.get(nature.value, 0.0) for term in terms) for nature in NATURES
    }
    top = max(scores.values())
    total = sum(exp(score - top) for score in scores.values())
    chances = {nature: exp(scores[nature] - top) / total for nature in NATURES}
    leading = max(NATURES, key=lambda nature: chances[nature])
    shown = {
        nature.value: round(chance, 4)
        for nature, chance in sorted(chances.items(), key=lambda item: (-item[1], item[0].value))
    }
    return Reading(leading if chances[leading] >= NAMED else Nature.UNKNOWN, shown, tuple(terms))


UPHELD: Mapping[Nature, float] = {
    Nature.PROCEDURE: 0.3,
    Nature.HUMAN: 0.6,
    Nature.SUPPLIER: 0.6,
    Nature.SYSTEM: 0.6,
    Nature.PRODUCT: 0.6,
    Nature.NORM: -1.2,  # whoever is refused because the rules say so is "not upheld"
    Nature.EXPLANATION: -0.8,
}
FOLLOWED: Mapping[Nature, float] = {Nature.PROCEDURE: 1.2, Nature.NORM: 1.0, Nature.HUMAN: -1.5}
KNOWN: Mapping[Nature, float] = {Nature.PROCEDURE: 0.8, Nature.NORM: 0.8, Nature.HUMAN: -0.8}
"""A rule that was known and still failed is a bad rule; one that nobody knew was not applied by people (R24, G10)."""


def _term(
    evidence: str,
    value: float,
    of: float,
    weights: Mapping[Nature, float],
    detail: str | None = None,
    ref: str | None = None,
) -> NatureTerm | None:
    kept = {nature.value: round(weight, 4) for nature, weight in weights.items() if abs(weight) >= 0.00005}
    if not kept:
        return None
    return NatureTerm(evidence=evidence, value=round(value, 4), of=round(of, 4), weights=kept, detail=detail, ref=ref)


def _causes(seen: Seen) -> NatureTerm | None:
    told = _by_whom(
        {nature: count for nature, count in seen.causes.items() if count > 0 and nature is not Nature.UNKNOWN},
        seen.supplier,
    )
    total = sum(told.values())
    if total <= 0:
        return None
    weight, even = min(total, MOST_TOLD), 1.0 / len(NATURES)
    weights: dict[Nature, float] = {
        nature: weight
        * sum(count / total * log((RIGHT if other is nature else WRONG) / even) for other, count in told.items())
        for nature in NATURES
    }
    leading = max(sorted(told), key=lambda nature: told[nature])
    return _term("causes", told[leading] / total, total, weights, leading.value)


def _by_whom(told: dict[Nature, float], supplier: Share | None) -> dict[Nature, float]:
    """Slips of people and systems, as coded, are the supplier's in the share of contacts in which a supplier did the work (R32)."""
    share = supplier.value if supplier is not None and supplier.of > 0 else 0.0
    for nature in (Nature.HUMAN, Nature.SYSTEM):
        if share > 0 and nature in told:
            told[Nature.SUPPLIER] = told.get(Nature.SUPPLIER, 0.0) + share * told[nature]
            told[nature] *= 1.0 - share
    return {nature: count for nature, count in told.items() if count > 0}


def _share(evidence: str, share: Share, table: Mapping[Nature, float]) -> NatureTerm | None:
    lean = share.lean
    return _term(evidence, share.value, share.of, {nature: weight * lean for nature, weight in table.items()})


def _spread(spread: Spread | None) -> NatureTerm | None:
    """All alike speaks against a slip; one team or person far above their usual share speaks for one.

    The largest of several shares lies above its expectation by chance; two standard deviations are taken off.
    """
    if spread is None or spread.of < 5:
        return None
    noise = 2.0 * sqrt(max(spread.usual * (1.0 - spread.usual), 0.0) / spread.of)
    above = max(0.0, spread.share - spread.usual - noise) / max(1.0 - spread.usual, 1e-9)
    weight = (4.0 * above - 1.5) * spread.of / (spread.of + 8.0)
    others = -weight / 2.0
    weights = {
        Nature.HUMAN: weight,
        **dict.fromkeys((Nature.PROCEDURE, Nature.NORM, Nature.EXPLANATION, Nature.SYSTEM), others),
    }
    return _term("concentrated", spread.share, spread.of, weights, spread.who)


def _supplier(seen: Seen) -> NatureTerm | None:
    share = seen.supplier
    if share is None or share.of <= 0:
        return None
    weights = {Nature.SUPPLIER: 2.5 * share.lean, Nature.HUMAN: -0.5 * share.lean, Nature.SYSTEM: -0.5 * share.lean}
    return _term("supplier", share.value, share.of, weights, seen.supplier_name)


def _nearest(changes: Sequence[Change]) -> list[Change]:
    """Of each kind the one nearest to the onset."""
    best: dict[str, Change] = {}
    for change in changes:
        if change.kind not in KINDS or not -AFTER <= change.days <= BEFORE:
            continue
        held = best.get(change.kind)
        if held is None or (abs(change.days), change.change_id) < (abs(held.days), held.change_id):
            best[change.kind] = change
    return [best[kind] for kind in sorted(best)]


def _change(change: Change) -> NatureTerm | None:
    closeness = exp(-max(change.days, 0.0) / FADES)
    speaks = KINDS[change.kind]
    weights: dict[Nature, float] = {nature: (2.5 if nature is speaks else -0.3) * closeness for nature in NATURES}
    return _term("change", change.days, 1.0, weights, change.what or change.kind, change.change_id)
