"""M2: NDJSON bodies of 500 interactions.

Limit: the same sealed bytes inserted by asyncpg's `unnest` under the same unique key in batches of 500, nothing else, one
after another; beside it the same in SQLite. Peer: the eventsourcing library saving 500 at a time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import Any

import asyncpg

from bench.lab import Lab, Served, note
from bench.m1 import drive, intake
from bench.report import Bar, at_least, middle, than_peers, told

BATCH = 500
CONNECTIONS = 4  # enough that one body is read while another is committed

TABLE = "CREATE TABLE bare (stream {text} NOT NULL, version integer NOT NULL, data {bytes} NOT NULL, UNIQUE (stream, version))"
INSERT = "INSERT INTO bare SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[]) ON CONFLICT DO NOTHING"


async def stored(url: str) -> list[bytes]:
    """What intake stored: the bytes that the limit inserts again."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT data FROM intake.events WHERE stream LIKE 'interaction/%' LIMIT 5000")
        return [bytes(row[0]) for row in rows]
    finally:
        await connection.close()


async def bare_insert(url: str, bodies: list[bytes], seconds: float, first: int) -> tuple[float, int]:
    """Rows a second, and the number of the next stream."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            TABLE.format(text='text COLLATE "C"', bytes="bytea").replace("TABLE", "TABLE IF NOT EXISTS")
        )
        number = first
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            streams = [f"interaction/{number + index:036d}" for index in range(BATCH)]
            data = [bodies[(number + index) % len(bodies)] for index in range(BATCH)]
            await connection.execute(INSERT, streams, [1] * BATCH, data)
            number += BATCH
        return (number - first) / (now - began), number
    finally:
        await connection.close()


def bare_sqlite(lab: Lab, bodies: list[bytes], seconds: float, first: int) -> tuple[float, int]:
    """The same in SQLite under the store's rules: WAL, a sync at every commit."""
    connection = sqlite3.connect(lab.directory / "bare.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(TABLE.format(text="TEXT", bytes="BLOB").replace("TABLE", "TABLE IF NOT EXISTS"))
        number = first
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            rows = [
                (f"interaction/{number + index:036d}", 1, bodies[(number + index) % len(bodies)])
                for index in range(BATCH)
            ]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO bare VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)
            connection.execute("COMMIT")
            number += BATCH
        return (number - first) / (now - began), number
    finally:
        connection.close()


def run(lab: Lab) -> list[Bar]:
    rounds, seconds = (1, 2.0) if lab.quick else (5, 4.0)
    postgres, sqlite = intake(lab, embedded=False), intake(lab, embedded=True)
    bodies = asyncio.run(stored(plain(postgres.environment["LAZO_DATABASE"])))
    bare_url, peer_url = plain(lab.database()), plain(lab.database())
    seen: dict[str, list[float]] = {}
    at = embedded_at = 0
    for number in range(rounds):
        rate, at = asyncio.run(bare_insert(bare_url, bodies, seconds, at))
        seen.setdefault("bare", []).append(rate)
        rate, embedded_at = bare_sqlite(lab, bodies, seconds, embedded_at)
        seen.setdefault("bare-sqlite", []).append(rate)
        for name, served in (("postgres", postgres), ("sqlite", sqlite)):
            seen.setdefault(name, []).append(batches(lab, served, f"{name}{number}", seconds)["items"])
            served.settle("intake")
        peer = lab.peer("eventsourcing_append.py", "--url", peer_url, "--batch", str(BATCH), "--seconds", str(seconds))
        if peer is not None:
            seen.setdefault("eventsourcing", []).append(peer["rate"])
        note("M2 " + ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in seen.items()))
    for served in (postgres, sqlite):
        lab.end(served.process)
    rate_of = {name: middle(found) for name, found in seen.items()}
    peers = {"eventsourcing": rate_of["eventsourcing"]} if "eventsourcing" in rate_of else {}
    what = "POST NDJSON of 500"
    return [
        at_least("M2", f"{what}, PostgreSQL and Kafka, against bare insert", rate_of["postgres"], "1/s", 0.35, rate_of["bare"], peers=peers),
        than_peers(
            "M2.peer", f"{what} against eventsourcing in batches of 500", rate_of["postgres"], "1/s", 1.3, peers,
            [] if peers else ["eventsourcing"],
        ),
        told("M2.sqlite", f"{what}, embedded, against bare insert", rate_of["sqlite"], "1/s", limit=rate_of["bare-sqlite"]),
    ]  # fmt: skip


def batches(lab: Lab, served: Served, run: str, seconds: float) -> dict[str, Any]:
    return drive(lab, served, run, seconds=seconds, lines=BATCH, connections=CONNECTIONS)


def plain(url: str) -> str:
    """The URL as asyncpg and psycopg want it."""
    return url.replace("+asyncpg", "")
