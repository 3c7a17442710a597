"""Bad input against a `lazo up` that really runs, and against the command: a problem document or one line, never a half-done thing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import standardwebhooks

from tests.e2e.server import INTERACTIONS, Server
from tests.faults.site import ROOT, SERVICES

OPERATOR = ROOT / "deploy" / "rulebooks" / "operator.yaml"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("up"), {"LAZO_KEYS_CACHE": "1"})
    try:
        one.up()
        yield one
        # Whatever was sent: it still stands, counted what it took and nothing else, and complained about nothing.
        assert one.process.running(), one.process.tail()
        assert one.received() == len(one.accepted)
        for service in SERVICES:
            assert one.status(service)["parked"] == 0
        log = one.process.log.read_text("utf-8")
        assert "Traceback" not in log, log[-4000:]
        assert one.process.stop() == 0, one.process.tail()
        assert "everything holds" in one.site.command("verify")
    finally:
        one.close()


def fact(number: int | str, **more: Any) -> dict[str, Any]:
    return {
        "source": "crm",
        "external_id": f"h-{number}",
        "kind": "complaint",
        "channel": "web",
        "occurred_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        "customer": {"id": f"c-{number}"},
        "text": "Me cobraron dos veces",
    } | more


def is_problem(answer: httpx.Response) -> dict[str, Any]:
    """A document as RFC 9457 and the design want it: its own status, a title, and a place for each thing that is wrong."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    for error in document.get("errors", []):
        assert {"pointer", "code", "detail"} <= error.keys()
        assert error["detail"]
    return document


ALIKE = re.compile(r"/?[\w.:/-]*")  # the name of a field or a header is the same in both languages


def assert_translated(english: dict[str, Any], spanish: dict[str, Any], where: str) -> None:
    """The same problem, told in Spanish."""
    assert english["code"] == spanish["code"], where
    assert english["title"] != spanish["title"], where
    errors = list(zip(english["errors"], spanish["errors"], strict=True))
    for one, other in [(english, spanish), *errors]:
        detail = one.get("detail", "")
        assert detail != other.get("detail", "") or ALIKE.fullmatch(detail), f"{where}: {detail}"


BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n ",
    "invalid UTF-8": b'{"text":"\xff\xfe"}',
    "NUL": b'{"text":"a\\u0000b","by":"\\u0000","secret":"\\u0000"}',
    "lone surrogate": b'{"text":"\\ud800","by":"\\udfff","id":"\\ud800"}',
    "duplicate members": b'{"text":"a","text":"b","id":"x","id":"y"}',
    "NaN": b'{"text":NaN,"score":NaN}',
    "Infinity": b'{"amount":{"amount":1e999,"currency":"COP"},"keep_hours":1e999}',
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "number": b"7",
    "null": b"null",
    "list of wrong things": b'[7,null,[],{},"x"]',
    "cut off": b'{"text":"a',
    "another form": b"a=b&c=d",
    "large integer": b'{"version":' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("name", BODIES)
def test_no_route_of_any_service_answers_a_bad_body_with_anything_but_a_problem(server: Server, name: str) -> None:
    """Every route that takes a body, as each service's own OpenAPI lists them."""
    tried = 0
    for service in SERVICES:
        described = server.client.get(f"/{service}/openapi.json").json()
        for path, methods in described["paths"].items():
            for method in methods.keys() & {"post", "put", "patch"}:
                filled = re.sub(r"\{[^}]+\}", "nobody", path)
                english, answer = (
                    server.client.request(
                        method,
                        filled,
                        content=BODIES[name],
                        headers={"content-type": "application/json", "accept-language": language},
                    )
                    for language in ("en", "es")
                )
                tried += 1
                where = f"{method} {filled} {name}: {answer.status_code} {answer.text[:300]}"
                assert answer.status_code < 500, where
                if answer.status_code >= 400:
                    assert_translated(is_problem(english), is_problem(answer), where)
                else:
                    assert filled in MAY_SUCCEED, where
    assert tried > 20


