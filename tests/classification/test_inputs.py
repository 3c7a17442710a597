"""Changes and exposure, by API and by file; settings tried without effect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from sqlalchemy import func, select
from typer.testing import CliRunner

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.inputs import ChangeRecorded, ExposureRecorded
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import inputs, tables
from services.classification.app import build as classification
from services.classification.cli_inputs import register, rows_of
from services.classification.cli_talk import Refused
from services.classification.domain.rates import rate
from tests.classification.streams import ORIGIN, WEEK, contact, days, emit
from tests.classification.test_monitoring import at, bring_in

API = "/classification/v1"
CHANGE = {"id": "c1", "kind": "procedure", "at": "2025-01-10T00:00:00Z", "what": "Refunds on paper", "code": "pr-refund", "where": {"touchpoint": "store"}}  # fmt: skip
FIGURE = {
    "unit": "contracts",
    "slice": {"location": "pasto"},
    "since": "2025-01-01",
    "until": "2025-01-31",
    "amount": 5000,
}


@asynccontextmanager
async def world() -> AsyncIterator[Running]:
    async with running(classification, clock=SimulatedClock(at(40))) as run:
        yield run


async def told(run: Running, stream: str) -> list[Any]:
    async with run.services["classification"].runtime.store.unit() as unit:
        return [decode(event) for event in await unit.stream(stream)]


async def test_changes_are_recorded_once_corrected_by_their_id_and_taken_back() -> None:
    async with world() as run:
        path = f"{API}/changes"
        first = await run.client.post(path, json=CHANGE)
        assert (first.status_code, first.json()["items"]) == (201, [{"id": "c1", "status": "recorded"}])
        assert (await run.client.post(path, json=CHANGE)).json()["items"][0]["status"] == "same"
        release = {"kind": "release", "at": "2025-01-12T00:00:00+02:00", "what": "App 5.1"}
        several = await run.client.post(
            path, json=[CHANGE | {"what": "Refunds by post"}, release, CHANGE | {"id": "c2"}]
        )
        assert [item["status"] for item in several.json()["items"]] == ["corrected", "recorded", "recorded"]
        await run.client.post(path, json=CHANGE | {"id": "c2", "withdrawn": True})
        listed = (await run.client.get(path, params={"kind": "procedure"})).json()["items"]
        assert {item["change_id"]: item["withdrawn"] for item in listed} == {"c1": False, "c2": True}
        page = (await run.client.get(path, params={"limit": 2})).json()
        rest = (await run.client.get(path, params={"limit": 2, "cursor": page["next"]})).json()
        assert len({item["change_id"] for item in page["items"] + rest["items"]}) == 3
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            rows = {row.change_id: dict(row._mapping) for row in await connection.execute(select(tables.changes))}
        events = [data for one in rows for data in await told(run, f"change/{one}") if isinstance(data, ChangeRecorded)]
        assert rows == inputs.fold_changes(events)


async def test_what_is_wrong_with_an_input_is_named_at_its_place() -> None:
    async with world() as run:
        for path, body, pointer in (
            ("changes", [CHANGE, CHANGE | {"kind": "weather"}], "/1/kind"),
            ("changes", CHANGE | {"at": "yesterday"}, "/at"),
            ("changes", CHANGE | {"where": {"planet": "mars"}}, "/where/planet"),
            ("changes", CHANGE | {"surprise": 1}, "/surprise"),
            ("exposure", [FIGURE, FIGURE | {"amount": -1}], "/1/amount"),
            ("exposure", FIGURE | {"until": "2024-01-01"}, "/until"),
            ("exposure", FIGURE | {"unit": "hearts"}, "/unit"),
            ("exposure", {"unit": "orders", "amount": 1}, "/since"),
        ):
            answer = await run.client.post(f"{API}/{path}", json=body)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
        assert (await run.client.post(f"{API}/exposure", json=[])).status_code == 400
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            assert (await connection.execute(select(func.count()).select_from(tables.exposures))).scalar_one() == 0


async def test_exposure_replaces_itself_and_a_rate_says_where_it_is_unknown() -> None:
    """Zero and missing days are left out and named; without any the rate is unknown, never infinite."""
    async with world() as run:
        path = f"{API}/exposure"
        once = {"idempotency-key": "k"}
        first = await run.client.post(path, json=[FIGURE, FIGURE | {"unit": "orders", "amount": 310}], headers=once)
        assert first.json() == {"recorded": 2, "same": 0}
        assert (
            await run.client.post(path, json=[FIGURE, FIGURE | {"unit": "orders", "amount": 310}], headers=once)
        ).json() == first.json()
        assert (await run.client.post(path, json=FIGURE)).json() == {"recorded": 0, "same": 1}
        await run.client.post(path, json=FIGURE | {"amount": 4000})
        day = {"since": "2025-01-20", "until": "2025-01-20"}
        await run.client.post(
            path, json=[FIGURE | day | {"amount": 0}, FIGURE | {"since": "2025-02-02", "until": "2025-02-03"}]
        )
        await emit(run, [contact(n, date(2025, 1, 10 + n), location="pasto", customer=f"k{n % 8}") for n in range(20)])
        await run.settle()
        asked = {
            "unit": "contracts",
            "where[location]": "pasto",
            "where[motive]": "billing.refund",
            "since": "2025-01-15",
            "until": "2025-02-03",
        }
        found = (await run.client.get(f"{API}/rates", params=asked)).json()
        assert found["missing_days"] == ["2025-01-20", "2025-02-01"]
        assert found["complainants"] == 7  # eight people; the first contact of one fell on a day that is not known
        assert found["exposure"] == pytest.approx((16 * 4000 + 2 * 5000) / 18)
        assert found["low"] < found["rate"] < found["high"]
        unknown = (await run.client.get(f"{API}/rates", params=asked | {"where[location]": "cali"})).json()
        assert (unknown["rate"], unknown["exposure"], len(unknown["missing_days"])) == (None, None, 20)
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            exposed = await inputs.exposed(connection, "orders", date(2025, 1, 1), date(2025, 2, 1))
            rows = [dict(row._mapping) for row in await connection.execute(select(tables.exposures))]
        assert exposed.on({"location": "pasto"}, date(2025, 1, 5)) == 10  # 310 orders in 31 days
        assert exposed.on({"location": "pasto"}, date(2025, 2, 1)) is None
        events = [data for data in await told(run, "exposure/figures") if isinstance(data, ExposureRecorded)]
        folded = inputs.fold_exposure(events)
        assert {(row["unit"], row["slice_key"], row["since"], row["until"]): row for row in rows} == folded


def test_the_interval_of_a_rate_is_the_exact_poisson_one() -> None:
    """Garwood's limits for ten events: 4.795 and 18.39 (Ulm 1990, table)."""
    found = rate(10, 10_000)
    assert (found["rate"], round(found["low"], 3), round(found["high"], 2)) == (10, 4.795, 18.39)
    assert rate(0, 10_000)["low"] == 0
    assert rate(3, 0)["rate"] is None


