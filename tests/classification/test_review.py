"""The review queue with people at it: order, claims, bulk, blind second codings, corrections that are learnt."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import Evidence, InteractionClassified
from libs.events.catalogue.coding import SecondCodingRecorded
from libs.events.catalogue.interactions import Channel, Kind
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.coding import decision_row
from services.classification.domain.agreement import Pair, by_code, by_person, kappa
from services.classification.domain.alike import likeness
from services.classification.domain.review import PER_DAY, gain, sample, second_gain, waiting
from services.classification.reviewing import second_row
from services.intake.app import build as intake
from tests.classification.test_service import OPERATOR, START, contact, publish, send, source
from tests.conftest import Engines

QUEUE = "/classification/v1/review-queue"
STRANGE = "algo raro pasa con lo mío"


@asynccontextmanager
async def office(
    *texts: str, clock: SimulatedClock | None = None, **settings: Any
) -> AsyncIterator[tuple[Running, list[str]]]:
    """Intake and classification, a published rulebook, and these texts coded."""
    async with running(intake, classification, clock=clock or SimulatedClock(START), **settings) as run:
        await source(run)
        assert (await publish(run)).status_code == 201
        sent = await send(run, [contact(number, text) for number, text in enumerate(texts)]) if texts else []
        await run.settle()
        yield run, sent


async def claim(run: Running, person: str, **body: Any) -> list[dict[str, Any]]:
    answer = await run.client.post(f"{QUEUE}/claim", json={"by": person, **body})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def label(run: Running, identity: str, motive: str, person: str, **body: Any) -> Any:
    path = f"/classification/v1/interactions/{identity}/label"
    return await run.client.post(path, json={"motive": motive, "by": person, **body})


def decided(**fields: Any) -> InteractionClassified:
    values: dict[str, Any] = {
        "interaction_id": "i",
        "customer_id": "c",
        "occurred_at": START,
        "kind": Kind.COMPLAINT,
        "channel": Channel.PHONE,
        "motive": "billing.refund",
        "cause": "unknown",
        "confidence": 0.5,
        "rulebook_version": 1,
        "model_version": "m",
    }
    return InteractionClassified(**values | fields)


# The order ----------------------------------------------------------------------------------------------------------


def test_gain_grows_with_uncertainty_novelty_severity_and_waiting() -> None:
    known = [Evidence(code="billing.refund", term="t", weight=4.0)]
    base = gain(decided(evidence=known), START)
    assert waiting(base, START) == pytest.approx(0.5 * (1 + 0.5 * 0.5))
    assert gain(decided(evidence=known, confidence=0.4), START) > base
    assert gain(decided(evidence=[]), START) > base
    assert gain(decided(motive="unknown", evidence=known), START) > base
    assert gain(decided(evidence=known, severity="high"), START) == pytest.approx(base + 0.5)
    assert gain(decided(evidence=known), START - timedelta(days=3)) == pytest.approx(base + 3 * PER_DAY)
    assert waiting(second_gain(START), START + timedelta(days=2)) == pytest.approx(0.75 + 2 * PER_DAY)


def test_the_sample_is_the_same_for_everybody_and_spread_evenly() -> None:
    numbers = [sample(f"interaction-{number}") for number in range(20_000)]
    assert numbers[:5] == [sample(f"interaction-{number}") for number in range(5)]
    assert sum(number < 0.05 for number in numbers) == pytest.approx(1000, abs=100)  # 3.2 standard deviations


def test_likeness_is_by_shared_words_and_their_order() -> None:
    near, far, same = likeness(
        "no llega la factura al correo",
        ["la factura no llega a mi correo", "el técnico no vino", "no llega la factura al correo"],
    )
    assert same == pytest.approx(1.0)
    assert same > near > 0.2 > far
    assert likeness("", ["algo"]) == [0.0]
    assert likeness("algo", ["", "😀 😀"]) == [0.0, 0.0]


async def test_the_queue_is_in_the_order_of_gain_and_pages_without_gap_or_repeat() -> None:
    texts = [
        STRANGE,
        "No tengo internet, se cayó el internet",
        "cobro",
        "internet lento a veces",
        "quiero hablar",
        "hola",
    ]
    async with office(*texts) as (run, _):
        whole = (await run.client.get(QUEUE, params={"limit": 100})).json()["items"]
        assert len(whole) >= 3
        assert [item["gain"] for item in whole] == sorted((item["gain"] for item in whole), reverse=True)
        paged: list[str] = []
        cursor = None
        while True:
            page = (await run.client.get(QUEUE, params={"limit": 1} | ({"cursor": cursor} if cursor else {}))).json()
            paged += [item["interaction_id"] for item in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert paged == [item["interaction_id"] for item in whole]


# Claims --------------------------------------------------------------------------------------------------------------


async def test_two_people_at_once_never_get_the_same_item(engines: Engines) -> None:
    async with office(*[f"{STRANGE} {number}" for number in range(40)], engines=engines) as (run, sent):
        got = await asyncio.gather(*(claim(run, f"person-{number % 4}", count=3) for number in range(12)))
        by_person: dict[str, set[str]] = {}
        for items in got:
            for item in items:
                by_person.setdefault(item["person"], set()).add(item["interaction_id"])
        everything = [identity for held in by_person.values() for identity in held]
        assert len(everything) == len(set(everything))
        assert set(everything) <= set(sent)
        shown = (await run.client.get(QUEUE, params={"limit": 100})).json()["items"]
        assert {item["interaction_id"]: item["claimed_by"] for item in shown if item["claimed_by"]} == {
            identity: person for person, held in by_person.items() for identity in held
        }


async def test_a_claim_runs_out_and_whoever_was_too_late_does_not_undo_the_other() -> None:
    clock = SimulatedClock(START)
    async with office(STRANGE, clock=clock) as (run, sent):
        assert [item["interaction_id"] for item in await claim(run, "ana")] == sent
        assert await claim(run, "ben") == []
        assert (await label(run, sent[0], "care.wait", "ben")).status_code == 409
        clock.advance(timedelta(minutes=16))
        assert [item["interaction_id"] for item in await claim(run, "ben")] == sent
        assert (await label(run, sent[0], "care.wait", "ben", revision=1)).status_code == 200
        late = await label(run, sent[0], "care.rude", "ana", revision=1)
        assert (late.status_code, late.json()["errors"][0]["code"]) == (409, "moved-on")
        assert (await run.client.get(f"/classification/v1/interactions/{sent[0]}")).json()["motive"] == "care.wait"
        assert (await run.client.get(QUEUE)).json()["items"] == []


async def test_released_and_passed_over_items_go_to_others() -> None:
    async with office(STRANGE, STRANGE + " otra vez") as (run, sent):
        first = (await claim(run, "ana"))[0]["interaction_id"]
        answer = await run.client.post(f"{QUEUE}/release", json={"by": "ana", "interaction_ids": [first]})
        assert answer.json() == {"released": 1}
        other = (await claim(run, "ana", without=[first]))[0]["interaction_id"]
        assert {first, other} == set(sent)
        assert [item["interaction_id"] for item in await claim(run, "ben", count=5)] == [first]


async def test_one_item_shows_its_words_the_best_codes_why_and_precedents_R96() -> None:
    words = "No me llega la factura al correo, reclamo"
    async with office(words, "La factura no me llega nunca al correo", "el técnico no vino") as (run, sent):
        assert (await label(run, sent[1], "billing.invoice", "ana")).status_code == 200
        found = (await run.client.get(f"{QUEUE}/{sent[0]}")).json()
        assert found["contact"]["text"] == words
        assert 1 <= len(found["candidates"]) <= 3
        best = found["candidates"][0]
        assert best["motive"] == found["decision"]["motive"]
        assert best["evidence"]
        chances = [item["confidence"] for item in found["candidates"]]
        assert chances == sorted(chances, reverse=True)
        reader = await run.key_for("classification:read")
        assert (await run.client.get(f"{QUEUE}/{sent[0]}", headers=reader)).status_code == 403
        assert (await run.client.get(f"{QUEUE}/nobody")).status_code == 404
        near = [item for item in found["precedents"] if item["interaction_id"] == sent[1]]
        assert near
        assert (near[0]["motive"], near[0]["by"]) == ("billing.invoice", "ana")


# Decisions -----------------------------------------------------------------------------------------------------------


async def test_alike_items_are_decided_after_one_look_each_with_its_own_event_and_result() -> None:
    alike = [f"algo raro pasa con lo mío desde {day}" for day in ("lunes", "martes", "jueves")]
    async with office(*alike, "zapatos verdes quizá") as (run, sent):
        await claim(run, "ben", without=sent[:2] + sent[3:])
        found = (await run.client.get(f"{QUEUE}/{sent[0]}/alike", params={"by": "ana"})).json()["items"]
        assert [item["interaction_id"] for item in found] == [sent[1]]
        body = {"interaction_ids": [*sent[:3], "nobody", sent[0]], "motive": "care.wait", "by": "ana"}
        answer = await run.client.post(
            "/classification/v1/interactions/label-many", json=body, headers={"idempotency-key": "once"}
        )
        assert answer.status_code == 200, answer.text
        results = {item["interaction_id"]: item for item in answer.json()["results"]}
        assert [results[identity]["status"] for identity in [*sent[:3], "nobody"]] == [
            "labelled",
            "labelled",
            "refused",
            "refused",
        ]
        assert results[sent[2]]["problem"]["code"] == "claimed"
        assert results["nobody"]["problem"]["status"] == 404
        again = await run.client.post(
            "/classification/v1/interactions/label-many", json=body, headers={"idempotency-key": "once"}
        )
        assert again.json() == answer.json()
        await rows_are_a_fold(run, sent)


async def test_the_first_decision_is_hidden_from_the_second_person_and_kappa_is_told_R07(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAZO_CLASSIFICATION_SECOND_SHARE", "1")
    async with office(STRANGE, STRANGE + " hoy") as (run, sent):
        for identity in sent:
            assert (await label(run, identity, "care.wait", "ana", cause="ivr_maze")).status_code == 200
        assert await claim(run, "ana") == []
        items = await claim(run, "ben", count=2)
        assert {(item["interaction_id"], item["purpose"]) for item in items} == {(one, "second") for one in sent}
        shown = await run.client.get(f"{QUEUE}/{sent[0]}", params={"by": "ben"})
        assert shown.json()["purpose"] == "second"
        assert shown.json()["decision"] is None
        assert "ana" not in shown.text
        assert "ivr_maze" not in {
            one["cause"] for one in shown.json()["precedents"] if one["interaction_id"] == sent[0]
        }
        path = "/classification/v1/interactions/{}/second-coding"
        refused = await run.client.post(path.format(sent[0]), json={"motive": "care.wait", "by": "eva"})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "not-claimed")
        wrong = await run.client.post(path.format(sent[0]), json={"motive": "no.such", "by": "ben"})
        assert wrong.status_code == 422
        one = await run.client.post(
            path.format(sent[0]), json={"motive": "care.wait", "cause": "ivr_maze", "by": "ben"}
        )
        two = await run.client.post(path.format(sent[1]), json={"motive": "care.rude", "by": "ben"})
        assert (one.status_code, two.status_code) == (201, 201), two.text
        assert (
            await run.client.post(path.format(sent[1]), json={"motive": "care.rude", "by": "ben"})
        ).status_code == 409
        still = (await run.client.get(f"/classification/v1/interactions/{sent[1]}")).json()
        assert (still["motive"], still["by"]) == ("care.wait", "ana")
        told = (await run.client.get("/classification/v1/agreement")).json()
        assert (told["pairs"], told["disagreements"]) == (2, 1)
        assert told["motive"]["observed"] == 0.5
        assert {item["person"] for item in told["by_person"]} == {"ana", "ben"}
        differing = (await run.client.get("/classification/v1/second-codings", params={"disagreed": True})).json()
        assert [item["interaction_id"] for item in differing["items"]] == [sent[1]]
        async with run.services["classification"].runtime.store.unit() as unit:
            rows = [dict(row._mapping) for row in await unit.connection.execute(select(tables.second_codings))]
            events = [decode((await unit.stream(f"second-coding/{identity}"))[0]) for identity in sent]
        fold = [second_row(event) for event in events if isinstance(event, SecondCodingRecorded)]
        assert sorted(rows, key=lambda row: row["interaction_id"]) == sorted(
            fold, key=lambda row: row["interaction_id"]
        )


async def test_a_correction_is_learnt_right_after_it_was_committed_and_only_once_said() -> None:
    async with office(STRANGE) as (run, sent):
        await label(run, sent[0], "care.wait", "ana", cause="ivr_maze")
        await label(run, sent[0], "care.wait", "ana", cause="ivr_maze")
        await run.settle()
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            rows = (await connection.execute(select(tables.corrections))).all()
        assert [(row.interaction_id, row.motive, row.cause) for row in rows] == [(sent[0], "care.wait", "ivr_maze")]
        told = (await run.client.get("/classification/metrics")).text
        assert "lazo_coder_taught 1.0" in told
        shown = (await run.client.get("/classification/v1/models")).json()
        assert shown["live"].endswith(f"+online@{rows[0].number}")


async def test_nobody_labels_what_was_erased_is_unknown_or_was_retired_before_the_contact() -> None:
    retired = OPERATOR.replace(b"  - code: care.rude\n", b"  - code: care.rude\n    until: 2020-01-01\n", 1)
    assert retired != OPERATOR
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        assert (await publish(run, retired)).status_code == 201
        sent = await send(run, [contact(1, STRANGE), contact(2, STRANGE)])
        await run.settle()
        refused = await label(run, sent[0], "care.rude", "ana")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "retired-code")
        assert (await label(run, "nobody", "care.wait", "ana")).status_code == 404
        person = (await run.client.get(f"/classification/v1/interactions/{sent[0]}")).json()["customer_id"]
        await run.environment.vault.erase(person)
        gone = await label(run, sent[0], "care.wait", "ana")
        assert (gone.status_code, gone.json()["errors"][0]["code"]) == (409, "erased")
        shown = (await run.client.get(f"{QUEUE}/{sent[0]}")).json()
        assert shown["erased"]
        assert shown["contact"]["text"] is None
        assert shown["precedents"] == []
        assert (await label(run, sent[1], "care.wait", "ana")).status_code == 200
        await rows_are_a_fold(run, sent)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("review-queue/claim", {"count": 0}),
        ("review-queue/claim", {"count": 21}),
        ("review-queue/claim", {"purpose": "all"}),
        ("review-queue/claim", {"without": ["x"] * 201}),
        ("review-queue/release", {"interaction_ids": "all"}),
        ("interactions/label-many", {"interaction_ids": [], "motive": "care.wait"}),
        ("interactions/label-many", {"interaction_ids": ["x"] * 201, "motive": "care.wait"}),
        ("interactions/label-many", {"interaction_ids": ["x"]}),
        ("interactions/x/second-coding", {"motive": ""}),
        ("interactions/x/label", {"motive": "care.wait", "revision": 0}),
    ],
)
async def test_hostile_bodies_get_a_problem_document(path: str, body: Any) -> None:
    async with running(classification, clock=SimulatedClock(START)) as run:
        answer = await run.client.post(f"/classification/v1/{path}", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


# Agreement -----------------------------------------------------------------------------------------------------------


def test_kappa_is_what_a_hand_calculation_gives_R07() -> None:
    # 20 both yes, 5 first only, 10 second only, 15 both no: po = 0.7, pe = 0.5 · 0.6 + 0.5 · 0.4 = 0.5, kappa = 0.4.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = kappa(pairs)
    assert (found.observed, found.expected, found.pairs) == (0.7, 0.5, 50)
    assert found.value == pytest.approx(0.4)
    error = (0.7 * 0.3 / 50) ** 0.5 / 0.5
    assert (found.low, found.high) == pytest.approx((0.4 - 1.959964 * error, 0.4 + 1.959964 * error))
    assert kappa([("y", "n"), ("n", "y")]).value == pytest.approx(-1.0)
    assert kappa([]).value is None
    assert kappa([("y", "y")] * 3).value is None


def test_kappa_of_a_code_and_of_a_person() -> None:
    pairs = (
        [Pair("a", "a", "ana", "ben")] * 6
        + [Pair("b", "b", "ben", "ana")] * 2
        + [Pair("a", "b", "ana", "eva")] * 1
        + [Pair("c", "c", "ben", "eva")] * 1
    )
    # Of a: 6 both, 1 first only, 3 neither: po = 0.9, pe = 0.7 · 0.6 + 0.3 · 0.4 = 0.54.
    assert by_code(pairs)["a"].value == pytest.approx((0.9 - 0.54) / 0.46)
    assert by_code(pairs)["c"].value == pytest.approx(1.0)
    # Ana said a a a a a a b b a, the others a a a a a a b b b: po = 8/9, pe = 7/9 · 6/9 + 2/9 · 3/9 = 48/81.
    assert by_person(pairs)["ana"].value == pytest.approx((8 / 9 - 48 / 81) / (1 - 48 / 81))
    assert by_person(pairs)["ana"].pairs == 9


async def rows_are_a_fold(run: Running, identities: Sequence[str]) -> None:
    """The stored rows are what the streams alone say."""
    async with run.services["classification"].runtime.store.unit() as unit:
        rows = {
            row.interaction_id: dict(row._mapping) for row in await unit.connection.execute(select(tables.decisions))
        }
        for identity in identities:
            last = (await unit.stream(f"classification/{identity}"))[-1]
            newest = decode(last)
            assert isinstance(newest, InteractionClassified)
            assert rows[identity] == decision_row(newest, last.time)
