"""`lazo verify` over all four services: whatever byte of the log is altered and whatever row is deleted, it is named (G6, G8)."""

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from libs.events.verification import Break
from libs.service.settings import Settings, load
from libs.service.testing import MASTER_KEY, running
from services.classification.app import build as classification
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from services.verifying import lines, verify_all


async def _live(data: Path) -> None:
    async with running(intake, classification, feedback, indicators, data=data) as lazo:
        made = await lazo.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        assert made.status_code == 201, made.text
        contacts = [
            {
                "source": "crm", "external_id": f"x{n}", "kind": "claim", "channel": "email",
                "occurred_at": "2026-03-01T10:00:00-05:00", "customer": {"email": f"p{n % 4}@example.org"},
                "text": "No me llega la factura", "case_ref": f"K{n}",
            }
            for n in range(8)
        ]  # fmt: skip
        answer = await lazo.client.post("/intake/v1/interactions", json=contacts)
        assert answer.json()["accepted"] == 8, answer.text
        await lazo.settle()
        first = (await lazo.client.get("/feedback/v1/cases", params={"limit": 1})).json()["items"][0]
        done = await lazo.client.post(f"/feedback/v1/cases/{first['case_id']}/resolve", json={"outcome": "upheld"})
        assert done.status_code == 200, done.text
        gone = await lazo.client.delete(f"/intake/v1/customers/{first['customer_id']}")
        assert gone.status_code == 200, gone.text
        await lazo.settle()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a few contacts went all the way round and one person was erased."""
    data = tmp_path_factory.mktemp("lived")
    asyncio.run(_live(data))
    return data


@pytest.fixture
def data(lived: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(lived, tmp_path / "data"))


async def _breaks(data: Path) -> list[Break]:
    report = await verify_all(load(Settings, data=data, master_key=MASTER_KEY))
    assert all(lines(report, language) or not report.breaks for language in ("es", "en"))
    return report.breaks


async def test_a_record_that_can_no_longer_be_read_is_named_and_ends_no_other_check(data: Path) -> None:
    """G6: an altered byte may leave no JSON, no event, or a model without a field; each time the record is named."""
    assert await _breaks(data) == []
    chance = random.Random(20261126)
    with sqlite3.connect(data / "log.db") as db:
        records = db.execute('SELECT topic, partition, "offset", value, headers FROM records').fetchall()
    for turn in range(16):
        topic, partition, offset, value, headers = chance.choice(records)
        column, whole = chance.choice([("value", value), ("headers", headers)])
        altered = bytearray(whole)
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(7)
        where = (topic, partition, offset)
        change = f'UPDATE records SET {column} = ? WHERE topic = ? AND partition = ? AND "offset" = ?'
        with sqlite3.connect(data / "log.db") as db:
            db.execute(change, (bytes(altered), *where))
        found = await _breaks(data)
        assert f"{topic}/{partition}/{offset}" in {one.where for one in found}, (turn, column, found)
        with sqlite3.connect(data / "log.db") as db:
            db.execute(change, (whole, *where))
    assert await _breaks(data) == []


@pytest.mark.parametrize(
    ("service", "table"),
    [
        ("intake", "events"), ("intake", "sources"), ("classification", "events"), ("classification", "decisions"),
        ("feedback", "events"), ("feedback", "cases"), ("feedback", "requests"), ("indicators", "interactions_a"),
        ("indicators", "cases_a"), ("indicators", "codings_a"), ("indicators", "milestones_a"), ("indicators", "erasures_a"),
    ],
)  # fmt: skip
async def test_a_deleted_row_of_any_store_is_named(data: Path, service: str, table: str) -> None:
    """G6, G8: rows of the events and rows that follow from them."""
    with sqlite3.connect(data / f"{service}.db") as db:
        assert db.execute(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})").rowcount == 1
    found = await _breaks(data)
    assert any(one.where.startswith(f"{service}/") for one in found), found
    if table != "events":
        assert f"{service}/{table}" in {one.where for one in found}


async def test_a_row_that_was_changed_by_hand_is_named(data: Path) -> None:
    """G8: a case that says closed and a decision with another motive, which no event accounts for."""
    with sqlite3.connect(data / "feedback.db") as db:
        case = db.execute("UPDATE cases SET status = 'closed' WHERE rowid = 1 RETURNING case_id").fetchone()[0]
    with sqlite3.connect(data / "classification.db") as db:
        decided = db.execute("UPDATE decisions SET motive = 'x' WHERE rowid = 1 RETURNING interaction_id").fetchone()[0]
    found = {(one.where, one.detail.get("row")) for one in await _breaks(data)}
    assert found == {("feedback/cases", case), ("classification/decisions", decided)}
