"""Progress of cases in the other system: kept whether or not we know the case yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from libs.events.catalogue import decode
from libs.events.catalogue.interactions import CaseUpdateRecorded, Effects, InteractionRecorded
from libs.events.envelope import Event, from_record
from libs.events.log import TopicPartition
from libs.events.sealing import opened
from libs.service.testing import Running

Make = Callable[..., dict[str, Any]]


def update(external_id: str = "u-1", **changes: Any) -> dict[str, Any]:
    made = {
        "source": "crm",
        "external_id": external_id,
        "case_ref": "C-1",
        "status": "assigned",
        "occurred_at": "2026-03-01T10:00:00-05:00",
        "agent": "luis",
    }
    return {**made, **changes}


async def events(intake: Running) -> list[Event]:
    await intake.settle()
    log, found = intake.environment.log, []
    for partition, end in (await log.ends("lazo.interactions")).items():
        place = 0
        while records := await log.read(TopicPartition("lazo.interactions", partition), place, max(end, 1)):
            found += [from_record(record) for record in records]
            place = records[-1].offset + 1
    return found


async def test_an_update_of_a_known_case_is_tied_to_its_interaction_and_stands_behind_it(
    either: Running, element: Make
) -> None:
    await either.client.post("/intake/v1/interactions", json=element(case_ref="C-1"))
    answer = await either.client.post("/intake/v1/case-updates", json=update(note="Llamé a la clienta"))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    found = await events(either)
    [recorded] = [e for e in found if e.type == InteractionRecorded.TYPE]
    [updated] = [e for e in found if e.type == CaseUpdateRecorded.TYPE]
    data = decode(updated)
    assert isinstance(data, CaseUpdateRecorded)
    assert (data.interaction_id, data.customer_id) == (recorded.id, recorded.partitionkey)
    assert updated.partitionkey == recorded.partitionkey
    assert str(data.note).startswith("lz1.")


async def test_an_update_of_an_unknown_case_is_kept_without_a_customer(intake: Running, element: Make) -> None:
    answer = await intake.client.post("/intake/v1/case-updates", json=[update("u-1"), update("u-2", status="resolved")])
    assert answer.json()["accepted"] == 2
    await intake.client.post("/intake/v1/interactions", json=element(case_ref="C-1"))
    await intake.client.post("/intake/v1/case-updates", json=update("u-3", status="closed"))
    found = [decode(e) for e in await events(intake) if e.type == CaseUpdateRecorded.TYPE]
    known = {data.external_id: data.customer_id is not None for data in found if isinstance(data, CaseUpdateRecorded)}
    assert known == {"u-1": False, "u-2": False, "u-3": True}
    keys = {
        e.partitionkey
        for e in await events(intake)
        if decode(e).model_dump().get("customer_id") is None and "case" in e.type
    }
    assert len(keys) == 1


async def test_words_about_an_unknown_case_are_sealed_and_erased_with_its_customer_G5(
    intake: Running, element: Make
) -> None:
    await intake.client.post("/intake/v1/case-updates", json=update(note="Vive en la calle 10"))
    await intake.client.post("/intake/v1/interactions", json=element(case_ref="C-1"))
    [noted] = [e for e in await events(intake) if e.type == CaseUpdateRecorded.TYPE]
    assert b"calle" not in noted.data
    [data] = await opened(intake.environment.vault, [noted])
    assert isinstance(data, CaseUpdateRecorded)
    assert data.note == "Vive en la calle 10"
    answer = await intake.client.delete("/intake/v1/customers/88213", params={"source": "crm"})
    assert answer.status_code == 200
    [data] = await opened(intake.environment.vault, [noted])
    assert isinstance(data, CaseUpdateRecorded)
    assert data.note is None


async def test_updates_have_external_ids_of_their_own_and_are_kept_once(intake: Running) -> None:
    lines = b"\n".join(orjson.dumps(update(name)) for name in ("u-1", "u-2", "u-1"))
    answer = await intake.client.post(
        "/intake/v1/case-updates", content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert [result["status"] for result in answer.json()["results"]] == ["accepted", "accepted", "duplicate"]
    again = await intake.client.post("/intake/v1/case-updates", json=update("u-1", status="closed"))
    assert again.json()["results"][0]["problem"]["errors"][0]["code"] == "different-content"


async def test_updates_may_be_history_too(intake: Running) -> None:
    await intake.client.post("/intake/v1/case-updates", json=update(), params={"effects": "history"})
    [data] = [decode(e) for e in await events(intake) if e.type == CaseUpdateRecorded.TYPE]
    assert isinstance(data, CaseUpdateRecorded)
    assert data.effects is Effects.HISTORY


async def test_a_wrong_status_is_named(intake: Running) -> None:
    answer = await intake.client.post("/intake/v1/case-updates", json=update(status="lost", outcome="maybe"))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/status", "/outcome"]
