"""Synthetic streams of coded contacts with planted failures, for tests. Everything from seeds."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import Channel, Effects, Kind
from libs.events.ids import natural_id
from libs.events.store import Draft
from libs.service.testing import Running

WEEK = np.array([1.28, 1.16, 1.08, 1.02, 0.98, 0.86, 0.62])
ORIGIN = date(2025, 1, 6)  # a Monday


def means(level: float, days: int) -> np.ndarray:
    return level * WEEK[np.arange(days) % 7]


def quiet(rng: np.random.Generator, levels: np.ndarray, days: int, dispersion: np.ndarray) -> np.ndarray:
    """Negative binomial counts with a weekday pattern and a yearly wave that all slices share."""
    season = 1 + 0.18 * np.cos(2 * np.pi * np.arange(days) / 365)
    mu = levels[:, None] * WEEK[np.arange(days) % 7] * season
    excess = np.maximum(dispersion[:, None] - 1, 1e-6)
    counts: np.ndarray = rng.poisson(rng.gamma(mu / excess, excess))
    return counts


def contact(
    number: int,
    day: date,
    *,
    motive: str = "billing.refund",
    touchpoint: str | None = "store",
    customer: str | None = None,
    cause: str = "unknown",
    effects: Effects = Effects.LIVE,
    location: str | None = None,
    kind: Kind = Kind.COMPLAINT,
    hour: int = 10,
    revision: int = 1,
    origin: str = "crm",
    **more: Any,
) -> InteractionClassified:
    return InteractionClassified(
        interaction_id=f"i-{number}",
        customer_id=customer or f"cus_{number}",
        occurred_at=datetime.combine(day, time(hour), UTC),
        kind=kind,
        channel=Channel.PHONE,
        motive=motive,
        cause=cause,
        confidence=0.9,
        rulebook_version=1,
        model_version="words-1@1",
        touchpoint=touchpoint,
        location=location,
        effects=effects,
        **more,
        revision=revision,
        origin=origin,
    )


async def emit(run: Running, contacts: Iterable[InteractionClassified]) -> None:
    """Append coded contacts as classification itself would, in transactions of 500."""
    store = run.services["classification"].runtime.store
    everything: Sequence[InteractionClassified] = list(contacts)
    for start in range(0, len(everything), 500):
        async with store.unit() as unit:
            for data in everything[start : start + 500]:
                unit.emit(
                    Draft(
                        stream=f"classification/{data.interaction_id}",
                        data=data,
                        key=data.customer_id,
                        time=unit.now,
                        id=natural_id("test", data.interaction_id, str(data.revision)),
                    )
                )


def days(count: int, start: date = ORIGIN) -> list[date]:
    return [start + timedelta(days=index) for index in range(count)]


def said(verdicts: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What verdict events say, without when they were recorded."""
    return sorted(
        (
            tuple(sorted(item["slice"].items())),
            item["revision"],
            item["verdict"],
            item["evaluation"]["window_end"],
            item["evaluation"]["observed"],
            item["evaluation"]["customers"],
            round(item["evaluation"]["expected"], 4),
            item["nature"],
            tuple(item["interaction_ids"]),
        )
        for item in verdicts
    )
