"""The load: raw HTTP/1.1 over kept connections in a process of its own, so that what is measured is the server.

    python -m bench.client --port 8000 --path /x --key lz_… --connections 64 --seconds 5 [--lines 500] [--rate 200]

Prints one JSON object: requests, seconds, items, p50, p99, worst (milliseconds), refused. About 20 µs of its own per request.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from typing import cast

import uvloop

from bench.payload import Contacts


class Tally:
    """Times of requests, once measuring has begun."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.refused: dict[str, int] = {}
        self.measuring = False


class Connection(asyncio.Protocol):
    """One kept connection; a request is sent when the answer before it is whole."""

    def __init__(self, head: bytes, contacts: Contacts, lines: int, tally: Tally) -> None:
        self._head, self._contacts, self._lines, self._tally = head, contacts, lines, tally
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent = 0.0
        self.stopping = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not derive from it
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        body = self._contacts.body() if self._lines == 1 else self._contacts.lines(self._lines)
        self._sent = time.perf_counter()
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def data_received(self, data: bytes) -> None:
        self._buffer = data if not self._buffer else self._buffer + data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, end)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r", at)])
        if len(self._buffer) < end + 4 + length:
            return
        if self._tally.measuring:
            if self._buffer.startswith(b"HTTP/1.1 202"):
                self._tally.times.append(time.perf_counter() - self._sent)
            else:
                shown = (self._buffer[9:12] + b" " + self._buffer[end + 4 : end + 300]).decode("utf-8", "replace")
                self._tally.refused[shown] = self._tally.refused.get(shown, 0) + 1
        self._buffer = b""
        if self.stopping:
            assert self._transport is not None
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopping:
            self._tally.refused[f"hung up: {exc!r}"] = self._tally.refused.get(f"hung up: {exc!r}", 0) + 1
        if not self.done.done():
            self.done.set_result(None)


async def load(given: argparse.Namespace) -> dict[str, object]:
    """Drive the server; what was measured."""
    kind = "application/json" if given.lines == 1 else "application/x-ndjson"
    head = (
        f"POST {given.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {given.key}\r\n"
        f"Content-Type: {kind}\r\nAccept: */*\r\nUser-Agent: bench\r\nContent-Length: "
    ).encode()
    loop = asyncio.get_running_loop()
    tally = Tally()
    contacts = Contacts(given.run, known=given.known, new=given.new)
    opened: list[Connection] = []
    for _ in range(given.connections):
        _, protocol = await loop.create_connection(
            lambda: Connection(head, contacts, given.lines, tally), "127.0.0.1", given.port
        )
        opened.append(protocol)
    await asyncio.sleep(given.warm)
    gc.collect()
    gc.freeze()
    tally.measuring, began = True, time.perf_counter()
    await asyncio.sleep(given.seconds)
    tally.measuring, seconds = False, time.perf_counter() - began
    for connection in opened:
        connection.stopping = True
    await asyncio.wait([connection.done for connection in opened], timeout=30)
    times = sorted(tally.times)
    if not times:
        return {"requests": 0, "refused": tally.refused}
    return {
        "requests": len(times),
        "seconds": seconds,
        "rate": len(times) / seconds,
        "items": len(times) * given.lines / seconds,
        "p50": times[len(times) // 2] * 1000,
        "p99": times[min(len(times) * 99 // 100, len(times) - 1)] * 1000,
        "worst": times[-1] * 1000,
        "refused": tally.refused,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/intake/v1/interactions")
    parser.add_argument("--key", default="none")
    parser.add_argument("--run", required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--warm", type=float, default=1.0)
    parser.add_argument("--lines", type=int, default=1)
    parser.add_argument("--known", type=int, default=5_000)
    parser.add_argument("--new", type=int, default=10)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(load(given))))


if __name__ == "__main__":
    main()