# Checking a rulebook answers what is wrong with it; trying to make out of nothing what needs no body.
MAY_SUCCEED = {"/classification/v1/rulebook/check", "/classification/v1/topics/search"} | {
    f"/{service}/v1/consumers/resume" for service in SERVICES
}
QUERIES = (
    "limit=-1", "limit=1e9", "limit=%00", "cursor=%00", "cursor=abc", "cursor=%ff%fe", "from=1900-01-01", "from=9999-99-99",
    "to=2026-01-01T00:00:00", "state=%ed%a0%80", "group_by=%00", "where[kind]=%00", "where[%00]=x", "tz=../../etc/passwd", "as_of=%F0",
    "customer=%00", "motive=%00", "channel=%00", "version=99999999999999999999", "wait=nan", "case=%00", "granularity=second", "rulebook=1e3",
)  # fmt: skip


def test_no_query_parameter_and_no_path_brings_a_500(server: Server) -> None:
    for service in SERVICES:
        described = server.client.get(f"/{service}/openapi.json").json()
        for path, methods in described["paths"].items():
            if "get" not in methods:
                continue
            for filling, queries in (("nobody", QUERIES), ("%00", ("",)), ("%ed%a0%80", ("",)), ("x" * 3_000, ("",))):
                filled = re.sub(r"\{[^}]+\}", filling, path)
                for query in queries:
                    answer = server.client.get(f"{filled}?{query}")
                    assert answer.status_code < 500, f"{filled}?{query}: {answer.status_code} {answer.text[:300]}"


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 100_000):
        yield b" " * 100_000


@pytest.mark.parametrize("told", [True, False], ids=["said", "in chunks"])
def test_forty_megabytes_are_413_whether_said_beforehand_or_not(server: Server, told: bool) -> None:
    content: Any = b"[" + b" " * 40_000_000 if told else chunks(40_000_000)
    try:
        answer = server.client.post(INTERACTIONS, content=content, headers={"content-type": "application/json"})
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        # The server may hang up on whoever goes on sending; what it said is then lost to this client, not to others.
        answer = None
    if answer is not None:
        assert answer.status_code == 413
        assert "8 MB" in (document := is_problem(answer))["detail"] or "limit" in document
    assert server.post(fact(f"after 40 MB {told}")).status_code == 202


def test_a_sender_who_hangs_up_in_the_middle_leaves_nothing_behind(server: Server) -> None:
    body = orjson.dumps([fact(f"cut-{n}") for n in range(50)])
    head = (
        f"POST {INTERACTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.site.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.process.port)) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
    answer = server.post(orjson.loads(body))
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (50, 0)


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("1900-01-01T00:00:00Z", "too-early"),
        ("2200-01-01T00:00:00Z", "in-future"),
        ("2026-03-01T09:30:00", "zone-missing"),
        ("2026-02-30T09:30:00Z", "invalid-date"),
    ],
)
def test_an_impossible_date_names_the_field_and_the_remedy(server: Server, moment: str, code: str) -> None:
    answer = server.post([fact("date", occurred_at=moment), fact(f"beside {moment}")])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    [error] = answer.json()["results"][0]["problem"]["errors"]
    assert error["pointer"] == "/0/occurred_at"
    assert error["code"] == code, error


def test_nanoseconds_are_taken_and_kept_to_the_microsecond(server: Server) -> None:
    moment = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    told = server.post(fact("nano", occurred_at=f"{moment}.123456789Z")).json()
    shown = server.client.get(f"{INTERACTIONS}/{told['results'][0]['id']}").json()
    assert datetime.fromisoformat(shown["occurred_at"]) == datetime.fromisoformat(f"{moment}.123456+00:00")


