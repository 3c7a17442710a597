"""Versions of the rulebook over the public API: published once, led from one to the other."""

import asyncio
from typing import Any

import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification.app import build as classification
from tests.classification.test_crosswalk import FIRST, SECOND, THIRD
from tests.classification.test_service import START, YAML


async def send(run: Running, text: str, **headers: str) -> Any:
    path = "/classification/v1/rulebook/publish"
    return await run.client.post(path, content=text.encode(), headers={**YAML, **headers})


async def test_of_publications_at_once_those_that_were_overtaken_are_told_clearly_and_leave_nothing_G1() -> None:
    async with running(classification, clock=SimulatedClock(START)) as run:
        texts = [FIRST.replace("en: Small", f"en: Small {number}") for number in range(6)]
        answers = await asyncio.gather(*(send(run, text) for text in texts))
        stand = sum(answer.status_code == 201 for answer in answers)
        overtaken = [answer.json() for answer in answers if answer.status_code == 409]
        assert stand >= 1
        assert overtaken, "six at once, and none met another"
        assert stand + len(overtaken) == 6
        for told in overtaken:
            assert told["code"] == "rulebook-conflict"
            assert f"version {told['version']} was published meanwhile; nothing of this one was" in told["detail"]
        assert len((await run.client.get("/classification/v1/rulebook")).json()["versions"]) == stand


async def test_a_rulebook_is_published_only_after_the_version_it_was_made_from_when_that_is_said() -> None:
    async with running(classification, clock=SimulatedClock(START)) as run:
        assert (await send(run, FIRST, **{"if-match": '"1"'})).status_code == 412, "there is no version 1 yet"
        assert (await send(run, FIRST, **{"if-match": '"0"'})).status_code == 201
        late = await send(run, SECOND, **{"if-match": '"0"', "accept-language": "es"})
        assert late.status_code == 412
        assert "entretanto se publicó la versión 1" in late.json()["detail"]
        assert (await send(run, FIRST, **{"if-match": '"0"'})).status_code == 200, "the same content is there already"
        assert (await send(run, SECOND, **{"if-match": 'W/"1"'})).status_code == 201
        for wrong in ("one", '"-1"', '"9999999999"', '"1", "2"', ""):
            assert (await send(run, THIRD, **{"if-match": wrong})).status_code == 400, wrong
        assert (await send(run, THIRD, **{"if-match": "*"})).status_code == 201


async def test_the_crosswalk_between_any_two_versions_is_told_and_its_shares_make_a_whole_G1() -> None:
    async with running(classification, clock=SimulatedClock(START)) as run:
        path = "/classification/v1/rulebook/crosswalk"
        assert (await run.client.get(path, params={"from": 1, "to": 2})).status_code == 404
        for text in (FIRST, SECOND, THIRD):
            assert (await send(run, text)).status_code == 201
        forward = (await run.client.get(path, params={"from": 1, "to": 3})).json()
        assert forward["codes"]["fee"] == {
            "to": {"fee.account": 0.375, "fee.card": 0.375, "fee.once": 0.25},
            "even": True,
        }
        assert forward["codes"]["card"] == {"to": {"plastic": 1.0}, "even": False}
        back = (await run.client.get(path, params={"from": 3, "to": 1})).json()
        assert back["codes"]["plastic"] == {"to": {"card": 1.0}, "even": False}
        for walk in (forward, back):
            assert all(sum(step["to"].values()) == pytest.approx(1) for step in walk["codes"].values())
        causes = (await run.client.get(path, params={"from": 1, "to": 2, "section": "causes"})).json()
        assert causes["codes"]["few"]["to"] == {"few": 1.0}
        for query in ({"from": 1, "to": 9}, {"from": 9, "to": 1}):
            assert (await run.client.get(path, params=query)).status_code == 404
        for wrong in ("from=0&to=1", "from=1&to=x", "from=1", "from=1&to=2&section=norms"):
            assert (await run.client.get(f"{path}?{wrong}")).status_code == 422, wrong
