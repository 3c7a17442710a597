"""The load and the witness of M5, in a process of its own.

    python -m bench.flow --port 8000 --key lz_… --url postgresql://… --rate 200 --seconds 60

Sends at fixed instants, whatever the answers do, and looks 40 times a second which of the contacts that are still awaited
stand in the indicators' live tables: as a contact that is counted, and as one whose coding is known there too, which has
been through intake, the log, classification and the log again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from functools import partial

import asyncpg
import uvloop

from bench.payload import Contacts

LOOK = 0.025
TABLES = {"visible": "indicators.interactions_{slot}", "coded": "indicators.codings_{slot}"}


class Wire(asyncio.Protocol):
    """Requests in flight on one connection, answered in order."""

    def __init__(self, answered: Callable[[bytes], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class does not derive from Transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            at = self._buffer.lower().find(b"content-length:", 0, end)
            length = int(self._buffer[at + 15 : self._buffer.find(b"\r", at)])
            if len(self._buffer) < end + 4 + length:
                return
            whole, self._buffer = self._buffer[: end + 4 + length], self._buffer[end + 4 + length :]
            self._answered(whole)


class Flow:
    """What was sent, and when it was seen where."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self.waiting: dict[str, dict[str, float]] = {name: {} for name in TABLES}
        self.delays: dict[str, list[tuple[float, float]]] = {name: [] for name in TABLES}  # when sent, how long
        self.lag: list[tuple[float, int]] = []  # contacts not yet coded, over time
        self.answers: list[float] = []
        self.refused = 0

    def answered(self, began: float, answer: bytes) -> None:
        if not answer.startswith(b"HTTP/1.1 202"):
            self.refused += 1
            return
        self.answers.append(time.perf_counter() - began)
        identity = json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0]["id"]
        for waiting in self.waiting.values():
            waiting[identity] = began


async def send(flow: Flow, given: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    head = (
        f"POST /intake/v1/interactions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {given.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    contacts = Contacts(given.run)
    pending: list[list[float]] = [[] for _ in range(32)]
    wires = []
    for number in range(32):

        def answered(whole: bytes, number: int = number) -> None:
            flow.answered(pending[number].pop(0), whole)

        _, wire = await loop.create_connection(partial(Wire, answered), "127.0.0.1", given.port)
        wires.append(wire)
    began, number = time.perf_counter(), 0
    while number < given.rate * given.seconds:
        due = began + number / given.rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        body, place = contacts.body(), number % len(wires)
        wire = wires[place]
        assert wire.transport is not None
        # From when it was due: a sender that fell behind must not hide what others wait.
        pending[place].append(due)
        wire.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        number += 1
    end = time.perf_counter() + 30
    while any(pending) and time.perf_counter() < end:  # noqa: ASYNC110 - a look now and then is all it takes
        await asyncio.sleep(0.05)


async def watch(flow: Flow, given: argparse.Namespace, done: asyncio.Event) -> None:
    connection = await asyncpg.connect(given.url)
    slot = await connection.fetchval("SELECT slot FROM indicators.projections WHERE state = 'live'")
    began, end = time.perf_counter(), float("inf")
    while True:
        looked = time.perf_counter()
        for name, table in TABLES.items():
            waiting = flow.waiting[name]
            if not waiting:
                continue
            query = f"SELECT interaction_id FROM {table.format(slot=slot)} WHERE interaction_id = ANY($1::text[])"
            found = await connection.fetch(query, list(waiting))
            now = time.perf_counter()
            for row in found:
                sent = waiting.pop(row[0], None)
                if sent is not None:
                    flow.delays[name].append((sent - began, now - sent))
        flow.lag.append((looked - began, len(flow.waiting["coded"])))
        if done.is_set():
            end = min(end, looked + 60)
            if looked > end or not any(flow.waiting.values()):
                break
        await asyncio.sleep(max(0.0, LOOK - (time.perf_counter() - looked)))
    await connection.close()


def share(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] * 1000


async def main(given: argparse.Namespace) -> dict[str, object]:
    flow, done = Flow(), asyncio.Event()
    watching = asyncio.create_task(watch(flow, given, done))
    await send(flow, given)
    done.set()
    await watching
    # The first seconds warm caches and connections up; the promise is about a service that runs.
    warm = given.warm
    result: dict[str, object] = {
        "refused": flow.refused,
        "unanswered": int(given.rate * given.seconds) - len(flow.answers) - flow.refused,
        "answer_p50": share(flow.answers, 50),
        "answer_p99": share(flow.answers, 99),
        "lost": {name: len(waiting) for name, waiting in flow.waiting.items()},
        "seen": {name: len(found) for name, found in flow.delays.items()},
    }
    for name, found in flow.delays.items():
        delays = [delay for at, delay in found if at >= warm]
        result[f"{name}_p50"], result[f"{name}_p99"] = share(delays, 50), share(delays, 99)
    third = (given.seconds - warm) / 3
    early = [count for at, count in flow.lag if warm <= at < warm + third]
    late = [count for at, count in flow.lag if given.seconds - third <= at < given.seconds]
    result["lag_early"], result["lag_late"] = sorted(early)[len(early) // 2], sorted(late)[len(late) // 2]
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--run", default="flow")
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=5)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(main(parser.parse_args()))))