def test_the_same_id_twice_in_one_batch_and_in_two_at_once_is_one_fact(server: Server) -> None:
    twin, other = fact("twin"), fact("twin", text="algo distinto")
    results = server.post([twin, twin, other]).json()["results"]
    assert [result["status"] for result in results] == ["accepted", "duplicate", "duplicate"]
    assert len({result["id"] for result in results}) == 1
    assert results[2]["problem"]["status"] == 409, "other content is said clearly"
    assert "problem" not in results[1]
    assert server.client.get(f"{INTERACTIONS}/{results[0]['id']}").json()["text"] == twin["text"], "the first is kept"

    batch = [fact(f"both-{n}") for n in range(200)]
    said: list[dict[str, Any]] = []
    senders = [threading.Thread(target=lambda: said.append(server.post(batch).json())) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sum(answer["accepted"] for answer in said) == 200
    assert sum(answer["duplicates"] for answer in said) == 600
    assert len({tuple(result["id"] for result in answer["results"]) for answer in said}) == 1


def test_an_unknown_source_a_revoked_key_a_missing_scope_and_a_wrong_signature_are_each_named(server: Server) -> None:
    [error] = is_problem(server.post(fact("source", source="nobody")))["errors"]
    assert (error["pointer"], error["code"]) == ("/source", "unknown-source")
    assert "sources" in error["detail"], "the remedy is named"

    key = server.site.command("keys", "create", "--name", "short", "--scope", "intake:write").strip()
    mine = {"authorization": f"Bearer {key}"}
    assert server.post(fact("short"), **mine).status_code == 202
    refused = server.client.post("/intake/v1/sources", json={"id": "mine"}, headers=mine)
    assert (refused.status_code, "intake:admin" in is_problem(refused)["detail"]) == (403, True)
    server.site.command("keys", "revoke", "short")
    end = time.monotonic() + 10
    while (answer := server.post(fact("late"), **mine)).status_code == 202 and time.monotonic() < end:
        time.sleep(0.1)
    assert answer.status_code == 401
    is_problem(answer)
    assert server.post(fact("none"), authorization="").status_code == 401

    form = {"id": "desk", "form": "standard-webhooks"}
    assert server.client.post("/intake/v1/sources", json=form).status_code == 201
    body, now = orjson.dumps(fact("signed", source="desk")), datetime.now(UTC)
    wrong = standardwebhooks.Webhook("whsec_" + "MTIz" * 10).sign("m-1", now, body.decode())
    headers = {"webhook-id": "m-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": wrong}
    answer = server.client.post("/intake/v1/webhooks/desk", content=body, headers=headers | {"authorization": ""})
    assert answer.status_code == 401
    is_problem(answer)


RULEBOOKS = {
    "cycle": ("    parent: billing\n", "    parent: billing.roaming\n", 0),
    "unknown_reference": ("parent: billing\n", "parent: gone\n", 1),
    "overlapping_dates": ("        since: 2025-07-01\n", "        since: 2025-06-01\n", 1),
}


@pytest.mark.parametrize("code", RULEBOOKS)
def test_a_rulebook_with_a_defect_is_refused_with_its_place_by_call_and_by_command(
    server: Server, tmp_path: Path, code: str
) -> None:
    old, new, most = RULEBOOKS[code]
    text = OPERATOR.read_text("utf-8")
    assert old in text
    broken = text.replace(old, new, most or -1)
    answer = server.client.post(
        "/classification/v1/rulebook/publish", content=broken.encode(), headers={"content-type": "application/yaml"}
    )
    assert answer.status_code == 422, answer.text
    found = [error for error in is_problem(answer)["errors"] if error["code"] == code]
    assert found
    assert found[0]["line"] > 1
    assert server.client.get("/classification/v1/rulebook").status_code == 404, "nothing was published"
    (tmp_path / "broken.yaml").write_text(broken, "utf-8")
    told = lazo(server, "rulebook", "check", str(tmp_path / "broken.yaml"))
    assert told.returncode == 1
    assert f"broken.yaml:{found[0]['line']}:" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def lazo(server: Server, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=ROOT, env=dict(server.process.environment) | {"PATH": "/usr/bin:/bin"} | more, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_taken_port_and_an_open_directory_are_told_in_one_line_with_the_remedy(
    server: Server, tmp_path: Path
) -> None:
    data = server.process.environment["LAZO_DATA"]
    port = str(server.process.port)
    for arguments, more, words in (
        (("up", "--port", port), {"LAZO_DATA": str(tmp_path / "other")}, ("cannot listen", "--port")),
        (("up", "--port", "0"), {}, (data, "in use", "--data")),
        (("migrate",), {}, (data, "in use")),
        (("rebuild", "indicators"), {}, (data, "in use", "lazo up")),
    ):
        told = lazo(server, *arguments, **more)
        assert told.returncode == 1, told.stderr
        last = told.stderr.strip().splitlines()[-1]
        assert all(word in last for word in words), last
        assert "Traceback" not in told.stderr
    assert not (tmp_path / "other").exists()


def test_a_file_imported_into_an_open_directory_goes_in_through_the_process_that_has_it_open(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "a.ndjson").write_text(json.dumps(fact("file")) + "\n", "utf-8")
    told = lazo(server, "import", str(tmp_path / "a.ndjson"), "--source", "crm")
    assert told.returncode == 0, told.stderr
    again = server.client.post(INTERACTIONS, json=fact("file"))
    assert again.json()["duplicates"] == 1, "never two writers, and it is there"
    server.accepted |= {result["id"] for result in again.json()["results"]}
