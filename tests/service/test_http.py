"""The HTTP kit: every error is a problem document that names its field; limits hold; nothing personal is logged."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import fastapi.routing
import httpx
import pytest
import pytest_asyncio
import structlog
from fastapi.dependencies.utils import get_dependant

from libs.service.http.problems import TITLES
from libs.service.testing import Running, running
from tests.service.toy.app import build

JSON = {"Content-Type": "application/json"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def toy() -> AsyncIterator[Running]:
    """One service for all tests that leave no trace in it."""
    async with running(build, max_body=64 * 1024) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def fresh() -> AsyncIterator[Running]:
    """A service of its own."""
    async with running(build) as found:
        yield found


def _problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:lazo:problem:{code}"
    assert document["title"]
    assert document["instance"].endswith(answer.headers["x-request-id"])
    for error in document["errors"]:
        assert set(error) == {"pointer", "code", "detail"}
    return document


HOSTILE: list[tuple[bytes, int, str, str | None]] = [
    (b"", 400, "empty-body", None),
    (b"   \n", 400, "empty-body", None),
    (b"{", 400, "bad-json", ""),
    (b'{"name":"a"} x', 400, "bad-json", ""),
    (b'{"name":"\xff"}', 400, "bad-encoding", ""),
    (b'{"name":NaN}', 400, "bad-json", ""),
    (b'{"name":-Infinity}', 400, "bad-json", ""),
    (b'{"name":"\\ud83d"}', 400, "bad-json", ""),
    (b'{"name":"a\x01"}', 400, "bad-json", ""),
    (b'{"name":"a","name":"b"}', 422, "invalid", "/name"),
    (b'[{"a/b":{"~":1,"~":2}}]', 422, "invalid", "/0/a~1b/~0"),
    (b'{"name":"a\\u0000b"}', 422, "invalid", "/name"),
    (b'{"a":{"\\u0000":1}}', 422, "invalid", "/a"),
    (b"[" * 65 + b"]" * 65, 422, "invalid", ""),
    (b"[" * 20_000, 422, "invalid", ""),
    (b"{'name':'a'}", 400, "bad-json", ""),
]


@pytest.mark.parametrize("path", ["/toy/v1/raw", "/toy/v1/things"])
@pytest.mark.parametrize(("body", "status", "code", "pointer"), HOSTILE, ids=lambda value: repr(value)[:24])
async def test_a_hostile_body_is_refused_and_its_place_named(
    toy: Running, path: str, body: bytes, status: int, code: str, pointer: str | None
) -> None:
    """Whether the route reads its body itself or FastAPI does."""
    answer = await toy.client.post(path, content=body, headers=JSON)
    if path == "/toy/v1/things" and body in {b"", b"   \n"}:
        assert answer.status_code in {400, 422}
        return
    document = _problem(answer, status, code)
    if pointer is not None:
        assert document["errors"][0]["pointer"] == pointer


GOOD = [
    (b'{"a":1}', {"a": 1}),
    (b'\xef\xbb\xbf{"a":"\\\\u0000"}', {"a": "\\u0000"}),
    (b'{"a":":","b":"\\":\\"","c" : [" :",":}{"]}', {"a": ":", "b": '":"', "c": [" :", ":}{"]}),
    (b"[" * 64 + b"]" * 64, None),
    ('{"ñ":"¡Qué día! 😀"}'.encode(), {"ñ": "¡Qué día! 😀"}),
    (b'"\\ud83d\\ude00"', "😀"),
    (b"1e400", float("inf")),
]


@pytest.mark.parametrize(("body", "value"), GOOD[:-1], ids=lambda value: repr(value)[:24])
async def test_an_unusual_but_sound_body_is_read(toy: Running, body: bytes, value: object) -> None:
    answer = await toy.client.post("/toy/v1/raw", content=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    if value is not None:
        assert answer.json() == {"value": value}


async def test_a_body_announced_too_large_is_refused_before_it_is_read(toy: Running) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1024

    answer = await toy.client.post(
        "/toy/v1/raw", content=endless(), headers=JSON | {"Content-Length": str(40 * 1024 * 1024)}
    )
    assert _problem(answer, 413, "too-large")["limit"] == 64 * 1024
    assert read == 0


async def test_a_body_that_grows_too_large_is_cut_off(toy: Running) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1024

    answer = await toy.client.post("/toy/v1/raw", content=endless(), headers=JSON | {"Transfer-Encoding": "chunked"})
    _problem(answer, 413, "too-large")
    assert read <= 66


async def test_a_length_that_is_no_number_is_refused(toy: Running) -> None:
    answer = await toy.client.post("/toy/v1/raw", content=b"1", headers=JSON | {"Content-Length": "1x"})
    _problem(answer, 400, "bad-request")


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async with running(build, request_timeout=0.05) as toy:

        async def stuck() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(5)

        answer = await toy.client.post("/toy/v1/raw", content=stuck(), headers=JSON | {"Transfer-Encoding": "chunked"})
        _problem(answer, 408, "timeout")


async def test_fields_are_named_by_pointer_in_validation_errors(toy: Running) -> None:
    answer = await toy.client.post("/toy/v1/things", json={"nombre": "x", "email": 5})
    errors = {error["pointer"]: error["code"] for error in _problem(answer, 422, "invalid")["errors"]}
    assert errors == {"/name": "missing", "/nombre": "unknown-field", "/email": "string_type"}
    answer = await toy.client.get("/toy/v1/things?limit=9999")
    assert _problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/query/limit"


async def test_what_was_sent_is_never_quoted_back_in_an_error(toy: Running) -> None:
    answer = await toy.client.post("/toy/v1/things", json={"name": ["ana@example.com"]})
    assert "ana@example.com" not in answer.text


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("es-CO", "es"),
        ("en", "en"),
        ("en;q=0.2, es;q=0.9", "es"),
        ("fr", "en"),
        ("", "en"),
        ("es;q=0, en", "en"),
        (";;,", "en"),
    ],
)
async def test_titles_are_in_the_readers_language_and_codes_constant(toy: Running, accept: str, language: str) -> None:
    answer = await toy.client.get("/toy/v1/nothing", headers={"Accept-Language": accept})
    document = _problem(answer, 404, "not-found")
    assert document["title"] == TITLES["not-found"][1 if language == "es" else 0]
    assert answer.headers["content-language"] == language


async def test_what_was_wrong_is_said_in_the_readers_language_too(toy: Running) -> None:
    """Details as well as titles: of our own sentences, and of those that the body's model says."""
    spanish = {"Accept-Language": "es"}
    wrong = (await toy.client.post("/toy/v1/things", json={"name": 5, "more": 1}, headers=spanish)).json()
    details = [error["detail"] for error in wrong["errors"]]
    assert details == ["name: debe ser un texto", "more: no se conoce este campo"]
    assert wrong["detail"] == "; ".join(details)
    nobody = await toy.client.get("/toy/v1/things", headers=spanish | {"Authorization": "Bearer lz_none"})
    assert nobody.json()["detail"] == "esta llave no se conoce, fue revocada o venció"


