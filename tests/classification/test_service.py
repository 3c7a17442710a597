"""Classification over its public API, with intake before it, on the embedded engines."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.rulebook import RulebookPublished
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.books import fold
from services.classification.cli import register
from services.classification.coding import decision_row
from services.intake.app import build as intake

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = (ROOT / "deploy/rulebooks/operator.yaml").read_bytes()
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
YAML = {"content-type": "application/yaml"}


async def publish(run: Running, content: bytes = OPERATOR, after: int | None = None) -> Any:
    headers = YAML if after is None else {**YAML, "If-Match": f'"{after}"'}
    return await run.client.post("/classification/v1/rulebook/publish", content=content, headers=headers)


async def send(run: Running, items: list[dict[str, Any]]) -> list[str]:
    answer = await run.client.post("/intake/v1/interactions", json=items)
    assert answer.status_code == 202, answer.text
    return [result["id"] for result in answer.json()["results"]]


def contact(number: int, text: str, **fields: Any) -> dict[str, Any]:
    return {
        "source": "crm",
        "external_id": f"c-{number}",
        "occurred_at": START.isoformat(),
        "kind": "complaint",
        "channel": "phone",
        "touchpoint": "call_centre",
        "customer": {"id": f"customer-{number}"},
        "text": text,
        **fields,
    }


async def source(run: Running) -> None:
    answer = await run.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
    assert answer.status_code in {200, 201}, answer.text


async def test_a_contact_is_coded_with_evidence_version_and_the_procedure_in_force_R03_R11_R17() -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        assert (await publish(run)).status_code == 201
        identity = (
            await send(run, [contact(1, "Desde ayer no tengo internet en la casa, todo el barrio está igual")])
        )[0]
        await run.settle()
        found = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        assert (found["motive"], found["cause"]) == ("service.no_internet", "supplier_fibre_cut")
        assert (found["procedure"], found["norm"], found["component"]) == ("pr-outage", "n-network", "systems")
        assert found["rulebook_version"] == 1
        assert found["supplier"] == "fibranorte"
        assert found["evidence"]
        assert "ayer" not in {item["term"] for item in found["evidence"]}
        assert len(found["history"]) == 1


async def test_what_can_be_offered_and_what_must_be_known_for_it_is_looked_up_by_the_decision_R89() -> None:
    """The decision names the procedure, its version and the kind; the rulebook of that version says what is then done, step by
    step in both languages, who deals with it, and which fields a contact of that kind must carry."""
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        identity = (await send(run, [contact(1, "Desde ayer no tengo internet en la casa")]))[0]
        await run.settle()
        found = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        asked = {"version": found["rulebook_version"]}
        book = (await run.client.get("/classification/v1/rulebook", params=asked)).json()["document"]
        procedure = next(one for one in book["procedures"] if one["code"] == found["procedure"])
        version = next(one for one in procedure["versions"] if one["version"] == found["procedure_version"])
        assert version["steps"][0]["es"] == "Mirar si la falla es del sector antes de pedir pruebas"
        assert all(step["en"] for step in version["steps"])
        route = next(one for one in book["routes"] if one["code"] == found["route"])
        assert route["team"] == found["routed_to"] == "network"
        assert book["required_fields"][found["kind"]] == ["text", "channel", "touchpoint"]


async def test_what_came_before_any_rulebook_is_unknown_and_coded_when_one_is_published() -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        identity = (await send(run, [contact(1, "The technician never showed up")]))[0]
        await run.settle()
        assert (await run.client.get("/classification/v1/rulebook")).status_code == 404
        before = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        assert (before["motive"], before["rulebook_version"]) == ("unknown", 0)
        await publish(run)
        await run.settle()
        after = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        assert (after["motive"], after["rulebook_version"], after["revision"]) == ("install.missed_visit", 1, 2)
        assert [item["motive"] for item in after["history"]] == ["unknown", "install.missed_visit"]


async def test_two_rulebooks_at_once_one_wins_and_the_same_twice_is_one_G1() -> None:
    async with running(classification, clock=SimulatedClock(START)) as run:
        other = OPERATOR.replace(b"Example telecom operator", b"Another telecom operator")
        # As the first version: without it the one that is read last may rightly become the second.
        answers = await asyncio.gather(publish(run, after=0), publish(run, other, after=0), publish(run, after=0))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(201) == 1
        assert statuses[1] in ({201} if 201 not in (statuses[0], statuses[2]) else {409, 412})
        same = {statuses[0], statuses[2]} - {201}
        assert same <= ({200} if statuses[1] != 201 else {409, 412})
        again = await publish(run, other if statuses[1] == 201 else OPERATOR)
        assert again.status_code == 200
        current = (await run.client.get("/classification/v1/rulebook")).json()
        assert current["version"] == 1
        assert len(current["versions"]) == 1
        assert (await publish(run, OPERATOR if statuses[1] == 201 else other)).status_code == 201
        assert (await run.client.get("/classification/v1/rulebook", params={"version": 1})).json()["version"] == 1
        assert (await run.client.get("/classification/v1/rulebook", params={"version": 9})).status_code == 404
        store = run.services["classification"].runtime.store
        async with store.unit() as unit:
            events = [decode(event) for event in await unit.stream("rulebook/main")]
        async with store.reading() as connection:
            rows = {row.version: dict(row._mapping) for row in await connection.execute(select(tables.rulebooks))}
        assert rows == fold([event for event in events if isinstance(event, RulebookPublished)])


async def test_a_rulebook_with_defects_is_refused_with_places_and_nothing_is_published() -> None:
    broken = OPERATOR.replace(b"parent: billing\n", b"parent: gone\n", 1)
    async with running(classification, clock=SimulatedClock(START)) as run:
        checked = (await run.client.post("/classification/v1/rulebook/check", content=broken)).json()
        assert not checked["sound"]
        answer = await publish(run, broken)
        assert answer.status_code == 422
        error = answer.json()["errors"][0]
        line = broken.decode().split("\n").index("    parent: gone") + 1
        assert (error["code"], error["line"], error["column"]) == ("unknown_reference", line, 13)
        assert error["pointer"] == "/motives/1/parent"
        spanish = await run.client.post(
            "/classification/v1/rulebook/publish", content=broken, headers={"accept-language": "es"}
        )
        assert "no existe" in spanish.json()["errors"][0]["detail"]
        assert (await run.client.get("/classification/v1/rulebook")).status_code == 404
        assert (await publish(run, b"")).status_code == 400
        assert (await publish(run, b"\xff\x00")).status_code == 422


async def test_a_person_corrects_a_coding_and_all_decisions_stay_visible_R07_R73() -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        sent = await send(
            run, [contact(1, "algo raro pasa con lo mío"), contact(2, "No tengo internet, se cayó el internet")]
        )
        await run.settle()
        queue = (await run.client.get("/classification/v1/review-queue")).json()["items"]
        assert [item["interaction_id"] for item in queue] == [sent[0]]
        path = f"/classification/v1/interactions/{sent[0]}/label"
        label = {"motive": "care.wait", "cause": "ivr_maze", "by": "ana"}
        first = await run.client.post(path, json=label, headers={"idempotency-key": "k1"})
        second = await run.client.post(path, json=label, headers={"idempotency-key": "k1"})
        third = await run.client.post(path, json=label)
        assert first.status_code == 200
        assert first.json() == second.json()
        assert [item["revision"] for item in third.json()["history"]] == [1, 2]
        assert (first.json()["procedure"], first.json()["component"]) == ("pr-care", "systems")
        assert first.json()["parts"]["motive"]["decided_by"] == "person"
        assert not (await run.client.get("/classification/v1/review-queue")).json()["items"]
        models = (await run.client.get("/classification/v1/models")).json()
        assert models["live"] == "words-3@1+online@1"
        assert models["corrections"] == 1
        assert {item["model_version"] for item in models["items"]} == {"person", "words-3@1"}
        await run.settle()
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            rows = {
                row.interaction_id: dict(row._mapping) for row in await connection.execute(select(tables.decisions))
            }
        async with store.unit() as unit:
            for identity, row in rows.items():
                last = (await unit.stream(f"classification/{identity}"))[-1]
                newest = decode(last)
                assert isinstance(newest, InteractionClassified)
                assert row == decision_row(newest, last.time)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("interactions/nobody/label", {"motive": "care.wait"}, 404),
        ("interactions/{id}/label", {"motive": "no.such"}, 422),
        ("interactions/{id}/label", {"motive": "care.wait", "cause": "no.such"}, 422),
        ("interactions/{id}/label", {"motive": ""}, 422),
        ("interactions/{id}/label", {"motive": "care.wait", "extra": 1}, 422),
        ("interactions/{id}/label", ["care.wait"], 422),
        ("interactions/{id}/label", {"motive": None}, 422),
        ("findings/none/confirm", {}, 404),
        ("findings/none/confirm", {"nature": "magic"}, 422),
        ("findings/none/assign", {}, 422),
        ("findings/none/plan-action", {"description": "x", "owner": "o", "due": "yesterday", "expected_ratio": 0.5, "window_days": 20}, 422),
        ("findings/none/implement-action", {"implemented_at": "2026-01-01"}, 422),
        ("findings/%00/close", {}, 404),
    ],
)  # fmt: skip
async def test_hostile_commands_get_a_problem_document(path: str, body: Any, status: int) -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        identity = (await send(run, [contact(1, "hola")]))[0]
        await run.settle()
        answer = await run.client.post(f"/classification/v1/{path.format(id=identity)}", json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_scopes_are_asked_for_and_lists_refuse_what_they_do_not_know() -> None:
    async with running(classification, clock=SimulatedClock(START)) as run:
        reader = await run.key_for("classification:read")
        run.client.headers.pop("authorization")
        assert (await run.client.get("/classification/v1/findings")).status_code == 401
        assert (await run.client.get("/classification/v1/findings", headers=reader)).json() == {
            "items": [],
            "next": None,
        }
        refused = await run.client.post("/classification/v1/rulebook/publish", content=OPERATOR, headers=reader)
        assert refused.status_code == 403
        for query in ("state=lost", "nature=magic", "cursor=abc", "limit=0"):
            answer = await run.client.get(f"/classification/v1/findings?{query}", headers=reader)
            assert answer.status_code in {400, 422}, query
        empty = (await run.client.get("/classification/v1/monitors", headers=reader)).json()
        assert (empty["items"], empty["judged_through"]) == ([], None)


def test_lazo_rulebook_publish_writes_to_a_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_LANGUAGE", "en")
    app = typer.Typer()
    register(app)

    @app.callback()
    def _root() -> None:
        pass

    command = ["rulebook", "publish", str(ROOT / "deploy/rulebooks/operator.yaml"), "--data", str(tmp_path / "data")]
    first = CliRunner().invoke(app, command)
    assert (first.exit_code, "version 1 published" in first.output) == (0, True), (first.output, first.exception)
    second = CliRunner().invoke(app, command)
    assert (second.exit_code, "same as version 1" in second.output) == (0, True), (second.output, second.exception)
