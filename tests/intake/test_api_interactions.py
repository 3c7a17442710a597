"""POST interactions: given a registered source, when something is sent, then each element has its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from libs.events.catalogue import decode
from libs.events.catalogue.interactions import Effects, InteractionRecorded
from libs.events.cloudevent import CloudEvent, to_http_batch, to_http_binary, to_http_structured
from libs.events.envelope import from_record
from libs.events.ids import natural_id
from libs.events.log import TopicPartition
from libs.service.testing import Running

Make = Callable[..., dict[str, Any]]
Post = Callable[..., Any]


async def published(intake: Running) -> list[InteractionRecorded]:
    """Every interaction in the log, as any consumer would read it."""
    await intake.settle()
    log, found = intake.environment.log, []
    for partition, end in (await log.ends("lazo.interactions")).items():
        for record in await log.read(TopicPartition("lazo.interactions", partition), 0, max(end, 1)):
            data = decode(from_record(record))
            if isinstance(data, InteractionRecorded):
                found.append(data)
    return found


async def test_one_object_is_202_once_durable_and_published_sealed_R01(either: Running, element: Make) -> None:
    answer = await either.client.post("/intake/v1/interactions", json=element())
    interaction_id = natural_id("interaction", "crm", "T-1")
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": 0,
        "results": [{"index": 0, "id": interaction_id, "status": "accepted"}],
    }
    [data] = await published(either)
    assert (data.interaction_id, data.origin, data.external_id) == (interaction_id, "crm", "T-1")
    assert data.customer_id.startswith("cus_")
    for sealed in (data.text, data.email, data.phone, data.customer_name, data.identifiers):
        assert str(sealed).startswith("lz1.")
    shown = (await either.client.get(f"/intake/v1/interactions/{interaction_id}")).json()
    assert shown["text"] == "Me cobraron dos veces la misma factura."
    assert shown["customer"]["phone"] == "+573001234567"


async def test_array_and_ndjson_answer_element_by_element(post: Post, intake: Running, element: Make) -> None:
    mixed = [element("1"), element("2", channel="fax"), element("3"), element("1")]
    status, answer = await post(mixed)
    assert (status, answer["accepted"], answer["duplicates"], answer["rejected"]) == (202, 2, 1, 1)
    assert [result["status"] for result in answer["results"]] == ["accepted", "rejected", "accepted", "duplicate"]
    assert [result["index"] for result in answer["results"]] == [0, 1, 2, 3]
    assert answer["results"][1]["problem"]["errors"][0]["pointer"] == "/1/channel"
    assert answer["results"][3]["id"] == answer["results"][0]["id"]

    body = b"\n".join([orjson.dumps(element("4")), b"{", orjson.dumps(element("5")), b""])
    status, answer = await post(body, content_type="application/x-ndjson")
    assert [result["status"] for result in answer["results"]] == ["accepted", "rejected", "accepted"]
    assert len(await published(intake)) == 4


async def test_all_bad_is_422_in_a_problem_document_of_the_same_shape(post: Post, element: Make) -> None:
    status, answer = await post([element("1", kind="anger"), {}])
    assert status == 422
    assert answer["status"] == 422
    assert answer["title"]
    assert (answer["accepted"], answer["rejected"], len(answer["results"])) == (0, 2, 2)
    assert {error["pointer"] for error in answer["errors"]} >= {"/0/kind", "/1/source", "/1/customer"}


async def test_what_is_wrong_is_said_in_the_callers_language(post: Post, element: Make) -> None:
    _, spanish = await post(element(text=None), accept_language="es-CO,es;q=0.9")
    _, english = await post(element(text=None), accept_language="en-GB")
    assert "Se requiere al menos uno" in spanish["errors"][0]["detail"]
    assert "At least one" in english["errors"][0]["detail"]


async def test_cloudevents_come_in_all_three_forms(intake: Running, element: Make) -> None:
    def event(number: int) -> CloudEvent:
        data = {k: v for k, v in element().items() if k not in {"source", "external_id"}}
        return CloudEvent(
            id=f"ce-{number}",
            source="/systems/crm",
            type="com.example.ticket",
            datacontenttype="application/json",
            data=data,
        )

    for headers, body in (
        to_http_binary(event(1)),
        to_http_structured(event(2)),
        to_http_batch([event(3), event(4)]),
    ):
        answer = await intake.client.post("/intake/v1/interactions", content=body, headers=headers)
        assert answer.status_code == 202, answer.text
    assert {data.external_id for data in await published(intake)} == {"ce-1", "ce-2", "ce-3", "ce-4"}


async def test_a_bad_cloudevent_of_a_batch_never_fails_the_others(intake: Running, element: Make) -> None:
    headers, body = to_http_batch([CloudEvent(id="1", source="/crm", type="t", data=element())])
    events = [
        *orjson.loads(body),
        {"id": "2"},
        {"specversion": "1.0", "id": "3", "source": "/crm", "type": "t", "data": 7},
    ]
    answer = await intake.client.post("/intake/v1/interactions", content=orjson.dumps(events), headers=headers)
    assert [result["status"] for result in answer.json()["results"]] == ["accepted", "rejected", "rejected"]


async def test_the_same_fact_again_has_the_same_id_and_is_duplicate(post: Post, intake: Running, element: Make) -> None:
    first = (await post(element()))[1]["results"][0]
    status, answer = await post(element())
    assert status == 202
    assert answer["results"][0] == {"index": 0, "id": first["id"], "status": "duplicate"}
    # The order of members, nulls and how the zone is written do not make it another fact.
    again = dict(reversed(element(occurred_at="2026-03-01T14:30:00Z").items())) | {"team": None}
    assert "problem" not in (await post(again))[1]["results"][0]
    assert len(await published(intake)) == 1


async def test_the_same_id_with_other_content_is_said_and_the_first_fact_kept(
    post: Post, intake: Running, element: Make
) -> None:
    first = (await post(element()))[1]["results"][0]
    _, answer = await post(element(text="Otra cosa"))
    result = answer["results"][0]
    assert (result["status"], result["id"]) == ("duplicate", first["id"])
    assert result["problem"]["errors"][0]["code"] == "different-content"
    shown = (await intake.client.get(f"/intake/v1/interactions/{first['id']}")).json()
    assert shown["text"] == "Me cobraron dos veces la misma factura."


async def test_new_defaults_of_the_source_do_not_make_a_repeat_different(
    post: Post, intake: Running, element: Make
) -> None:
    await post(element())
    await intake.client.patch("/intake/v1/sources/crm", json={"defaults": {"team": "norte"}})
    assert "problem" not in (await post(element()))[1]["results"][0]


async def test_the_same_fact_in_many_requests_at_once_enters_once_G7(either: Running, element: Make) -> None:
    one = orjson.dumps([element("1"), element("2"), element("1")])
    answers = await asyncio.gather(
        *(
            either.client.post("/intake/v1/interactions", content=one, headers={"content-type": "application/json"})
            for _ in range(20)
        )
    )
    totals = [answer.json() for answer in answers]
    assert sum(total["accepted"] for total in totals) == 2
    assert sum(total["duplicates"] for total in totals) == 58
    assert len({result["id"] for total in totals for result in total["results"]}) == 2
    found = await published(either)
    assert len(found) == 2
    assert len({data.customer_id for data in found}) == 1


async def test_many_new_customers_at_once_share_transactions(intake: Running, element: Make) -> None:
    commits = intake.services["intake"].runtime.commits
    answers = await asyncio.gather(
        *(
            intake.client.post("/intake/v1/interactions", json=element(str(n), customer={"id": str(n)}))
            for n in range(64)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert intake.services["intake"].runtime.commits - commits < 32
    assert len({data.customer_id for data in await published(intake)}) == 64


async def test_one_person_is_known_by_any_identifier_R55(post: Post, intake: Running, element: Make) -> None:
    await post(element("1", customer={"id": "7", "email": "ana@x.co"}))
    await post(element("2", customer={"email": "ANA@X.CO"}))
    await post(element("3", customer={"id": "7"}))
    await post(element("4", customer={"id": "8"}))
    people = {data.external_id: data.customer_id for data in await published(intake)}
    assert people["1"] == people["2"] == people["3"] != people["4"]


async def test_an_id_of_one_system_means_nothing_in_another(post: Post, intake: Running, element: Make) -> None:
    await intake.client.post("/intake/v1/sources", json={"id": "shop"})
    await post(element("1", customer={"id": "7"}))
    await post(element("1", customer={"id": "7"}, source="shop"))
    first, second = await published(intake)
    assert first.customer_id != second.customer_id


@pytest.mark.parametrize("place", ["query", "header"])
async def test_history_is_marked_as_such(intake: Running, element: Make, place: str) -> None:
    options: Any = {"params": {"effects": "history"}} if place == "query" else {"headers": {"Lazo-Effects": "history"}}
    assert (await intake.client.post("/intake/v1/interactions", json=element(), **options)).status_code == 202
    [data] = await published(intake)
    assert data.effects is Effects.HISTORY
    wrong = await intake.client.post("/intake/v1/interactions", json=element(), params={"effects": "perhaps"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["pointer"] == "/effects"


async def test_an_unknown_an_inactive_and_a_foreign_source_are_named(
    intake: Running, post: Post, element: Make
) -> None:
    _, answer = await post(element(source="nobody"))
    assert (answer["errors"][0]["pointer"], answer["errors"][0]["code"]) == ("/source", "unknown-source")
    await intake.client.patch("/intake/v1/sources/crm", json={"active": False})
    assert (await post(element()))[1]["errors"][0]["code"] == "inactive-source"
    await intake.client.patch("/intake/v1/sources/crm", json={"active": True})
    bound = await intake.key_for("intake:write", source="shop")
    answer = (await intake.client.post("/intake/v1/interactions", json=element(), headers=bound)).json()
    assert answer["errors"][0]["code"] == "foreign-source"


async def test_no_key_is_401_and_a_wrong_scope_403(intake: Running, element: Make) -> None:
    post = intake.client.post
    assert (await post("/intake/v1/interactions", json=element(), headers={"authorization": ""})).status_code == 401
    reader = await intake.key_for("intake:read", "feedback:admin")
    assert (await post("/intake/v1/interactions", json=element(), headers=reader)).status_code == 403
    writer = await intake.key_for("intake:write")
    assert (await post("/intake/v1/interactions", json=element(), headers=writer)).status_code == 202
    assert (await intake.client.delete("/intake/v1/customers/cus_1", headers=writer)).status_code == 403


async def test_an_idempotency_key_gets_the_first_answer_again(intake: Running, element: Make) -> None:
    headers = {"Idempotency-Key": "abc-1"}
    first = await intake.client.post("/intake/v1/interactions", json=element(), headers=headers)
    again = await intake.client.post("/intake/v1/interactions", json=element(), headers=headers)
    other = await intake.client.post("/intake/v1/interactions", json=element("2"), headers=headers)
    assert first.json()["accepted"] == 1
    assert again.content == first.content
    assert other.status_code == 422
    assert len(await published(intake)) == 1


async def test_a_receipt_tells_when_and_where_it_stands_in_the_chain_G6(either: Running, element: Make) -> None:
    for number in range(30):
        await either.client.post("/intake/v1/interactions", json=element(str(number), customer={"id": str(number)}))
    await either.settle()
    interaction_id = natural_id("interaction", "crm", "17")
    receipt = (await either.client.get(f"/intake/v1/interactions/{interaction_id}/receipt")).json()
    assert receipt["id"] == interaction_id
    assert receipt["recorded_at"].startswith("2026-03-02T15:00:00")
    assert len(receipt["content_hash"]) == 64
    place = receipt["published"]
    [record] = await either.environment.log.read(TopicPartition(place["topic"], place["partition"]), place["offset"], 1)
    assert dict(record.headers)["ce_id"].decode() == interaction_id
    assert dict(record.headers)["ce_chainhash"].decode() == place["chain_hash"]
    assert (await either.client.get("/intake/v1/interactions/none/receipt")).status_code == 404


async def test_the_api_reference_describes_the_bodies(intake: Running) -> None:
    document = (await intake.client.get("/intake/openapi.json")).json()
    body = document["paths"]["/intake/v1/interactions"]["post"]["requestBody"]["content"]
    assert {"application/json", "application/x-ndjson", "application/cloudevents+json"} <= set(body)
