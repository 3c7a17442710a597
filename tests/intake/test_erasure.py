"""Erasing a person: nothing of theirs opens again, everybody is told once, and a crash in between is made good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from libs.events.catalogue.interactions import CustomerErased
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.intake.app import build
from services.intake.erasure import Erasure
from tests.intake.conftest import registered
from tests.intake.test_api_interactions import published
from tests.intake.test_case_updates import events

Make = Callable[..., dict[str, Any]]


async def test_after_erasing_nothing_of_the_person_opens_and_the_statistics_stay_G5(
    either: Running, element: Make
) -> None:
    await either.client.post("/intake/v1/interactions", json=[element("1"), element("2", customer={"id": "other"})])
    first = next(data for data in await published(either) if data.external_id == "1")
    answer = await either.client.delete(f"/intake/v1/customers/{first.customer_id}")
    assert answer.status_code == 200
    shown = (await either.client.get(f"/intake/v1/interactions/{first.interaction_id}")).json()
    assert (shown["text"], shown["customer"]["email"], shown["customer"]["name"]) == (None, None, None)
    assert (shown["kind"], shown["product"], shown["channel"]) == ("claim", "internet", "web")
    told = [event for event in await events(either) if event.type == CustomerErased.TYPE]
    assert [event.partitionkey for event in told] == [first.customer_id]
    other = next(data for data in await published(either) if data.external_id == "2")
    assert (await either.client.get(f"/intake/v1/interactions/{other.interaction_id}")).json()["text"]


async def test_erasing_twice_answers_the_same_and_tells_once(intake: Running, element: Make) -> None:
    await intake.client.post("/intake/v1/interactions", json=element())
    first = await intake.client.delete("/intake/v1/customers/88213", params={"source": "crm", "reason": "Ley 1581"})
    person = first.json()["customer_id"]
    again = await intake.client.delete(f"/intake/v1/customers/{person}")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    told = [event.json() for event in await events(intake) if event.type == CustomerErased.TYPE]
    assert [event["reason"] for event in told] == ["Ley 1581"]


async def test_what_each_customer_expects_is_kept_with_them_sealed_and_goes_with_them_R66(
    intake: Running, element: Make
) -> None:
    """A personal expectation is an attribute of the contact: the customer's own, under the customer's own key (R66)."""
    wanted = {"1": "respuesta antes del viernes", "2": "que me llame una persona"}
    items = [
        element(number, customer={"id": f"k-{number}"}, attributes={"expectation": said, "visits": 2})
        for number, said in wanted.items()
    ]
    answer = (await intake.client.post("/intake/v1/interactions", json=items)).json()
    places = [f"/intake/v1/interactions/{result['id']}" for result in answer["results"]]
    shown = [(await intake.client.get(place)).json()["attributes"] for place in places]
    assert shown == [{"expectation": said, "visits": 2} for said in wanted.values()]
    assert not any(said.encode() in event.data for event in await events(intake) for said in wanted.values())
    await intake.client.delete("/intake/v1/customers/k-1", params={"source": "crm"})
    shown = [(await intake.client.get(place)).json()["attributes"] for place in places]
    assert shown == [None, {"expectation": wanted["2"], "visits": 2}]


async def test_an_unknown_person_is_404(intake: Running) -> None:
    assert (await intake.client.delete("/intake/v1/customers/cus_nobody")).status_code == 404
    assert (await intake.client.delete("/intake/v1/customers/7", params={"source": "crm"})).status_code == 404


async def test_who_comes_back_after_being_erased_is_somebody_new(intake: Running, element: Make) -> None:
    await intake.client.post("/intake/v1/interactions", json=element("1"))
    erased = (await intake.client.delete("/intake/v1/customers/88213", params={"source": "crm"})).json()["customer_id"]
    await intake.client.post("/intake/v1/interactions", json=element("2"))
    people = {data.external_id: data.customer_id for data in await published(intake)}
    assert people["1"] == erased != people["2"]


async def test_no_file_holds_the_person_in_the_clear_before_or_after_G5(intake: Running, element: Make) -> None:
    await intake.client.post("/intake/v1/interactions", json=element(text="palabras inconfundibles"))
    await intake.client.delete("/intake/v1/customers/88213", params={"source": "crm"})
    await intake.settle()
    for path in intake.environment.settings.data.iterdir():
        if path.is_file():
            held = path.read_bytes()
            for secret in (b"palabras inconfundibles", b"ana@example.org", b"3001234567", b"Ana Ruiz", b"88213"):
                assert secret not in held, (path.name, secret)


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", ["_destroy", "_tell"])
async def test_a_crash_between_the_steps_is_made_good_at_the_next_start_G5(
    tmp_path: Path, clock: SimulatedClock, element: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The wish is durable first: whichever step the process does not live to see is done by the timer after a restart."""
    async with running(build, clock=clock, data=tmp_path) as world:
        await registered(world.client)
        await world.client.post("/intake/v1/interactions", json=element())
        [data] = await published(world)

        async def crash(*_: Any) -> None:
            raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(Erasure, step, crash)
            answer = await world.client.delete(f"/intake/v1/customers/{data.customer_id}")
            assert answer.status_code == 500
    clock.advance(timedelta(minutes=1))
    async with running(build, clock=clock, data=tmp_path) as world:
        await world.settle()
        shown = (await world.client.get(f"/intake/v1/interactions/{data.interaction_id}")).json()
        assert shown["text"] is None
        told = [event for event in await events(world) if event.type == CustomerErased.TYPE]
        assert len(told) == 1
        assert (await world.client.delete(f"/intake/v1/customers/{data.customer_id}")).status_code == 200
        told = [event for event in await events(world) if event.type == CustomerErased.TYPE]
        assert len(told) == 1
