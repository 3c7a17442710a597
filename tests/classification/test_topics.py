"""What fits nothing comes up as topics, is shown to people, and never codes anything by itself (R73)."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.rulebook import ProcedureSigned, TopicEmerged
from libs.events.clock import SimulatedClock
from libs.service import keys
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.coding import decision_row
from services.classification.domain.signatures import fold as fold_signatures
from services.classification.domain.topics import MOST_TEXTS, SMALLEST, Text, group
from services.classification.emerging import Standing, evolve
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from tests.classification.test_service import START, contact, publish, send, source

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPENERS = ["Buenas tardes, les escribo con atención.", "Señores, por favor lean esto.", "Cordial saludo a todos.", ""]
PARKING = [
    "El parqueadero de la sede queda lejos",
    "Cobran el parqueadero por hora completa",
    "No hay parqueadero para bicicletas en la sede",
]
BRAILLE = [
    "Quiero el contrato en braille",
    "El contrato no existe en braille",
    "Necesito letra grande o braille en el contrato",
]


def said(rng: random.Random, phrases: list[str]) -> str:
    """An opener and two of the phrases, as people write."""
    return ". ".join([rng.choice(OPENERS), *rng.sample(phrases, min(2, len(phrases)))])


def texts(phrases: list[str], count: int, name: str, people: int = 50, seed: int = 1) -> list[Text]:
    rng = random.Random(seed)
    return [
        Text.of(f"{name}-{number}", f"cus_{number % people}", NOW + timedelta(hours=number), said(rng, phrases))
        for number in range(count)
    ]


def test_alike_texts_become_topics_with_their_size_their_customers_and_words_that_several_wrote_R73() -> None:
    coded = texts(["No tengo internet desde ayer", "Me cobraron dos veces la factura"], 80, "c", seed=2)
    given = [*texts(PARKING, 30, "p"), *texts(BRAILLE, 12, "b", seed=3)]
    found = group(given, coded)
    assert [topic.members[0].partition("-")[0] for topic in found] == ["p", "b"]
    assert {member.partition("-")[0] for member in found[0].members} == {"p"}
    assert "parqueadero" in found[0].words
    assert "braille" in found[1].words
    assert found[0].customers == found[0].size
    assert not {"buenas", "cordial", "saludo", "senores"} & {word for topic in found for word in topic.words}
    assert (found[0].first_at, found[0].last_at) == (NOW, NOW + timedelta(hours=29))


def test_the_same_texts_give_the_same_topics_in_any_order() -> None:
    given = [*texts(PARKING, 30, "p"), *texts(BRAILLE, 12, "b", seed=3)]
    found = group(given)
    for seed in range(5):
        shuffled = list(given)
        random.Random(seed).shuffle(shuffled)
        assert group(shuffled) == found


def test_one_customer_who_writes_often_is_no_topic_and_few_texts_are_none() -> None:
    assert group(texts(PARKING, 30, "p", people=2)) == []
    assert group(texts(PARKING, SMALLEST - 1, "p")) == []
    assert group([]) == []
    assert group([Text.of(f"e-{number}", f"cus_{number}", NOW, "XXXX 😡") for number in range(30)]) == []


def test_a_name_that_one_customer_wrote_is_never_shown_as_a_word_of_the_topic() -> None:
    phrases = [f"{phrase} firmado Nepomuceno" for phrase in PARKING]
    given = [
        *texts(PARKING, 30, "p"),
        *(Text.of(f"n-{number}", "cus_n", NOW, phrases[number % 3]) for number in range(12)),
    ]
    assert "nepomuceno" not in {word for topic in group(given) for word in topic.words}


def test_a_topic_keeps_its_id_while_it_grows_and_the_newest_texts_count() -> None:
    first = group(texts(PARKING, 10, "p"))
    before = {topic.topic_id: frozenset(topic.members) for topic in first}
    grown = group([*texts(PARKING, 60, "p"), *texts(BRAILLE, 9, "b", seed=3)], (), before)
    assert first[0].topic_id in {topic.topic_id for topic in grown}
    assert next(topic for topic in grown if topic.topic_id == first[0].topic_id).size > 40
    many = group(texts(PARKING, MOST_TEXTS + 200, "p", people=500))
    assert sum(topic.size for topic in many) <= MOST_TEXTS


async def test_topics_come_up_are_opened_for_who_may_read_and_settled_by_people_alone_R73() -> None:
    clock = SimulatedClock(START)
    async with running(intake, classification, clock=clock) as run:
        await source(run)
        await publish(run)
        rng = random.Random(4)
        items = [contact(number, said(rng, PARKING)) for number in range(14)]
        sent = await send(run, items)
        await run.settle()
        assert await topics(run) == [], "not searched yet"
        clock.advance(timedelta(hours=25))
        await run.settle()
        found = await topics(run)
        assert len(found) == 1
        topic = found[0]
        assert (topic["size"], topic["customers"], topic["state"]) == (14, 14, "emerging")
        texts_by_id = {sent[number]: item["text"] for number, item in enumerate(items)}
        assert all(texts_by_id[one["interaction_id"]] == one["text"] for one in topic["examples"])
        reader = await key(run, "classification:read")
        seen = (await run.client.get("/classification/v1/topics", headers=reader)).json()["items"]
        assert "text" not in seen[0]["examples"][0]
        for identity in sent:
            shown = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
            assert (shown["motive"], shown["revision"], shown["unknown_because"]) == ("unknown", 1, "no_match")

        path = f"/classification/v1/topics/{topic['topic_id']}"
        refused = await run.client.post(f"{path}/propose", json={"motive": "care.wait"})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "code-taken")
        proposed = await run.client.post(f"{path}/propose", json={"motive": "sites.parking", "by": "ana"})
        assert (proposed.status_code, proposed.json()["draft"]["code"]) == (200, "sites.parking")
        assert await topics(run) == []
        assert [one["motive"] for one in await topics(run, "proposed")] == ["sites.parking"]
        assert (await run.client.post("/classification/v1/topics/none/dismiss", json={})).status_code == 404

        # More of the same is the same topic, and what was dismissed does not come up again.
        assert (await run.client.post(f"{path}/dismiss", json={})).status_code == 200
        await send(run, [contact(100 + number, said(rng, PARKING)) for number in range(8)])
        await run.settle()
        assert (await run.client.post("/classification/v1/topics/search")).json() == {"topics": 1, "texts": 22}
        assert await topics(run) == []
        dismissed = await topics(run, "dismissed")
        assert [(one["topic_id"], one["size"]) for one in dismissed] == [(topic["topic_id"], 22)]

        store = run.services["classification"].runtime.store
        async with store.unit() as unit:
            state: Standing | None = None
            events = await unit.stream(f"topic/{topic['topic_id']}")
            for event in events:
                state = evolve(state, decode(event))
            row = (await unit.connection.execute(select(tables.topics))).one()
        assert isinstance(decode(events[0]), TopicEmerged)
        assert state == Standing(row.state, row.motive, row.by, row.settled_at)


async def test_a_person_who_is_erased_is_no_example_and_no_precedent_any_more_G5() -> None:
    clock = SimulatedClock(START)
    async with running(intake, classification, clock=clock) as run:
        await source(run)
        await publish(run)
        await send(run, [contact(number, PARKING[number % 3]) for number in range(9)])
        coded = await send(run, [contact(50, "Desde ayer no tengo internet en la casa, se cayó el internet")])
        await run.settle()
        customer = (await run.client.get(f"/classification/v1/interactions/{coded[0]}")).json()["customer_id"]
        again = await send(run, [contact(51, "Desde ayer no tengo internet en la casa, se cayó el internet")])
        await run.settle()
        shown = (await run.client.get(f"/classification/v1/interactions/{again[0]}")).json()
        assert [one["interaction_id"] for one in shown["precedents"]] == [coded[0]]
        assert shown["parts"]["motive"]["precedents"][0]["similarity"] == 1.0
        assert (await run.client.delete(f"/intake/v1/customers/{customer}")).status_code in {200, 202, 204}
        await run.settle()
        later = await send(run, [contact(52, "Desde ayer no tengo internet en la casa, se cayó el internet")])
        await run.settle()
        shown = (await run.client.get(f"/classification/v1/interactions/{later[0]}")).json()
        assert [one["interaction_id"] for one in shown["precedents"]] == [again[0]]


async def test_every_part_says_who_decided_how_sure_and_under_which_versions_and_what_a_team_had_signed_G10_R24() -> (
    None
):
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        text = "Me cobraron dos veces el mismo cargo en la factura. Exijo una solución"
        path = "/classification/v1/procedures/pr-billing-claim/signatures"
        body = {"version": 2, "team": "north", "signed_at": (START - timedelta(days=2)).isoformat()}
        assert (await run.client.post(path, json=body)).status_code == 201
        assert (await run.client.post(path, json=body)).status_code == 200
        for wrong, status in (
            ({**body, "version": 9}, 422), ({**body, "signed_at": (START + timedelta(days=1)).isoformat()}, 422),
        ):  # fmt: skip
            assert (await run.client.post(path, json=wrong)).status_code == status
        assert (await run.client.post("/classification/v1/procedures/none/signatures", json=body)).status_code == 404
        early = (START - timedelta(days=3)).isoformat()
        sent = await send(
            run,
            [
                contact(1, text, team="north"), contact(2, text, team="south"), contact(3, text),
                contact(4, text, team="north", occurred_at=early),
            ],
        )  # fmt: skip
        await run.settle()
        shown = [(await run.client.get(f"/classification/v1/interactions/{one}")).json() for one in sent]
        assert [one["signed"] for one in shown] == [True, False, None, False]
        assert {one["procedure_version"] for one in shown} == {2}
        one = shown[0]
        parts = one["parts"]
        assert {"kind", "need", "motive", "severity", "procedure", "norm", "route"} <= set(parts)
        assert parts["need"]["value"] == "stated"
        for name, part in parts.items():
            assert part["value"] == one[name], name
            assert part["decided_by"] in {"rule", "model", "person"}
            assert 0 <= part["confidence"] <= 1
            assert part["rulebook_version"] == 1
        assert parts["motive"]["evidence"]
        assert parts["norm"]["follows_from"] == "motive"

        label = {"motive": "care.rude", "by": "ana"}
        after = (await run.client.post(f"/classification/v1/interactions/{sent[1]}/label", json=label)).json()
        assert (after["parts"]["motive"]["decided_by"], after["parts"]["motive"]["by"]) == ("person", "ana")
        assert (after["parts"]["need"]["decided_by"], after["parts"]["need"]["model_version"]) == ("rule", "words-3@1")
        assert [entry["motive"] for entry in after["history"]] == [one["motive"], "care.rude"]
        assert after["history"][0]["parts"]["motive"]["evidence"], "what was decided before stays as it was"

        store = run.services["classification"].runtime.store
        async with store.unit() as unit:
            signed = [decode(event) for event in await unit.stream("procedure/pr-billing-claim")]
            rows = (await unit.connection.execute(select(tables.signatures))).all()
            events = [event for one in sent for event in await unit.stream(f"classification/{one}")]
            newest = {
                event.subject: decision_row(data, event.time)
                for event in events
                if isinstance(data := decode(event), InteractionClassified)
            }
            stored = {
                row["interaction_id"]: dict(row)
                for row in (await unit.connection.execute(select(tables.decisions))).mappings()
            }
        folded = fold_signatures(one for one in signed if isinstance(one, ProcedureSigned))
        assert {(row.procedure, row.version, row.team): row.signed_at for row in rows} == folded
        assert stored == {row["interaction_id"]: row for row in newest.values()}


async def test_what_two_versions_say_of_the_same_cases_is_answered_over_http_G1() -> None:
    async with running(intake, classification, indicators, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        await run.settle()
        asked = {"before": "1", "after": "1", "from": "2026-01-01"}
        found = (await run.client.get("/indicators/v1/crosswalk", params=asked)).json()
        assert (found["cases"], found["items"], found["moved"]) == (0, [], 0)
        missing = await run.client.get("/indicators/v1/crosswalk", params={**asked, "after": "2"})
        assert (missing.status_code, missing.json()["errors"][0]["code"]) == (422, "unknown-version")
        wrong = await run.client.get("/indicators/v1/pareto", params={"rulebook": "1", "carry": "sideways"})
        assert wrong.status_code == 422


async def topics(run: Running, state: str = "emerging") -> list[dict[str, Any]]:
    answer = await run.client.get("/classification/v1/topics", params={"state": state})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def key(run: Running, scope: str) -> dict[str, str]:
    made = await keys.create(run.environment.vault, f"test {scope}", [scope])
    return {"authorization": f"Bearer {made}"}
