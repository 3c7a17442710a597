"""Bad input over HTTP: each gets a problem document that names the place, and nothing is half-applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from libs.service.testing import Running

Make = Callable[..., dict[str, Any]]


async def stored(intake: Running) -> int:
    store = intake.services["intake"].runtime.store
    async with store.reading() as connection:
        statement = (
            select(func.count())
            .select_from(store.tables.events)
            .where(store.tables.events.c.stream.like("interaction/%"))
        )
        return (await connection.execute(statement)).scalar_one()


@pytest.mark.parametrize(
    ("body", "content_type", "statuses"),
    [
        (b"", "application/json", {400}),
        (b"  \n ", "application/json", {400}),
        (b"", "application/x-ndjson", {400}),
        (b"\n\n", "application/x-ndjson", {400}),
        (b"[]", "application/json", {400}),
        (b"{", "application/json", {400}),
        (b"[{}", "application/json", {400}),
        (b'{"text":"\xff"}', "application/json", {400}),
        (b'{"text":NaN}', "application/json", {400}),
        (b'{"text":"\\u0000"}', "application/json", {422}),
        (b'{"text":"\\ud800"}', "application/json", {422}),
        (b'{"text":"a","text":"b"}', "application/json", {422}),
        (b"[" * 200_000, "application/json", {400, 422}),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "application/json", {400, 422}),
        (b"7", "application/json", {422}),
        (b"[7,null,[]]", "application/json", {422}),
        (b"a=b", "application/x-www-form-urlencoded", {415}),
        ("{}".encode("utf-16"), "application/json; charset=utf-16", {415}),
        (b"not json", "application/cloudevents+json", {400}),
        (b"{}", "application/cloudevents+json", {400}),
        (b"{}", "application/cloudevents-batch+json", {400}),
        (b"[]", "application/cloudevents-batch+json", {400}),
    ],
)
async def test_each_bad_body_gets_a_problem_with_a_pointer(
    intake: Running, body: bytes, content_type: str, statuses: set[int]
) -> None:
    for path in ("/intake/v1/interactions", "/intake/v1/case-updates"):
        answer = await intake.client.post(path, content=body, headers={"content-type": content_type})
        assert answer.status_code in statuses, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert document["status"] == answer.status_code
        assert document["title"]
        if answer.status_code != 415:
            assert all({"pointer", "code", "detail"} <= set(error) for error in document["errors"])
            assert document["errors"]
    assert await stored(intake) == 0


async def test_a_body_of_40_MB_is_413_before_it_is_read(intake: Running) -> None:
    answer = await intake.client.post(
        "/intake/v1/interactions", content=b"[" + b" " * 40_000_000, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


async def test_a_text_of_1_MB_is_refused_with_the_limit_told_and_the_longest_allowed_is_kept_whole(
    intake: Running, element: Make
) -> None:
    for text, status in (("á" * 1_000_000, 422), ("á" * 100_001, 422), ("á" * 100_000, 202)):
        for body in (element(text=text), [element(text=text)]):
            answer = await intake.client.post("/intake/v1/interactions", json=body, headers={"accept-language": "es"})
            assert answer.status_code == status
            if status == 422:
                document = answer.json()
                problem = (
                    document["errors"][0] if "errors" in document else document["results"][0]["problem"]["errors"][0]
                )
                assert problem["pointer"].endswith("/text")
                assert (problem["code"], problem["detail"]) == ("too-long", "Más de 100000 caracteres.")
    assert await stored(intake) == 1


async def test_more_elements_than_allowed_are_413_and_none_is_kept(intake: Running, element: Make) -> None:
    line = orjson.dumps(element())
    answer = await intake.client.post(
        "/intake/v1/interactions",
        content=b"\n".join([line] * 10_001),
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.status_code == 413
    assert await stored(intake) == 0


async def test_a_byte_order_mark_does_no_harm(intake: Running, element: Make) -> None:
    answer = await intake.client.post(
        "/intake/v1/interactions",
        content=b"\xef\xbb\xbf" + orjson.dumps(element()),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 202


async def test_a_large_batch_with_one_bad_line_keeps_the_rest(intake: Running, element: Make) -> None:
    lines = [orjson.dumps(element(str(n), customer={"id": str(n % 50)})) for n in range(3_000)]
    lines[1234] = lines[1234][:-1]
    answer = await intake.client.post(
        "/intake/v1/interactions", content=b"\n".join(lines), headers={"content-type": "application/x-ndjson"}
    )
    document = answer.json()
    assert (document["accepted"], document["rejected"]) == (2_999, 1)
    assert document["results"][1234]["problem"]["errors"][0]["pointer"] == "/1234"
    assert await stored(intake) == 2_999


@pytest.mark.parametrize(
    "moment", ["1900-01-01T00:00:00Z", "2200-01-01T00:00:00Z", "2026-03-01T09:30:00", "2026-13-01T00:00:00Z"]
)
async def test_impossible_dates_are_refused_with_the_field_named(intake: Running, element: Make, moment: str) -> None:
    answer = await intake.client.post("/intake/v1/interactions", json=element(occurred_at=moment))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/occurred_at"]


@pytest.mark.parametrize("path", ["interactions/x", "interactions/x/receipt", "sources/x"])
async def test_what_is_not_there_is_404(intake: Running, path: str) -> None:
    assert (await intake.client.get(f"/intake/v1/{path}")).status_code == 404