async def _raw(toy: Running, method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """What goes out to the server, which httpx's transport would tidy up."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", toy.client.headers["Authorization"].encode()), (b"accept-language", b"es")]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
    }
    await toy.services["toy"].app(
        scope | {"client": None, "server": None, "scheme": "http", "root_path": ""}, receive, send
    )
    assert scope["method"] == method, "servers look at it again: for HEAD they send no body"
    changing = {b"x-request-id"}
    headers_sent = {name: value for name, value in sent[0]["headers"] if name not in changing}
    return sent[0]["status"], headers_sent, b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize(
    "path",
    ["/toy/health/live", "/toy/health/ready", "/toy/docs", "/toy/openapi.json", "/toy/v1/things", "/toy/v1/nothing"],
)
async def test_head_answers_wherever_get_does_with_its_headers_and_no_body(toy: Running, path: str) -> None:
    """RFC 9110, 9.3.2."""
    status, headers, body = await _raw(toy, "GET", path)
    assert body
    assert int(headers[b"content-length"]) == len(body)
    assert await _raw(toy, "HEAD", path) == (status, headers, b"")


async def test_head_is_counted_as_head_under_the_routes_name(fresh: Running) -> None:
    assert (await fresh.client.head("/toy/v1/things")).status_code == 200
    assert 'method="HEAD",route="/toy/v1/things"' in (await fresh.client.get("/toy/metrics")).text


async def test_the_openapi_document_describes_the_errors_that_are_answered(toy: Running) -> None:
    document = (await toy.client.get("/toy/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status", "code", "errors"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            places = [(item["name"], item["in"]) for item in operation.get("parameters", [])]
            assert len(places) == len(set(places))


async def test_a_method_that_is_not_there_says_which_are(toy: Running) -> None:
    answer = await toy.client.delete("/toy/v1/count")
    assert "GET" in _problem(answer, 405, "method-not-allowed")["detail"]
    assert answer.headers["allow"] == "GET, HEAD"
    spanish = await toy.client.delete("/toy/v1/count", headers={"Accept-Language": "es"})
    assert spanish.json()["detail"] == "DELETE no es posible aquí; se admite: GET, HEAD"


async def test_an_unexpected_error_is_told_by_id_and_logged_without_what_people_wrote(toy: Running) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await toy.client.get("/toy/v1/boom/lz1.secret", headers={"X-Request-ID": "request-123"})
    document = _problem(answer, 500, "internal")
    assert document["instance"] == "urn:lazo:request:request-123"
    [line] = [line for line in lines if line["event"] == "request.failed"]
    assert line["error"] == "RuntimeError"
    assert line["request_id"] == "request-123"
    assert any("toy/app.py" in place for place in line["places"])
    assert "maria" not in str(lines)
    assert "secret" not in str(lines) + answer.text


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(toy: Running) -> None:
    with pytest.raises(RuntimeError, match="broke off"):
        await toy.client.get("/toy/v1/broken")


async def test_every_answer_carries_the_security_headers(toy: Running) -> None:
    for path in ("/toy/v1/count", "/toy/docs", "/nothing", "/health/live", "/metrics", "/toy/v1/boom/x"):
        headers = (await toy.client.get(path)).headers
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["", "x", "a b c d e f g", "x" * 200, "<script>alert(1)"])
async def test_a_request_id_that_is_not_one_is_replaced(toy: Running, given: str) -> None:
    answer = await toy.client.get("/toy/v1/count", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 24


async def test_the_callers_trace_reaches_the_event(fresh: Running) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await fresh.client.post("/toy/v1/things", json={"name": "traced"}, headers={"traceparent": trace})
    await fresh.client.post("/toy/v1/things", json={"name": "untraced"}, headers={"traceparent": "00-zero-0-0"})
    store = fresh.services["toy"].runtime.store
    async with store.reading() as connection:
        rows = (await connection.execute(store.tables.events.select().order_by(store.tables.events.c.position))).all()
    assert rows[0].traceparent == trace
    assert rows[1].traceparent.startswith("00-")
    assert "zero" not in rows[1].traceparent


async def test_too_many_at_once_are_told_to_come_back() -> None:
    async with running(build, max_in_flight=3) as toy:
        answers = await asyncio.gather(*(toy.client.get("/toy/v1/slow") for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
        refused = next(answer for answer in answers if answer.status_code == 503)
        _problem(refused, 503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        live = await asyncio.gather(
            *(toy.client.get("/toy/v1/slow") for _ in range(3)), toy.client.get("/toy/health/ready")
        )
        assert live[-1].status_code == 200


async def test_a_cursor_leads_through_all_rows_once(fresh: Running) -> None:
    for number in range(7):
        assert (await fresh.client.post("/toy/v1/things", json={"name": f"n{number}"})).status_code == 201
    await fresh.settle()
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = (
            await fresh.client.get("/toy/v1/things", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(set(seen))
    assert len(seen) == 7


async def test_a_cursor_that_was_altered_or_belongs_elsewhere_is_refused(fresh: Running) -> None:
    for number in range(3):
        await fresh.client.post("/toy/v1/things", json={"name": f"n{number}"})
    await fresh.settle()
    cursor = (await fresh.client.get("/toy/v1/things?limit=1")).json()["next"]
    altered = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for query in (f"cursor={altered}", "cursor=%00", "cursor=" + "A" * 4000, f"cursor={cursor}&kind=claim"):
        answer = await fresh.client.get(f"/toy/v1/things?limit=1&{query}")
        assert _problem(answer, 400, "bad-cursor")["errors"][0]["pointer"] == "/cursor"


async def test_metrics_tell_of_events_requests_and_the_loop(fresh: Running) -> None:
    await fresh.client.post("/toy/v1/things", json={"name": "x"})
    await fresh.settle()
    text = (await fresh.client.get("/toy/metrics")).text
    assert 'lazo_events_behind{service="toy"} 0.0' in text
    assert 'route="/toy/v1/things",service="toy",status="201"} 1.0' in text
    assert 'lazo_ready{service="toy"} 1.0' in text
    combined = (await fresh.client.get("/metrics")).text
    assert combined.count("# TYPE lazo_events_behind gauge") == 1


async def test_the_reference_needs_nothing_from_elsewhere(toy: Running) -> None:
    for language, word in (("es", "Respuestas"), ("en", "Answers")):
        page = await toy.client.get("/toy/docs", headers={"Accept-Language": language})
        assert page.status_code == 200
        assert word in page.text
        assert f'lang="{language}"' in page.text
        assert "<script" not in page.text
        assert "http://" not in page.text + (await toy.client.get("/toy/docs.css")).text
        assert "https://" not in page.text
        assert "/toy/v1/things" in page.text
    document = (await toy.client.get("/toy/openapi.json")).json()
    assert document["paths"]["/toy/v1/things"]["post"]["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


async def test_health_tells_starting_ready_and_stopping(fresh: Running) -> None:
    assert (await fresh.client.get("/health/live")).json() == {"status": "live"}
    assert (await fresh.client.get("/health/ready")).json() == {"status": "ready", "services": ["toy"]}
    fresh.services["toy"].not_ready()
    answer = await fresh.client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == {"toy": "stopping"}
    assert (await fresh.client.get("/toy/v1/count")).status_code == 200


async def test_the_first_request_finds_its_routes_made(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made where a first request came by, they held the event loop of a large service for 20 ms."""
    made: list[str] = []
    real = get_dependant

    def counted(**given: Any) -> Any:
        made.append(given["path"])
        return real(**given)

    monkeypatch.setattr(fastapi.routing, "get_dependant", counted)
    assert (await fresh.client.get("/toy/v1/things")).status_code == 200
    assert not made

    async def late() -> dict[str, str]:
        return {}

    # The control: a router that came after the start is made when it is asked.
    router = fastapi.APIRouter()
    router.add_api_route("/toy/v1/late", late, methods=["GET"])
    fresh.services["toy"].app.include_router(router)
    made.clear()
    assert (await fresh.client.get("/toy/v1/late")).status_code == 200
    assert made
