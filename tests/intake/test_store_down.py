"""Our fault is 503 with Retry-After, and nothing is half-written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.service.testing import Running
from tests.intake.test_api_hostile import stored
from tests.intake.test_api_interactions import published

Make = Callable[..., dict[str, Any]]


@contextmanager
def full_disk(engine: AsyncEngine) -> Iterator[None]:
    """No more pages for this database than it has: SQLite answers SQLITE_FULL, as on a disk without space."""

    def limit(connection: Any, *_: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_count")
        pages = cursor.fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count={pages}")
        cursor.close()

    def lift(connection: Any, *_: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count=1073741823")
        cursor.close()

    event.listen(engine.sync_engine, "checkout", limit)
    try:
        yield
    finally:
        event.remove(engine.sync_engine, "checkout", limit)
        event.listen(engine.sync_engine, "checkout", lift)


async def outbox(intake: Running) -> int:
    store = intake.services["intake"].runtime.store
    async with store.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(store.tables.outbox))).scalar_one()


async def test_a_full_disk_is_503_and_nothing_is_half_written(intake: Running, element: Make) -> None:
    big = [element(str(n), text="x" * 20_000, customer={"id": str(n)}, case_ref=f"C-{n}") for n in range(40)]
    await intake.settle()
    with full_disk(intake.environment.engine("intake")):
        answer = await intake.client.post("/intake/v1/interactions", json=big)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
    assert await stored(intake) == 0
    assert await outbox(intake) == 0
    again = await intake.client.post("/intake/v1/interactions", json=big)
    assert (again.status_code, again.json()["accepted"]) == (202, 40)
    assert len(await published(intake)) == 40


async def test_a_full_vault_is_503_as_well(intake: Running, element: Make) -> None:
    people = [element(str(n), customer={"id": f"new-{n}", "email": f"{n}@x.co"}) for n in range(300)]
    with full_disk(intake.environment.vault.engine):
        answer = await intake.client.post("/intake/v1/interactions", json=people)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert await stored(intake) == 0
    again = await intake.client.post("/intake/v1/interactions", json=people)
    assert again.json()["accepted"] == 300


async def test_requests_that_share_a_commit_all_learn_that_it_failed(intake: Running, element: Make) -> None:
    await intake.client.post("/intake/v1/interactions", json=element("0"))
    with full_disk(intake.environment.engine("intake")):
        answers = await asyncio.gather(
            *(
                intake.client.post("/intake/v1/interactions", json=element(str(n), text="x" * 90_000))
                for n in range(1, 21)
            )
        )
    failed = [answer for answer in answers if answer.status_code == 503]
    assert failed
    kept = [answer.json()["results"][0]["id"] for answer in answers if answer.status_code == 202]
    assert await stored(intake) == 1 + len(kept)
    for result in kept:
        assert (await intake.client.get(f"/intake/v1/interactions/{result}")).status_code == 200
