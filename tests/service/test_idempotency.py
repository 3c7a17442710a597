"""`Idempotency-Key`: sent again, carried out once; the answer is kept in the transaction of the effect (G7)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from tests.conftest import Engines
from tests.service.toy.app import build

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
async def toy(engines: Engines) -> AsyncIterator[Running]:
    async with running(build, clock=SimulatedClock(NOW), engines=engines) as found:
        yield found


async def _events(toy: Running) -> int:
    store = toy.services["toy"].runtime.store
    async with store.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(store.tables.events))).scalar_one())


async def test_a_request_under_one_key_takes_effect_once(toy: Running) -> None:
    """G7. Sent again, at once and later; with another body; by somebody else; too late."""
    headers = {"Idempotency-Key": '"4f1c-1"'}
    first = await toy.client.post("/toy/v1/things", json={"name": "one"}, headers=headers)
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    again = await toy.client.post("/toy/v1/things", json={"name": "one"}, headers={"Idempotency-Key": "4f1c-1"})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert await _events(toy) == 1

    other = await toy.client.post("/toy/v1/things", json={"name": "two"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency-mismatch"
    assert await _events(toy) == 1

    somebody = await toy.key_for("intake:write")
    theirs = await toy.client.post("/toy/v1/things", json={"name": "theirs"}, headers=headers | somebody)
    assert theirs.status_code == 201
    assert await _events(toy) == 2

    clock = toy.environment.clock
    assert isinstance(clock, SimulatedClock)
    clock.advance(timedelta(hours=169))
    # The key is forgotten; that `one` is there already is now the store's to say.
    late = await toy.client.post("/toy/v1/things", json={"name": "three"}, headers={"Idempotency-Key": "4f1c-2"})
    assert late.status_code == 201
    store = toy.services["toy"].runtime.store
    async with store.reading() as connection:
        kept = (await connection.execute(select(store.tables.idempotency.c.key))).scalars().all()
    assert set(kept) <= {"4f1c-1", "4f1c-2"}


async def test_twins_sent_at_once_take_effect_once(toy: Running) -> None:
    """G7. One is carried out; the others are told that it is running, or given its answer."""
    answers = await asyncio.gather(
        *(
            toy.client.post("/toy/v1/things", json={"name": "twin"}, headers={"Idempotency-Key": "twins"})
            for _ in range(8)
        )
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert [answer.status_code for answer in answers if "idempotency-replayed" not in answer.headers].count(201) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["code"] == "still-running"
            assert answer.headers["retry-after"] == "1"
    assert await _events(toy) == 1


async def test_an_effect_that_fails_keeps_no_answer(toy: Running) -> None:
    headers = {"Idempotency-Key": "k"}
    failed = await toy.client.post("/toy/v1/things", json={"name": "refused"}, headers=headers)
    assert failed.status_code == 409
    assert failed.json()["code"] == "conflict"
    assert await _events(toy) == 0
    fine = await toy.client.post("/toy/v1/things", json={"name": "two"}, headers=headers)
    assert fine.status_code == 201
    assert await _events(toy) == 1


async def test_a_kept_answer_is_sealed(toy: Running) -> None:
    await toy.client.post("/toy/v1/things", json={"name": "sealed"}, headers={"Idempotency-Key": "s"})
    store = toy.services["toy"].runtime.store
    async with store.reading() as connection:
        row = (await connection.execute(select(store.tables.idempotency))).one()
    assert b"test admin" not in bytes(row.body)


@pytest.mark.parametrize("key", ["", " ", '""', "a b", "ñ", "x" * 256])
async def test_a_key_that_is_none_is_refused(key: str) -> None:
    async with running(build) as toy:
        headers = [(b"Idempotency-Key", key.encode())]
        answer = await toy.client.post("/toy/v1/things", json={"name": "x"}, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "/headers/idempotency-key"
