"""Sixty kills on each pair of engines, in real processes, while somebody writes: nothing lost, nothing doubled (G7).

The seed is printed and may be given: LAZO_FAULT_SEED=4711 make faults ARGS="-k kafka". LAZO_FAULT_KILLS sets how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from libs.events.log_kafka import KafkaLog
from libs.events.log_sqlite import SqliteLog
from tests.engines.kafka import KafkaServer
from tests.engines.postgres import PostgresServer, create_database
from tests.faults.oracle import Witness, check
from tests.faults.site import Process, Site
from tests.faults.writer import SOURCE, History, Writer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("LAZO_FAULT_KILLS", "60"))
SEED = int(os.environ.get("LAZO_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)

Fault = tuple[float, Callable[[], None]]  # how often, relative to the others, and what


async def _under_fire(site: Site, faults: list[Fault], kills: int, seed: int) -> History:
    """Write while `kills` faults happen, then go on without faults until everything is told.

    Two of three faults wait until the site works again, however long a start takes on this machine: where it is always
    killed on its way up, nothing is written that could be lost."""
    draw = random.Random(seed)
    writer = Writer(site, seed)
    writing = asyncio.create_task(writer.run())
    try:
        for _ in range(kills):
            if draw.random() < 2 / 3:
                await _written_again(writer)
            await asyncio.sleep(draw.uniform(0.1, 1.5))
            if writing.done():
                writing.result()  # raises what ended it
            fault = draw.choices([what for _, what in faults], [weight for weight, _ in faults])[0]
            await asyncio.to_thread(fault)
        await asyncio.to_thread(_revive, site)
        writer.stopping.set()
        async with asyncio.timeout(90):
            await writing
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    return writer.history


async def _written_again(writer: Writer) -> None:
    """Until something more is answered; not for ever, for the broker or a zombie may be what keeps it from working."""
    before = len(writer.history.told)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while len(writer.history.told) == before:  # noqa: ASYNC110 - the writer is one of the tools here, not a product
                await asyncio.sleep(0.05)


def _revive(site: Site) -> None:
    for process in site.processes:
        process.send(signal.SIGCONT)
        if not process.running():
            process.start()
    site.ready(90)


def _killer(process: Process) -> Callable[[], None]:
    def kill() -> None:
        process.kill()
        process.start()

    return kill


def _prepare(site: Site) -> None:
    site.start()
    site.ready()
    with httpx.Client(headers=site.headers(), timeout=30) as client:
        source = {"id": SOURCE, "name": "fault run", "form": "interactions"}
        assert client.post(site.url("/intake/v1/sources"), json=source).status_code == 201
        rulebook = (Path(__file__).resolve().parents[2] / "deploy/rulebooks/operator.yaml").read_bytes()
        path = site.url("/classification/v1/rulebook/publish")
        answer = client.post(path, content=rulebook, headers={"Content-Type": "application/yaml"})
        assert answer.status_code < 300, answer.text


def _judged(site: Site, history: History) -> None:
    """I6 by the services' own numbers against the writer's: the count in an indicator is what was accepted."""
    site.settled(60)  # I13's minute
    cases = sum(1 for external in history.told if history.kinds[external] in {"complaint", "claim", "request"})
    with httpx.Client(headers=site.headers(), timeout=30) as client:
        answer = client.get(site.url("/indicators/v1/indicators/1"), params={"granularity": "month"})
        assert answer.status_code == 200, answer.text
        counted = sum(point["numerator"] for point in answer.json()["points"])
        assert counted == cases, f"I6: the indicator says {counted} cases, {cases} were accepted"
        for name in site.of:
            parked = client.get(site.url(f"/{name}/v1/status")).json()["parked"]
            assert parked == 0, f"I9: {parked} events are parked in {name}, none was poisoned"


def test_kills_of_everything_in_one_process_on_sqlite_lose_and_double_nothing(tmp_path: Path) -> None:
    """G7, I1-I7, I9, I13 on the embedded engines: SIGKILL at any moment, also during the start."""
    site = Site(tmp_path, {"LAZO_CLASSIFICATION_ENCODER": "false"}, embedded=True)
    try:
        _prepare(site)
        began = time.monotonic()
        history = asyncio.run(_under_fire(site, [(1.0, _killer(site.processes[0]))], KILLS, SEED))
        _judged(site, history)
        assert site.processes[0].stop() == 0, site.processes[0].tail()
        assert "todo se sostiene" in site.command("verify", "--data", str(tmp_path / "data"))

        async def witness() -> Witness:
            log = SqliteLog(tmp_path / "data" / "log.db")
            await log.start()
            try:
                return await Witness.of(log)
            finally:
                await log.stop()

        print(f"seed {SEED}: {check(history, asyncio.run(witness()))} in {time.monotonic() - began:.0f} s")
        assert len(history.told) > KILLS, "the writer hardly wrote: this run shows nothing"
    finally:
        site.close()


def test_kills_of_services_broker_and_database_lose_and_double_nothing(
    tmp_path: Path, own_kafka: KafkaServer, own_postgres: PostgresServer
) -> None:
    """G7, I1-I7, I9, I13 on Kafka and PostgreSQL: services killed and frozen (zombies), broker and database killed."""
    database = create_database(own_postgres)
    # A start loads the encoder, a second each, and nobody corrects anything here.
    environment = {"LAZO_KAFKA": own_kafka.bootstrap, "LAZO_DATABASE": database, "LAZO_CLASSIFICATION_ENCODER": "false"}
    site = Site(tmp_path, environment, embedded=False)
    frozen: list[tuple[float, Process]] = []

    def thaw() -> None:
        for item in [item for item in frozen if item[0] < time.monotonic()]:
            item[1].send(signal.SIGCONT)
            frozen.remove(item)

    def freeze() -> None:
        """Longer than a session on the broker: when it wakes, it is a zombie."""
        process = random.Random(len(frozen) + SEED).choice(site.processes[1:])
        process.send(signal.SIGSTOP)
        frozen.append((time.monotonic() + 17, process))

    def broker() -> None:
        own_kafka.kill()
        time.sleep(0.5)
        own_kafka.start()

    def store() -> None:
        own_postgres.kill()
        time.sleep(0.3)
        own_postgres.start()

    def thawing(what: Callable[[], None]) -> Callable[[], None]:
        def both() -> None:
            thaw()
            what()

        return both

    try:
        _prepare(site)
        began = time.monotonic()
        faults = [(1.0, thawing(_killer(process))) for process in site.processes]
        faults += [(0.25, thawing(freeze)), (0.25, thawing(broker)), (0.3, thawing(store))]
        history = asyncio.run(_under_fire(site, faults, KILLS, SEED))
        _judged(site, history)
        assert "todo se sostiene" in site.command("verify")
        for process in site.processes:
            assert process.stop() == 0, process.tail()

        async def witness() -> Witness:
            log = KafkaLog(own_kafka.bootstrap)
            await log.start()
            try:
                return await Witness.of(log)
            finally:
                await log.stop()

        print(f"seed {SEED}: {check(history, asyncio.run(witness()))} in {time.monotonic() - began:.0f} s")
        assert len(history.told) > KILLS, "the writer hardly wrote: this run shows nothing"
    finally:
        site.close()
