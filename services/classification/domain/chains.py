"""Chains: one customer coming back over one problem (R91). A chain is a run of contacts with one motive, each within `gap` of the last."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Link:
    customer_id: str
    motive: str
    interaction_id: str
    at: datetime
    touchpoint: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Contacts oldest first."""

    customer_id: str
    motive: str
    links: tuple[Link, ...]

    @property
    def length(self) -> int:
        return len(self.links)

    @property
    def days(self) -> float:
        """From the first contact to the last."""
        return (self.links[-1].at - self.links[0].at).total_seconds() / 86_400

    @property
    def touchpoints(self) -> list[str]:
        """Where the customer turned to, in order, each change once."""
        found: list[str] = []
        for link in self.links:
            place = link.touchpoint or link.channel or ""
            if place and (not found or found[-1] != place):
                found.append(place)
        return found


def chains(links: Iterable[Link], gap: timedelta, least: int = 2) -> list[Chain]:
    """Every chain of at least `least` contacts, longest first; whatever order the contacts come in."""
    groups: dict[tuple[str, str], list[Link]] = defaultdict(list)
    for link in links:
        groups[link.customer_id, link.motive].append(link)
    found: list[Chain] = []
    for (customer, motive), own in groups.items():
        own.sort(key=lambda link: (link.at, link.interaction_id))
        run: list[Link] = []
        for link in own:
            if run and link.at - run[-1].at > gap:
                found.append(Chain(customer, motive, tuple(run)))
                run = []
            run.append(link)
        found.append(Chain(customer, motive, tuple(run)))
    return sorted(
        (chain for chain in found if chain.length >= least),
        key=lambda chain: (-chain.length, chain.links[0].at, chain.customer_id, chain.motive),
    )


def measured(found: Sequence[Chain], contacts: int) -> dict[str, Any]:
    """How many there are, how long, and how much of all contacts they make up. `contacts`: all in the period."""
    inside = sum(chain.length for chain in found)
    lengths, days = [chain.length for chain in found], [chain.days for chain in found]
    by_motive: dict[str, int] = defaultdict(int)
    for chain in found:
        by_motive[chain.motive] += 1
    return {
        "chains": len(found),
        "customers": len({chain.customer_id for chain in found}),
        "contacts_in_chains": inside,
        "contacts": contacts,
        "share": round(inside / contacts, 6) if contacts else None,
        "longest": max(lengths, default=0),
        "median_length": median(lengths) if lengths else None,
        "median_days": round(median(days), 2) if days else None,
        "by_motive": dict(sorted(by_motive.items(), key=lambda item: (-item[1], item[0]))),
    }
