"""Hypothesis chooses the world, the order and the batches; the read model must say what a plain fold says."""

import random
from collections.abc import Awaitable, Callable
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.indicators.domain.periods import instant
from services.indicators.domain.registry import INDICATORS
from tests.indicators.conftest import Desk
from tests.indicators.test_measures import answered, asked, expected, question
from tests.indicators.world import interleaved, make

_numbers = count()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    order=st.randoms(use_true_random=False),
    by=st.sampled_from([(), ("motive",), ("verdict",), ("touchpoint", "kind")]),
    as_of=st.sampled_from([None, 10, 30]),
)
async def test_any_interleaving_of_any_world_equals_its_fold_G8(
    desks: Callable[[str], Awaitable[Desk]], seed: int, order: random.Random, by: tuple[str, ...], as_of: int | None
) -> None:
    from datetime import timedelta

    from services.indicators.domain.periods import micros
    from tests.indicators.world import START

    world = make(seed, contacts=25)
    desk = await desks(f"any-{next(_numbers)}")
    await desk.project(interleaved(world.events, order), batches=order)
    known = None if as_of is None else micros(START + timedelta(days=as_of))
    for code in ("complaints_received", "motive_share", "backlog", "systemic_share", "acknowledgement_time", "csat"):
        split = INDICATORS[code].by
        group_by = by if split is None or split in by else (*by, split)
        query = question(granularity="month", group_by=group_by, as_of=known)
        wanted = {
            place: value
            for place, value in expected(asked(world, query), code, instant(query.known)).items()
            if value[1] or value[2]
        }
        found = {
            place: value for place, value in (await answered(desk, code, query)).items() if place in wanted or value[1]
        }
        assert found == wanted, code