def test_files_give_the_items_of_the_api(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_text(
        "\ufeffunit,since,until,amount,location\ncontracts,2025-01-01,2025-01-31,5000,pasto\norders,2025-01-01,,3.5,\n"
    )
    assert rows_of("exposure", file) == [
        (
            2,
            {
                "unit": "contracts",
                "since": "2025-01-01",
                "until": "2025-01-31",
                "amount": 5000.0,
                "slice": {"location": "pasto"},
            },
        ),
        (3, {"unit": "orders", "since": "2025-01-01", "amount": 3.5}),
    ]
    file.write_text("unit,since,amount\norders,2025-01-01,many\n")
    with pytest.raises(Refused, match=r"e\.csv:2"):
        rows_of("exposure", file)
    lines = tmp_path / "c.ndjson"
    lines.write_text('{"kind": "norm", "at": "2025-01-01T00:00:00Z", "what": "x"}\n')
    assert rows_of("changes", lines)[0][1]["kind"] == "norm"


def test_exposure_and_changes_come_in_by_file_into_this_machines_own_data(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    file, wrong = tmp_path / "e.csv", tmp_path / "w.csv"
    file.write_text("unit,since,until,amount,location\ncontracts,2025-01-01,2025-01-31,5000,pasto\n")
    wrong.write_text("kind,at,what\nnorm,2025-01-01T00:00:00Z,x\nweather,2025-01-01T00:00:00Z,y\n")
    run = CliRunner()
    data = ["--data", str(tmp_path / "data")]
    first = run.invoke(app, ["exposure", str(file), *data, "--json"])
    assert (first.exit_code, first.stdout.strip()) == (0, '{"recorded":1,"same":0}')
    refused = run.invoke(app, ["changes", str(wrong), *data])
    assert refused.exit_code == 1
    assert f"{wrong}:3" in refused.stderr
    assert run.invoke(app, ["shadow", *data]).exit_code == 2


async def test_other_settings_are_tried_over_history_and_nothing_happens_G11() -> None:
    """G11"""
    rng = np.random.default_rng(3)
    found: list[InteractionClassified] = []
    for index, day in enumerate(days(120)):
        for motive, level, touchpoint in (
            ("billing.refund", 1.5, "store"),
            ("care.rude", 1.5, "store"),
            ("contract.offer", 6, "chat"),
        ):
            extra = (
                5 if motive == "billing.refund" and index >= 80 else 1.4 if motive == "care.rude" and index >= 90 else 0
            )
            for _ in range(rng.poisson(level * WEEK[index % 7] + extra)):
                found.append(contact(len(found), day, motive=motive, touchpoint=touchpoint))
    clock = SimulatedClock(at(123))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, found)
        store = run.services["classification"].runtime.store
        events = store.tables.events

        async def count() -> int:
            async with store.reading() as connection:
                return int((await connection.execute(select(func.count()).select_from(events))).scalar_one())

        before = await count()
        path = f"{API}/monitors/shadow"
        strict = (await run.client.post(path, json={"rules": {"minimum_customers": 900}})).json()
        risen = ["billing.refund", "care.rude"]
        assert [item["slice"]["motive"] for item in strict["live"]["findings"]] == risen
        assert strict["shadow"]["findings"] == []
        assert strict["shadow"]["taken_up_missed"] == [f"motive={motive}|touchpoint=store" for motive in risen]
        vanished = [item["slice"] for item in strict["verdicts"]["vanish"]]
        assert {where["motive"] for where in vanished if where.keys() == {"motive", "touchpoint"}} == set(risen)
        # Series beside the first rose with them.
        assert {where.get("motive", risen[0]) for where in vanished} == set(risen)
        loose = (await run.client.post(path, json={"rules": {"false_alarms_per_month": 60}})).json()
        assert loose["shadow"]["false_alarms_admitted"] > 200 * loose["live"]["false_alarms_admitted"] * 0.9
        assert loose["verdicts"]["appear"]
        wrong = await run.client.post(path, json={"rules": {"luck": 7}})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/rules/luck")
        assert await count() == before
        assert (ORIGIN + timedelta(days=80)).isoformat() <= loose["live"]["findings"][0]["since"]
