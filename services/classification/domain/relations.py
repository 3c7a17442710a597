"""Relations at risk: customers who show that they may leave, by what was measured of them and nothing else (R76).

Three signals, each with its evidence; there is no score, for no public data say how much each of them is worth.

* `returning`: a chain (R91) of at least so many contacts over one motive that has not ended: the last lies within the chain's gap.
* `sooner`: such a chain whose pauses have halved: the mean of its later pauses is at most half of the mean of its earlier ones.
* `harmed`: the customer's newest answer says that what was done made it worse (R51).

Whoever has answered since the last contact that it got better is not at risk by a chain.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.classification.domain.chains import Chain

RETURNING, SOONER, HARMED = "returning", "sooner", "harmed"
SIGNALS = (HARMED, SOONER, RETURNING)
LEAST_PAUSES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a customer said about one case: `better`, `same` or `worse`."""

    customer_id: str
    case_id: str
    at: datetime
    helped: str
    interaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """`contacts`: of the chain. `days`: from its first contact to its last. `before`, `now`: mean days of its earlier and later
    pauses. `at`: of the newest contact or answer."""

    name: str
    at: datetime
    motive: str | None = None
    contacts: int | None = None
    days: float | None = None
    before: float | None = None
    now: float | None = None
    interaction_ids: tuple[str, ...] = ()
    case_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    customer_id: str
    signals: tuple[Signal, ...]

    @property
    def last_at(self) -> datetime:
        return max(signal.at for signal in self.signals)

    @property
    def contacts(self) -> int:
        """Of the longest chain."""
        return max((signal.contacts or 0 for signal in self.signals), default=0)


def pauses(chain: Chain) -> tuple[float, float] | None:
    """Mean days of the earlier and of the later half of a chain's pauses, the middle one in neither; None for too few."""
    days = [
        (after.at - before.at).total_seconds() / 86_400
        for before, after in zip(chain.links, chain.links[1:], strict=False)
    ]
    half = len(days) // 2
    if len(days) < LEAST_PAUSES:
        return None
    return sum(days[:half]) / half, sum(days[-half:]) / half


def at_risk(chains: Iterable[Chain], answers: Iterable[Answer], until: datetime, gap: timedelta) -> list[Relation]:
    """Customers with a signal; most signals first, then the longest chain, then the newest. `until`: the moment looked from."""
    newest: dict[str, Answer] = {}
    worse: dict[str, list[Answer]] = defaultdict(list)
    for answer in sorted(answers, key=lambda one: (one.at, one.case_id)):
        newest[answer.customer_id] = answer
        if answer.helped == "worse":
            worse[answer.customer_id].append(answer)
    found: dict[str, list[Signal]] = defaultdict(list)
    for customer, answer in newest.items():
        if answer.helped == "worse":
            said = worse[customer]
            contacts = tuple(one.interaction_id for one in said if one.interaction_id is not None)
            cases = tuple(one.case_id for one in said)
            found[customer].append(Signal(HARMED, answer.at, interaction_ids=contacts, case_ids=cases))
    for chain in chains:
        last = chain.links[-1].at
        told = newest.get(chain.customer_id)
        mended = told is not None and told.helped == "better" and told.at >= last
        if until - last <= gap and not mended:
            found[chain.customer_id] += _of_chain(chain, last)
    relations = [
        Relation(customer, tuple(sorted(signals, key=lambda one: (SIGNALS.index(one.name), one.motive or ""))))
        for customer, signals in found.items()
    ]
    return sorted(
        relations,
        key=lambda one: (-len({s.name for s in one.signals}), -one.contacts, -one.last_at.timestamp(), one.customer_id),
    )


def _of_chain(chain: Chain, last: datetime) -> Iterable[Signal]:
    identities = tuple(link.interaction_id for link in chain.links)
    days = round(chain.days, 2)
    yield Signal(RETURNING, last, chain.motive, chain.length, days, interaction_ids=identities)
    means = pauses(chain)
    if means is not None and means[1] <= means[0] / 2:
        before, now = (round(mean, 2) for mean in means)
        yield Signal(SOONER, last, chain.motive, chain.length, days, before, now, identities)


def measured(found: Sequence[Relation]) -> dict[str, int]:
    """How many customers show each signal."""
    return {name: sum(any(one.name == name for one in each.signals) for each in found) for name in SIGNALS}
