"""What a monitor is given by an operation that is not as it should be."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification import bounding, tables
from services.classification.app import build as classification
from services.classification.detect_cli import register
from services.classification.domain.localisation.windows import OTHER
from tests.classification.streams import ORIGIN, contact, emit
from tests.classification.test_monitoring import at, pass_time


async def test_a_free_text_as_contact_point_makes_no_more_slices_than_are_counted_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every contact is counted; what has a slice keeps it; a customer who comes again is one customer there too."""
    monkeypatch.setitem(bounding.MOST_SLICES, "touchpoint", 30)
    clock = SimulatedClock(at(60))
    async with running(classification, clock=clock) as run:
        path = "/classification/v1/monitors"
        await emit(run, [contact(n, ORIGIN, touchpoint=f"said {n:03d}") for n in range(20)])
        await run.settle()
        await pass_time(run, clock, timedelta(days=1))
        assert (await run.client.get(path)).json()["bounded"] is False
        later = [contact(100 + n, ORIGIN + timedelta(days=40), touchpoint=f"new {n:03d}") for n in range(200)]
        again = contact(500, ORIGIN + timedelta(days=41), touchpoint="new 199", customer="cus_299")
        old = contact(501, ORIGIN + timedelta(days=41), touchpoint="said 003")
        await emit(run, [*later, again, old])
        await run.settle()
        await pass_time(run, clock, timedelta(days=1))
        async with run.services["classification"].runtime.store.reading() as connection:
            rows = (await connection.execute(select(tables.days).where(tables.days.c.series == "touchpoint"))).all()
        slices = {row.place for row in rows}
        assert len(slices - {OTHER}) == 30
        assert sum(row.contacts for row in rows) == 222
        assert sum(row.fresh for row in rows) == 221
        assert sum(row.contacts for row in rows if row.place == "said 003") == 2
        assert (await run.client.get(path)).json()["bounded"] is True
    assert "has 30 slices already" in caplog.text


async def test_one_contact_a_stream_that_stops_and_one_that_begins_yesterday_are_no_finding() -> None:
    """R09: a silence is not a rise, and neither is the end of one."""
    clock = SimulatedClock(at(0, 12))
    async with running(classification, clock=clock) as run:
        await emit(run, [contact(0, ORIGIN)])
        await run.settle()
        await pass_time(run, clock, timedelta(days=2))
        random, number = np.random.default_rng(1), 1
        for first in range(0, 70, 10):
            clock.advance(at(first + 10))
            batch = []
            for day in range(first, first + 10):
                for motive in ("care.wait", "billing.refund", *(("new.one",) if day == 69 else ())):
                    for _ in range(random.poisson(4) if motive != "billing.refund" or day < 50 else 0):
                        batch.append(contact(number, ORIGIN + timedelta(days=day), motive=motive))
                        number += 1
            await emit(run, batch)
            await run.settle()
        await pass_time(run, clock, timedelta(days=2))
        assert (await run.client.get("/classification/v1/findings")).json()["items"] == []
        page = (await run.client.get("/classification/v1/monitors")).json()
    items = [item for item in page["items"] if item["series"] == "motive*touchpoint"]
    assert {item["slice"]["motive"] for item in items} == {"care.wait", "billing.refund", "new.one"}
    assert all(item["p"] > 0.001 for item in items if item["slice"]["motive"] != "new.one")


def rows(*counts: int, name: str = "a") -> list[str]:
    return [f"{name},{(ORIGIN + timedelta(days=day)).isoformat()},{count}" for day, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("lines", "alarms"),
    [
        (rows(*[0] * 400), 0),
        (rows(3), 0),
        (rows(2, 3), 0),
        (rows(*[4] * 300, *[0] * 60), 0),
        (rows(*[0] * 365, *[500] * 5), 1),
        (list(reversed(rows(*[2, 4, 3, 3] * 90))), 0),
    ],
    ids=["all zeros", "one row", "begins yesterday", "stops", "a year at zero and then 500", "unordered"],
)
def test_lazo_detect_takes_series_as_they_are_and_says_what_it_did(
    tmp_path: Path, lines: list[str], alarms: int
) -> None:
    counts, out = tmp_path / "counts.csv", tmp_path / "out.csv"
    counts.write_text("\n".join(["series,date,count", *lines]) + "\n")
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)  # with one command only, its name is not asked for
    done: Any = CliRunner().invoke(app, ["detect", str(counts), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    found = out.read_text().splitlines()
    alarm = found[0].split(",").index("alarm")
    flagged = [line for line in found[1:] if line.split(",")[alarm] in {"1", "true", "True"}]
    assert len(found) - 1 == len(lines)
    assert bool(flagged) == bool(alarms)
    assert "nan" not in out.read_text().lower()
