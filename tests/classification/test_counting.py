"""The monitor's sums, whatever is coded, coded again or taken out, are those of a fold."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from services.classification import counting, tables
from services.classification.counting import Counted, count, fold

START = date(2026, 3, 2)


def contact(random: np.random.Generator, number: int, revision: int) -> Counted:
    """Few people, who come back within days and within months; every attribute may be another each time it is coded."""
    day = START + timedelta(days=int(random.integers(0, 60)))
    return Counted(
        f"i{number}",
        revision,
        bool(random.random() < 0.9),
        f"m{random.integers(3)}",
        f"t{random.integers(2)}",
        f"l{random.integers(2)}",
        f"c{number % 7}",
        day,
        datetime.combine(day, time(12), UTC),
        f"cause{random.integers(2)}",
        [None, "s1"][random.integers(2)],
        f"p{random.integers(2)}",
        f"team{random.integers(2)}",
    )


async def test_sums_of_contacts_coded_again_in_any_order_are_those_of_a_fold_and_so_is_what_each_batch_adds() -> None:
    random = np.random.default_rng(8)
    engine = create_async_engine("sqlite+aiosqlite://")
    held: dict[str, Counted] = {}
    sums: dict[counting.SliceDay, tuple[int, int]] = {}
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all, tables=[tables.contacts, tables.days])
        for _ in range(60):
            batch = []
            for number in random.integers(0, 40, size=12):
                name = f"i{number}"
                fresh = contact(random, int(number), int(random.integers(1, 9)))
                kept = held.get(name)
                if kept is not None and random.random() < 0.5:  # most that are coded again stay where they were
                    fresh = replace(kept, revision=kept.revision + int(random.integers(-1, 2)))
                batch.append(fresh)
                if kept is None or kept.revision < fresh.revision:
                    held[name] = fresh
            for place, (first, every) in (await count(connection, batch)).items():
                there = sums.get(place, (0, 0))
                sums[place] = (there[0] + first, there[1] + every)
            rows = (await connection.execute(select(tables.days))).all()
            found = {(row.series, row.motive, row.place, row.day): (row.fresh, row.contacts) for row in rows}
            expected = fold(held.values())
            assert {place: values for place, values in found.items() if values != (0, 0)} == expected
            assert {place: values for place, values in sums.items() if values != (0, 0)} == expected
    await engine.dispose()


async def test_who_is_coded_again_and_stays_where_they_were_has_nobody_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Coding 100,000 again read every contact of each customer for it, though nine in ten stayed where they were."""
    random = np.random.default_rng(9)
    engine = create_async_engine("sqlite+aiosqlite://")
    first = [contact(random, number, 1) for number in range(50)]
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all, tables=[tables.contacts, tables.days])
        await count(connection, first)
        asked: list[int] = []
        held = counting._held

        async def watched(connection, column, values):  # type: ignore[no-untyped-def]  # as the original
            asked.append(len(list(values)))
            return await held(connection, column, values)

        monkeypatch.setattr(counting, "_held", watched)
        assert await count(connection, [replace(one, revision=2) for one in first]) == {}
        assert asked == [50, 0]
        kept = (await connection.execute(select(tables.contacts.c.revision))).scalars().all()
        assert set(kept) == {2}
    await engine.dispose()
