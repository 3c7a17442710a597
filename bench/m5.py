"""M5: from the POST to what a person sees: in an indicator, and coded. All services, Kafka and PostgreSQL on this machine,
200 contacts a second for a minute. The services run as four processes, as they are deployed; `lazo up` (all in one) is told
beside it.
"""

from __future__ import annotations

import sys
from typing import Any

from bench.lab import ROOT, Failed, Lab, Served, note
from bench.m2 import plain
from bench.payload import SOURCE, Contacts
from bench.report import Bar, at_most, told

SERVICES = ("classification", "feedback", "indicators")
RULEBOOK = ROOT / "deploy" / "rulebooks" / "operator.yaml"


def flow(lab: Lab, served: Served, database: str, *, seconds: float) -> dict[str, Any]:
    """The minute; Failed when a contact was refused or got lost on its way."""
    command = [
        sys.executable, "-m", "bench.flow", "--port", str(served.port), "--key", served.key, "--url", plain(database),
        "--seconds", str(seconds),
    ]  # fmt: skip
    found: dict[str, Any] = lab.json_of(command)
    if found["refused"] or found["unanswered"] or any(found["lost"].values()):
        raise Failed(f"M5: {found}\n{served.said()}")
    return found


def prepare(intake: Served, classification: Served) -> None:
    intake.ask("POST", "/intake/v1/sources", {"id": SOURCE, "name": "Benchmark", "form": "interactions"})
    classification.ask("POST", "/classification/v1/rulebook/publish", RULEBOOK.read_bytes(), "application/yaml")
    # Customers are known and every path was gone once before anything is measured.
    for body in Contacts("first").everybody(500):
        intake.ask("POST", "/intake/v1/interactions", body, "application/x-ndjson")


def apart(lab: Lab, seconds: float) -> dict[str, Any]:
    database = lab.database()
    environment = lab.environment(database=database, kafka=lab.kafka())
    intake = lab.lazo(environment, "serve", "intake")
    others = {name: lab.lazo(environment, "serve", name, wait=False) for name in SERVICES}
    for served in others.values():
        served.wait_ready()
        served.key = intake.key
    everybody = {"intake": intake, **others}
    prepare(intake, others["classification"])
    for name, served in everybody.items():
        served.settle(name)
    try:
        return flow(lab, intake, database, seconds=seconds)
    finally:
        for served in everybody.values():
            lab.end(served.process)


def together(lab: Lab, seconds: float) -> dict[str, Any]:
    database = lab.database()
    served = lab.lazo(lab.environment(database=database, kafka=lab.kafka()), "up")
    prepare(served, served)
    for name in ("intake", *SERVICES):
        served.settle(name)
    try:
        return flow(lab, served, database, seconds=seconds)
    finally:
        lab.end(served.process)


def run(lab: Lab) -> list[Bar]:
    seconds = 15.0 if lab.quick else 60.0
    found = apart(lab, seconds)
    note(f"M5 apart {found}")
    one = together(lab, seconds)
    note(f"M5 together {one}")
    slack = 0.5 * 200  # contacts under way for half a second more than at the beginning
    return [
        at_most(
            "M5", "POST to visible in an indicator and coded there, median", found["coded_p50"], "ms", 300,
            note=f"counted after {found['visible_p50']:.0f} ms, answered after {found['answer_p50']:.0f} ms",
        ),
        at_most(
            "M5.p99", "the slowest hundredth of it", found["coded_p99"], "ms", 1000,
            note=f"counted after {found['visible_p99']:.0f} ms, answered after {found['answer_p99']:.0f} ms",
        ),
        Bar(
            "M5.lag", "contacts under way, last third of the minute against the first", found["lag_late"], "contacts",
            "does not grow", found["lag_late"] <= found["lag_early"] + slack, limit=found["lag_early"],
        ),
        told(
            "M5.up", "the same in one process (`lazo up`), median", one["coded_p50"], "ms",
            note=f"slowest hundredth {one['coded_p99']:.0f} ms, under way {one['lag_early']} then {one['lag_late']}",
        ),
    ]  # fmt: skip
