"""Erasing a person, end to end: nothing of theirs was ever kept in the clear, nothing opens again, and every number stays (G5)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from libs.events.catalogue import topics
from libs.events.clock import SimulatedClock
from libs.events.ids import natural_id
from libs.events.log import TopicPartition
from libs.service.testing import MASTER_KEY, Running, running
from services.classification.app import build as classification
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from services.verifying import verify_all
from tests.e2e.ledger import everything
from tests.e2e.test_story import OPERATOR, START, Story, contact, deliver

ROOT = Path(__file__).resolve().parents[2]
# What only this person is, says or is told. Every word stands nowhere else.
SECRETS = {
    "id": "ORQ-7712344",
    "email": "maria.inconfundible@example.org",
    "phone": "+573004442211",
    "document": "5233998877",
    "name": "María Inconfundible Ñúñez",
    "text": "No tengo internet y mi vecina Hermenegilda tampoco",
    "subject": "Asunto zarzamora",
    "note": "Se habló con doña Querubina",
    "response": "Estimada señora, le contamos el caso pardillo",
    "comment": "Nadie fue tan amable como Floripondio",
    "need": "Quisiera una factura en lengua wayuunaiki perlada",
    "unread": "mensaje ilegible de Tarcisia",
    "refused": "rechazado.berenjena@@example..org",
    "attribute": "mascota Pelusina",
}


def spellings(secret: str) -> Iterator[bytes]:
    """How a text may stand somewhere: as it is, with escapes of JSON, without accents lost, as PostgreSQL shows bytes."""
    for text in {secret, secret.lower(), json.dumps(secret)[1:-1], secret.removeprefix("+57")}:
        for encoding in ("utf-8", "utf-16-le"):
            yield text.encode(encoding)
        yield text.encode().hex().encode()


NEEDLES = {name: tuple(set(spellings(secret))) for name, secret in SECRETS.items()}
CONTROL = {"external id": tuple(spellings("first-60"))}  # no secret: in intake's store, on its topic, in the read model
Needles = dict[str, tuple[bytes, ...]]


def told_in(content: bytes, needles: Needles = NEEDLES) -> list[str]:
    return [name for name, each in needles.items() if any(needle in content for needle in each)]


async def kept_in_the_clear(run: Running, engines: Any, needles: Needles = NEEDLES) -> list[str]:
    """Every place that holds one of the secrets: files with their free pages and journals, tables, topics."""
    found = []
    for path in sorted(engines.data.rglob("*")):
        if path.is_file():
            found += [f"{path.name}: {name}" for name in told_in(path.read_bytes(), needles)]
    if engines.database is not None:
        found += await _in_tables(engines.database, needles)
    for topic in topics.ALL:
        for partition, end in (await run.environment.log.ends(topic)).items():
            at = 0
            while at < end:
                records = await run.environment.log.read(TopicPartition(topic, partition), at, 500)
                if not records:
                    break
                at = records[-1].offset + 1
                for record in records:
                    whole = b" ".join([record.key or b"", record.value, *(value for _, value in record.headers)])
                    found += [f"{topic}/{partition}/{record.offset}: {name}" for name in told_in(whole, needles)]
    return found


async def _in_tables(database: str, needles: Needles) -> list[str]:
    connection = await asyncpg.connect(database.replace("+asyncpg", ""))
    found = []
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        assert len(tables) > 40, "these are not all tables of five schemas"
        for table in tables:
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table['name']} t")
            whole = "\n".join(row["row"] for row in rows).encode()
            found += [f"{table['name']}: {name}" for name in told_in(whole, needles)]
    finally:
        await connection.close()
    return found


async def numbers(client: httpx.AsyncClient) -> dict[str, Any]:
    """Every indicator in the catalogue, whole and by several dimensions, and what is ranked and listed."""
    asked = {"from": "2026-02-01", "to": "2026-04-01", "granularity": "day", "tz": "UTC"}
    found: dict[str, Any] = {}
    for one in (await client.get("/indicators/v1/indicators")).json()["items"]:
        for group in ("", "motive", "kind,channel,touchpoint", "source,language"):
            path = f"/indicators/v1/indicators/{one['code']}"
            answer = await client.get(path, params=asked | {"group_by": group})
            assert answer.status_code == 200, answer.text
            found[f"{one['code']} by {group}"] = answer.json()["points"]
    for name in ("pareto", "touchpoints"):
        found[name] = (
            await client.get(f"/indicators/v1/{name}", params={"from": "2026-02-01", "to": "2026-04-01"})
        ).json()
    return found


async def a_person_goes_all_the_way_round(story: Story) -> str:
    """Everything a person may tell or be told; gives their pseudonym."""
    answer = await story.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM", "region": "CO"})
    assert answer.status_code == 201
    answer = await story.client.post(
        "/classification/v1/rulebook/publish",
        content=OPERATOR.read_bytes(),
        headers={"content-type": "application/yaml"},
    )
    assert answer.status_code == 201, answer.text
    others = [contact(number) for number in range(1, 8)]
    await story.post(others, others)
    person = {name: SECRETS[name] for name in ("id", "email", "phone", "document", "name")}
    fact = contact(0, customer=person, text=SECRETS["text"], subject=SECRETS["subject"])
    fact["attributes"] = {"detail": SECRETS["attribute"]}
    bad = contact(50, customer={"email": SECRETS["refused"]}, text=SECRETS["unread"])
    told = await story.client.post("/intake/v1/interactions", json=[fact, bad], headers={"Idempotency-Key": "once"})
    assert (told.json()["accepted"], told.json()["rejected"]) == (1, 1), told.text
    await story.post([later := contact(60, customer={"id": SECRETS["id"]}, text=SECRETS["text"])], [later])
    form = {"id": "desk", "form": "standard-webhooks"}
    secret = (await story.client.post("/intake/v1/sources", json=form)).json()["secret"]
    unread = {"customer": {"email": SECRETS["email"]}, "nonsense": SECRETS["unread"], "occurred_at": "2026"}
    assert "quarantined" in (await deliver(story, secret, unread, "m-1")).json()
    await story.run.settle()
    identity = told.json()["results"][0]["id"]
    case = f"/feedback/v1/cases/{natural_id('case', identity)}"
    await story.ordered(f"{case}/respond", {"text": SECRETS["response"]})
    story.clock.advance(START + timedelta(days=1))
    for case_ref, status in (("K-0", "resolved"), ("K-0", "closed"), ("K-60", "assigned")):
        update = {
            "source": "crm",
            "external_id": f"{case_ref} {status}",
            "case_ref": case_ref,
            "status": status,
            "occurred_at": story.clock.now().isoformat(),
            "note": SECRETS["note"],
        }
        assert (await story.client.post("/intake/v1/case-updates", json=update)).json()["accepted"] == 1
    await story.run.settle()
    pending = await everything(story.client, "/feedback/v1/requests")
    [question] = [item for item in pending if item["purpose"] == "answer"]
    assert any(item["body"] and SECRETS["response"] in item["body"] for item in pending)
    form = {"score": "5", "helped": "better", "comment": SECRETS["comment"], "need": SECRETS["need"]}
    page = httpx.URL(question["link"]).raw_path.decode()
    assert (await story.client.post(page, data=form)).status_code == 200
    await story.run.settle()
    shown = await story.get(f"/intake/v1/interactions/{identity}")
    assert (shown["text"], shown["customer"]["email"]) == (SECRETS["text"], SECRETS["email"])
    return str(shown["customer"]["customer_id"])


@pytest.mark.timeout(240)
async def test_an_erased_person_is_nowhere_in_the_clear_and_every_number_stays_G5(
    engines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimulatedClock(START)
    builders = (intake, classification, feedback, indicators)
    async with running(*builders, clock=clock, engines=engines) as run:
        story = Story(run, clock)
        person = await a_person_goes_all_the_way_round(story)
        assert await kept_in_the_clear(run, engines) == [], (
            "before the erasure too, nothing may stand there in the clear"
        )
        before = await numbers(run.client)
        assert before["csat by "]
        places = await kept_in_the_clear(run, engines, CONTROL)
        assert len({place.partition(":")[0] for place in places}) >= 3, "it does not even find what is no secret"
        answer = await run.client.delete(f"/intake/v1/customers/{person}", params={"reason": "Ley 1581"})
        assert answer.status_code == 200, answer.text
        await run.settle()
        assert await numbers(run.client) == before
        assert await kept_in_the_clear(run, engines) == []
        await nothing_opens_again(story, person)
        report = await verify_all(run.environment.settings)
        assert report.breaks == []
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LAZO_")}
    rebuilt = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "services", "rebuild", "indicators", "--json"],
        cwd=ROOT, env=plain | engines.environment | {"LAZO_MASTER_KEY": MASTER_KEY}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert json.loads(rebuilt.stdout)["agrees"] is True
    async with running(*builders, clock=clock, engines=engines) as run:
        await run.settle()
        assert await numbers(run.client) == before
        assert await kept_in_the_clear(run, engines) == []
    assert told_in(caplog.text.encode()) == []
    assert told_in((rebuilt.stdout + rebuilt.stderr).encode()) == []


async def nothing_opens_again(story: Story, person: str) -> None:
    """No public call tells any of it, whoever asks; the others' words are still there."""
    paths = [
        "/feedback/v1/requests?state=all&limit=200",
        f"/indicators/v1/customers/{person}/timeline",
        "/indicators/v1/interactions?from=2026-02-01&to=2026-04-01&limit=200",
        "/indicators/v1/export?from=2026-02-01&to=2026-04-01",
        "/classification/v1/review-queue",
        "/intake/v1/quarantine",
    ]
    for number in (0, 60):
        identity = natural_id("interaction", "crm", f"first-{number}")
        paths += [
            f"/intake/v1/interactions/{identity}",
            f"/intake/v1/interactions/{identity}/receipt",
            f"/classification/v1/interactions/{identity}",
            f"/feedback/v1/cases/{natural_id('case', identity)}",
            f"/indicators/v1/cases/{natural_id('case', identity)}/timeline",
        ]
    for path in paths:
        answer = await story.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        assert told_in(answer.content) == [], path
    other = await story.get(f"/intake/v1/interactions/{natural_id('interaction', 'crm', 'first-1')}")
    assert other["text"] == contact(1)["text"]
    assert other["customer"]["email"] == "customer1@example.org"
    again = await story.client.delete(f"/intake/v1/customers/{person}")
    assert again.status_code == 200
