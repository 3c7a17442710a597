"""M1: one interaction per POST over 64 connections: authenticated, sealed, answered after the commit; one worker.

Limit: FastAPI with the same model and nothing behind it. Peer: the eventsourcing library, one append after another.
"""

from __future__ import annotations

import sys
from typing import Any

from bench.lab import Failed, Lab, Served, note
from bench.payload import SOURCE, Contacts
from bench.report import Bar, at_least, middle, than_peers, told


def intake(lab: Lab, *, embedded: bool) -> Served:
    """`lazo serve intake` with a source and its customers known."""
    environment = lab.environment(
        database=None if embedded else lab.database(), kafka=None if embedded else lab.kafka()
    )
    served = lab.lazo(environment, "serve", "intake")
    served.ask("POST", "/intake/v1/sources", {"id": SOURCE, "name": "Benchmark", "form": "interactions"})
    for body in Contacts("first").everybody(500):
        served.ask("POST", "/intake/v1/interactions", body, "application/x-ndjson")
    served.settle("intake")
    return served


def bare_web(lab: Lab) -> Served:
    from tests.engines.postgres import free_port

    port = free_port()
    log = lab.directory / "bare-web.log"
    environment = lab.environment(database=None, kafka=None)
    served = Served(
        lab.spawn([sys.executable, "-m", "bench.bare_web", "--port", str(port)], environment, log),
        port,
        environment,
        log,
    )
    served.wait_ready()
    return served


def drive(lab: Lab, served: Served, run: str, **options: Any) -> dict[str, Any]:
    """One measurement by the client; Failed when anything was refused."""
    command = [
        sys.executable,
        "-m",
        "bench.client",
        "--port",
        str(served.port),
        "--run",
        run,
        "--key",
        served.key or "none",
    ]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    found: dict[str, Any] = lab.json_of(command)
    if found["refused"] or not found["requests"]:
        raise Failed(f"{run}: {found}\n{served.said()}")
    return found


def run(lab: Lab) -> list[Bar]:
    rounds, seconds = (1, 2.0) if lab.quick else (5, 4.0)
    bare, postgres, sqlite = bare_web(lab), intake(lab, embedded=False), intake(lab, embedded=True)
    peer_database = lab.database().replace("+asyncpg", "")
    seen: dict[str, list[dict[str, Any]]] = {"bare": [], "postgres": [], "sqlite": [], "eventsourcing": []}
    for number in range(rounds):
        for name, served in (("bare", bare), ("postgres", postgres), ("sqlite", sqlite)):
            seen[name].append(drive(lab, served, f"{name}{number}", seconds=seconds))
            if served is not bare:
                served.settle("intake")
        peer = lab.peer("eventsourcing_append.py", "--url", peer_database, "--batch", "1", "--seconds", str(seconds))
        if peer is not None:
            seen["eventsourcing"].append(peer)
        note("M1 " + ", ".join(f"{name} {found[-1]['rate']:,.0f}/s" for name, found in seen.items() if found))
    for served in (bare, postgres, sqlite):
        lab.end(served.process)
    rate = {name: middle([one["rate"] for one in found]) for name, found in seen.items() if found}
    p50 = {name: middle([one["p50"] for one in seen[name]]) for name in ("bare", "postgres", "sqlite")}
    p99 = {name: middle([one["p99"] for one in seen[name]]) for name in ("bare", "postgres", "sqlite")}
    peers = {"eventsourcing": rate["eventsourcing"]} if "eventsourcing" in rate else {}
    what = "POST one interaction"
    return [
        at_least("M1", f"{what}, PostgreSQL and Kafka, against bare web", rate["postgres"], "1/s", 0.5, rate["bare"], peers=peers),
        Bar(
            "M1.p99", f"{what}, slowest hundredth, against bare web's", p99["postgres"], "ms", "<= 4 x limit",
            p99["postgres"] <= 4 * p99["bare"], limit=p99["bare"],
            note=f"median {p50['postgres']:.1f} ms, bare {p50['bare']:.1f} ms",
        ),
        than_peers(
            "M1.peer", f"{what} against eventsourcing, one append after another", rate["postgres"], "1/s", 4, peers,
            [] if peers else ["eventsourcing"],
        ),
        told(
            "M1.sqlite", f"{what}, embedded", rate["sqlite"], "1/s", limit=rate["bare"],
            note=f"p99 {p99['sqlite']:.1f} ms, median {p50['sqlite']:.1f} ms",
        ),
    ]  # fmt: skip
