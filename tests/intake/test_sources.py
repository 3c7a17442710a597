"""Who may send: registering, changing, rotating."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.intake.app import build
from tests.intake.conftest import registered


async def test_a_source_needs_only_an_id_and_shows_up_in_the_list(intake: Running) -> None:
    answer = await intake.client.post("/intake/v1/sources", json={"id": "shop"})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/intake/v1/sources/shop"
    listed = (await intake.client.get("/intake/v1/sources")).json()["items"]
    assert [item["id"] for item in listed] == ["crm", "shop"]
    assert (await intake.client.get("/intake/v1/sources/crm")).json()["region"] == "CO"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"id": "Not A Slug"}, "/id"),
        ({"id": "a", "region": "Colombia"}, "/region"),
        ({"id": "a", "defaults": {"text": "x"}}, "/defaults/text"),
        ({"id": "a", "defaults": {"kind": "anger"}}, "/defaults/kind"),
        ({"id": "a", "defaults": {"language": "español"}}, "/defaults/language"),
        ({"id": "a", "form": "pigeon"}, "/form"),
        ({"id": "a", "colour": "red"}, "/colour"),
        ({"id": "a", "defaults": {"team": "a\0"}}, "/defaults/team"),
        ({}, "/id"),
    ],
)
async def test_what_is_wrong_with_a_source_is_named(intake: Running, body: dict[str, Any], pointer: str) -> None:
    answer = await intake.client.post("/intake/v1/sources", json=body)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_the_same_source_twice_is_a_conflict_that_names_the_remedy(intake: Running) -> None:
    answer = await intake.client.post("/intake/v1/sources", json={"id": "crm"})
    assert answer.status_code == 409
    assert "PATCH" in answer.json()["detail"]


async def test_changes_keep_what_is_left_out_and_are_told_to_everybody(intake: Running) -> None:
    answer = await intake.client.patch("/intake/v1/sources/crm", json={"defaults": {"team": "norte"}, "active": False})
    assert answer.json() | {} == answer.json()
    assert (answer.json()["region"], answer.json()["active"]) == ("CO", False)
    assert (await intake.client.patch("/intake/v1/sources/none", json={})).status_code == 404
    store = intake.services["intake"].runtime.store
    async with store.unit() as unit:
        told = await unit.stream("source/crm")
    assert [event.json()["active"] for event in told] == [True, False]
    assert b"secret" not in b"".join(event.data for event in told)


async def test_only_webhooks_have_secrets(intake: Running) -> None:
    assert "secret" not in await registered(intake.client, id="plain")
    assert (await intake.client.post("/intake/v1/sources/crm/rotate")).status_code == 409
    assert (await intake.client.post("/intake/v1/sources/none/rotate")).status_code == 404


async def test_rotation_shows_the_new_secret_once_and_keeps_the_old_ones_for_a_while(
    intake: Running, clock: SimulatedClock
) -> None:
    first = await registered(intake.client, id="desk", form="standard-webhooks")
    rotated = (await intake.client.post("/intake/v1/sources/desk/rotate", json={"keep_hours": 24})).json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != first["secret"]
    shown = (await intake.client.get("/intake/v1/sources/desk")).text
    assert first["secret"] not in shown
    assert rotated["secret"] not in shown
    assert len((await intake.client.get("/intake/v1/sources/desk")).json()["secrets"]) == 2
    clock.advance(timedelta(hours=25))
    assert len((await intake.client.get("/intake/v1/sources/desk")).json()["secrets"]) == 1


async def test_secrets_stand_nowhere_in_the_clear(intake: Running) -> None:
    secret = (await registered(intake.client, id="desk", form="standard-webhooks"))["secret"]
    raw = secret.removeprefix("whsec_").encode()
    for path in intake.environment.settings.data.iterdir():
        if path.is_file():
            assert raw not in path.read_bytes()


async def test_sources_are_there_after_a_restart(tmp_path: Any, clock: SimulatedClock) -> None:
    async with running(build, clock=clock, data=tmp_path) as world:
        await registered(world.client, defaults={"team": "norte"})
    async with running(build, clock=clock, data=tmp_path) as world:
        assert (await world.client.get("/intake/v1/sources/crm")).json()["defaults"] == {"team": "norte"}


async def test_sources_page_by_cursor(intake: Running) -> None:
    for name in ("a", "b", "zeta"):
        assert (await intake.client.post("/intake/v1/sources", json={"id": name})).status_code == 201
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(5):
        params: dict[str, str | int] = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await intake.client.get("/intake/v1/sources", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == ["a", "b", "crm", "zeta"]
