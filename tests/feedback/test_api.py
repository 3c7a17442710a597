"""Feedback over its public API, fed by intake over the log, on a simulated clock."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import EnginePair, Running, running
from services.feedback.app import build as feedback
from services.intake.app import build as intake

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@dataclass
class House:
    running: Running
    clock: SimulatedClock

    @property
    def client(self) -> httpx.AsyncClient:
        return self.running.client

    async def contact(self, external_id: str = "1", **more: Any) -> None:
        interaction = {
            "source": "crm",
            "external_id": external_id,
            "kind": "complaint",
            "channel": "email",
            "occurred_at": self.clock.now().isoformat(),
            "customer": {"email": "ana@example.org"},
            "text": "The bill is wrong and nobody answers.",
            "language": "en",
            "case_ref": f"R-{external_id}",
        } | more
        answer = await self.client.post("/intake/v1/interactions", json=interaction)
        assert answer.status_code == 202, answer.text
        await self.running.settle()

    async def update(self, status: str, external_id: str = "1", **more: Any) -> None:
        update = {
            "source": "crm",
            "external_id": f"{external_id}-{status}-{more.get('occurred_at', '')}",
            "case_ref": f"R-{external_id}",
            "status": status,
            "occurred_at": self.clock.now().isoformat(),
        } | more
        answer = await self.client.post("/intake/v1/case-updates", json=update)
        assert answer.status_code == 202, answer.text
        await self.running.settle()

    async def advance(self, by: timedelta) -> None:
        self.clock.advance(by)
        await self.running.settle()

    async def case(self) -> dict[str, Any]:
        return await self.get("/feedback/v1/cases/" + (await self.get("/feedback/v1/cases"))["items"][0]["case_id"])

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = await self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def do(self, name: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        case_id = (await self.get("/feedback/v1/cases"))["items"][0]["case_id"]
        path = f"/feedback/v1/cases/{case_id}/{name}"
        return await self.client.post(path, json=body or {}, headers={"Accept-Language": "en"} | headers)

    async def request(self, purpose: str) -> dict[str, Any]:
        items = (await self.get("/feedback/v1/requests", state="all"))["items"]
        return next(item for item in items if item["purpose"] == purpose)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = SimulatedClock(START)
    async with running(intake, feedback, clock=clock, public_url="https://lazo.example") as found:
        await found.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        yield House(found, clock)


async def test_r21_r51_one_complaint_goes_all_the_way_round(house: House) -> None:
    await house.contact()
    [request] = (await house.get("/feedback/v1/requests", channel="email"))["items"]
    assert request["purpose"] == "acknowledgement"
    assert request["address"] == "ana@example.org"
    assert "R-1" in request["body"]
    for status in ("accepted", "sent", "delivered"):
        answer = await house.client.post(
            f"/feedback/v1/requests/{request['request_id']}/status", json={"status": status}
        )
        assert answer.status_code == 200
        assert answer.json()["status"] == status
    assert (await house.get("/feedback/v1/requests", channel="email"))["items"] == []
    assert (await house.case())["status"] == "acknowledged"
    await house.advance(timedelta(days=1))
    await house.update("assigned", agent="luz", team="billing")
    await house.update("resolved", outcome="partly_upheld", note="We refunded half of it.")
    answer_request = await house.request("answer")
    assert "We refunded half of it." in answer_request["body"]
    assert answer_request["link"] in answer_request["body"]
    await house.update("closed")
    await house.advance(timedelta(days=4))
    survey = await house.request("survey")
    assert survey["link"].startswith("https://lazo.example/feedback/s/")
    given = {"request_id": survey["request_id"], "score": 5, "helped": "better", "need": "A paperless bill"}
    first = await house.client.post("/feedback/v1/answers", json=given)
    assert (first.status_code, first.json()["status"]) == (200, "accepted")
    second = await house.client.post("/feedback/v1/answers", json=given | {"score": 1})
    assert (second.status_code, second.json()["status"]) == (200, "already_received")
    case = await house.case()
    assert (case["status"], case["agent"], case["team"], case["outcome"]) == (
        "closed",
        "luz",
        "billing",
        "partly_upheld",
    )
    assert [step["version"] for step in case["history"]] == list(range(1, case["version"] + 1))
    answered = next(step["data"] for step in case["history"] if step["type"] == "lazo.feedback.answered.v1")
    assert (answered["score"], answered["helped"], answered["new_need"], answered["need"]) == (
        5,
        "better",
        True,
        "A paperless bill",
    )
    assert all("token" not in step["data"] for step in case["history"])
    assert {request["status"] for request in case["requests"]} >= {"delivered", "answered"}


async def test_g7_the_same_loop_on_both_pairs_of_engines(engines: EnginePair) -> None:
    clock = SimulatedClock(START)
    async with running(intake, feedback, clock=clock, engines=engines, public_url="https://lazo.example") as found:
        await found.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        house = House(found, clock)
        await house.update("assigned", agent="luz")  # before its case
        await house.contact()
        assert (await house.case())["agent"] == "luz"
        await asyncio.gather(*(house.do("assign", {"agent": f"agent-{number}"}) for number in range(4)))
        resolved = await house.do("resolve", {"outcome": "explained", "reason": "The tariff changed."})
        assert resolved.json()["status"] == "resolved"
        path = (await house.request("answer"))["link"].removeprefix("https://lazo.example")
        assert (await house.client.post(path, data={"score": "2", "helped": "worse"})).status_code == 200
        await house.advance(timedelta(days=40))
        case = await house.case()
        assert [step["version"] for step in case["history"]] == list(range(1, case["version"] + 1))
        assert sorted((each["purpose"], each["status"]) for each in case["requests"]) == [
            ("acknowledgement", "expired"),
            ("answer", "answered"),
        ]
        assert (await house.get("/feedback/v1/timers"))["items"] == []
        assert len((await house.get("/feedback/v1/cases", limit=1))["items"]) == 1
        assert (await house.get("/feedback/v1/requests", state="answered"))["next"] is None


async def test_orders_are_checked_and_refusals_say_which_and_why_in_both_languages(house: House) -> None:
    await house.contact()
    early = await house.do("reopen")
    assert early.status_code == 409
    assert early.headers["content-type"].startswith("application/problem+json")
    assert early.json()["errors"][0]["code"] == "not-finished"
    assert "this one is received" in early.json()["detail"]
    spanish = await house.do("reopen", None, **{"Accept-Language": "es-CO"})
    assert "Solo se puede reabrir" in spanish.json()["detail"]
    assert (await house.do("close")).json()["errors"][0]["code"] == "unresolved"
    missing = await house.do("resolve", {"outcome": "not_upheld"})
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (422, "/reason")
    wrong = await house.do("resolve", {"outcome": "won"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/outcome")
    assert (await house.do("assign", {})).json()["errors"][0]["code"] == "nobody-named"
    ahead = await house.do("acknowledge", {"at": (START + timedelta(days=1)).isoformat()})
    assert ahead.json()["errors"][0] | {"detail": ""} == {"pointer": "/at", "code": "in-the-future", "detail": ""}
    before = await house.do("acknowledge", {"at": (START - timedelta(days=1)).isoformat()})
    assert before.json()["errors"][0]["code"] == "before-reception"
    assert (await house.do("acknowledge", {"at": "2026-03-02T15:00:00"})).status_code == 422  # no zone
    assert (await house.do("acknowledge", {"when": "now"})).json()["errors"][0]["code"] == "unknown-field"
    unknown = await house.client.post("/feedback/v1/cases/nobody/close", json={})
    assert unknown.status_code == 404
    assert (await house.case())["version"] == 2  # opened, acknowledgement requested: nothing refused left a trace


async def test_r100_orders_drive_a_case_to_its_end(house: House) -> None:
    await house.contact()
    assert (await house.do("acknowledge")).json()["status"] == "acknowledged"
    assert (await house.do("acknowledge")).json()["errors"][0]["code"] == "already-acknowledged"
    assert (await house.do("assign", {"agent": "luz"})).json()["agent"] == "luz"
    responded = await house.do("respond", {"text": "We are checking the meter."})
    assert responded.json()["status"] == "responded"
    response = await house.request("response")
    assert "We are checking the meter." in response["body"]
    assert response["link"] is None
    resolved = await house.do("resolve", {"outcome": "explained", "reason": "The tariff changed in January."})
    assert (resolved.json()["status"], resolved.json()["in_time"]) == ("resolved", True)
    assert (await house.do("respond", {"text": "x"})).json()["errors"][0]["code"] == "already-resolved"
    assert (await house.do("close")).json()["status"] == "closed"
    assert (await house.do("refer", {"to": "ombudsman"})).json()["errors"][0]["code"] == "already-closed"
    assert (await house.do("reopen", {"reason": "customer disagrees"})).json()["open"] is True
    referred = await house.do("refer", {"to": "ombudsman", "reason": "not ours to decide"})
    assert (referred.json()["status"], referred.json()["referred_to"]) == ("referred", "ombudsman")
    assert "ombudsman" in (await house.do("assign", {"agent": "luz"})).json()["detail"]
    steps = [
        step["type"].split(".")[2] for step in (await house.case())["history"] if step["type"].startswith("lazo.case.")
    ]
    assert steps == ["opened", "acknowledged", "assigned", "responded", "resolved", "closed", "reopened", "referred"]


async def test_if_match_refuses_whoever_saw_an_older_version(house: House) -> None:
    await house.contact()
    seen = await house.client.get("/feedback/v1/cases/" + (await house.case())["case_id"])
    tag = seen.headers["etag"]
    assert (await house.do("assign", {"agent": "luz"}, **{"If-Match": tag})).status_code == 200
    stale = await house.do("assign", {"agent": "eva"}, **{"If-Match": tag})
    assert stale.status_code == 412
    assert stale.json()["version"] == 3
    assert (await house.case())["agent"] == "luz"


async def test_an_idempotency_key_gives_the_first_answer_again(house: House) -> None:
    await house.contact()
    key = {"Idempotency-Key": "6f1c"}
    first = await house.do("respond", {"text": "We are on it."}, **key)
    second = await house.do("respond", {"text": "We are on it."}, **key)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert (await house.do("respond", {"text": "Something else."}, **key)).status_code == 422
    steps = [step["type"] for step in (await house.case())["history"]]
    assert steps.count("lazo.case.responded.v1") == 1


async def test_two_who_write_one_case_at_once_both_succeed_or_are_told(house: House) -> None:
    await house.contact()
    answers = await asyncio.gather(*(house.do("assign", {"agent": f"agent-{number}"}) for number in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 412}
    case = await house.case()
    versions = [step["version"] for step in case["history"]]
    assert versions == list(range(1, 3 + sum(answer.status_code == 200 for answer in answers)))


async def test_g7_delivery_states_are_monotone_whatever_the_order_and_repetition(house: House) -> None:
    await house.contact()
    request_id = (await house.request("acknowledgement"))["request_id"]
    path = f"/feedback/v1/requests/{request_id}/status"
    seen = []
    for status in ("delivered", "accepted", "failed", "sent", "delivered", "complained", "delivered"):
        answer = await house.client.post(path, json={"status": status})
        assert answer.status_code == 200
        seen.append(answer.json()["status"])
    assert seen == ["delivered"] * 5 + ["complained"] * 2
    reports = [step for step in (await house.case())["history"] if step["type"] == "lazo.feedback.reported.v1"]
    assert [report["data"]["status"] for report in reports] == ["delivered", "accepted", "failed", "sent", "complained"]
    wrong = await house.client.post(path, json={"status": "opened"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/status")
    assert (await house.client.post("/feedback/v1/requests/none/status", json={"status": "sent"})).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"request_id": "r", "score": 9}, ["/score"]),
        ([{"request_id": "r"}, {"request_id": "r", "helped": "a bit"}], ["/1/helped"]),
        ({"score": 4}, [""]),
    ],
)
async def test_what_is_wrong_with_an_answer_is_pointed_at_whether_one_came_or_several(
    house: House, body: Any, pointers: list[str]
) -> None:
    answer = await house.client.post("/feedback/v1/answers", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


async def test_reports_and_answers_in_bulk_fail_one_by_one(house: House) -> None:
    for number in range(3):
        await house.contact(str(number), customer={"email": f"p{number}@example.org"})
    ids = [item["request_id"] for item in (await house.get("/feedback/v1/requests"))["items"]]
    body = [{"request_id": id, "status": "sent"} for id in ids] + [{"request_id": "none", "status": "sent"}]
    body.append({"request_id": ids[0], "status": "posted"})
    results = (await house.client.post("/feedback/v1/requests/status", json=body)).json()["results"]
    assert [result["status"] for result in results] == ["accepted"] * 3 + ["rejected"] * 2
    assert [result["problem"]["status"] for result in results[3:]] == [404, 422]
    answers = [{"request_id": ids[0], "score": 3}, {"token": "nobody", "score": 3}]
    results = (await house.client.post("/feedback/v1/answers", json=answers)).json()["results"]
    assert [result["problem"]["status"] for result in results] == [422, 404]  # an acknowledgement asks nothing


async def test_a_channel_that_waits_is_woken_by_the_next_request(house: House) -> None:
    waiting = asyncio.create_task(house.get("/feedback/v1/requests", channel="email", wait=20))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    async with asyncio.timeout(5):
        await house.contact()
        assert [item["purpose"] for item in (await waiting)["items"]] == ["acknowledgement"]
    empty = await house.get("/feedback/v1/requests", channel="sms", wait=0.2)
    assert empty == {"items": [], "next": None}


async def test_lists_filter_and_page_by_cursor(house: House) -> None:
    for number in range(5):
        await house.contact(str(number))
        house.clock.advance(timedelta(minutes=1))
    await house.update("resolved", "2", outcome="upheld")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        found = await house.get("/feedback/v1/cases", **params)
        seen += [item["case_ref"] for item in found["items"]]
        cursor = found["next"]
        if cursor is None:
            break
    assert seen == ["R-4", "R-3", "R-2", "R-1", "R-0"]
    assert [item["case_ref"] for item in (await house.get("/feedback/v1/cases", state="resolved"))["items"]] == ["R-2"]
    assert len((await house.get("/feedback/v1/cases", state="open"))["items"]) == 4
    customer = (await house.case())["customer_id"]
    assert len((await house.get("/feedback/v1/cases", customer=customer))["items"]) == 5
    assert (await house.get("/feedback/v1/cases", customer="cus_none"))["items"] == []
    assert (await house.get("/feedback/v1/cases", overdue="true"))["items"] == []
    assert (await house.get("/feedback/v1/deadlines/moved"))["items"] == []
    due = (await house.get("/feedback/v1/timers", kind="due"))["items"]
    assert len(due) == 4
    assert due == sorted(due, key=lambda item: item["due"])
    await house.advance(timedelta(days=40))
    assert len((await house.get("/feedback/v1/cases", overdue="true"))["items"]) == 4
    assert (await house.get("/feedback/v1/timers", kind="due"))["items"] == []
    assert (await house.client.get("/feedback/v1/cases", params={"state": "lost"})).status_code == 422


async def test_r90_time_passing_marks_cases_and_ends_requests(house: House) -> None:
    await house.contact()
    await house.advance(timedelta(days=3))
    assert (await house.case())["acknowledged_late"] is True
    await house.advance(timedelta(days=30))
    case = await house.case()
    assert (case["overdue"], case["in_time"]) == (True, False)
    [request] = case["requests"]
    assert (request["status"], request["expired_reason"]) == ("expired", "time")
    assert (await house.get("/feedback/v1/requests"))["items"] == []
    late = await house.client.post(f"/feedback/v1/requests/{request['request_id']}/status", json={"status": "accepted"})
    assert (late.status_code, late.json()["errors"][0]["code"]) == (409, "request-expired")


async def test_g5_erasure_over_the_api_leaves_no_text_and_no_one_to_write_to(house: House) -> None:
    await house.contact()
    await house.update("resolved", outcome="upheld", note="Refunded to the account.")
    case = await house.case()
    answer = await house.client.delete(f"/intake/v1/customers/{case['customer_id']}")
    assert answer.status_code in {200, 202, 204}
    await house.running.settle()
    after = await house.case()
    assert (after["status"], after["outcome"], after["reachable"]) == ("resolved", "upheld", False)
    assert {request["status"] for request in after["requests"]} == {"expired"}
    assert "Refunded" not in str(after)
    assert "ana@example.org" not in str(after)
    assert (await house.get("/feedback/v1/requests"))["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "scope", "status"),
    [
        ("GET", "/feedback/v1/cases", None, 401),
        ("GET", "/feedback/v1/cases", "intake:read", 403),
        ("GET", "/feedback/v1/cases", "feedback:read", 200),
        ("POST", "/feedback/v1/cases/x/close", "feedback:read", 403),
        ("POST", "/feedback/v1/cases/x/close", "feedback:write", 404),
        ("GET", "/feedback/v1/requests", "feedback:read", 200),
        ("POST", "/feedback/v1/requests/x/status", "feedback:read", 403),
        ("POST", "/feedback/v1/answers", "feedback:read", 403),
        ("GET", "/feedback/v1/timers", None, 401),
        ("GET", "/feedback/v1/status", "feedback:read", 200),
    ],
)
async def test_keys_and_scopes(house: House, method: str, path: str, scope: str | None, status: int) -> None:
    headers = {"Authorization": ""} if scope is None else await house.running.key_for(scope)
    body = {"status": "sent"} if path.endswith("status") else {}
    answer = await house.client.request(method, path, headers=headers, json=body if method == "POST" else None)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", {400, 422}),
        (b"{", {400}),
        (b'{"text": NaN}', {400}),
        (b'{"text": "a", "text": "b"}', {422}),
        (b'{"text": "\\ud800"}', {400}),
        (b'{"text": "a\\u0000b"}', {422}),
        (b'{"text": "\xff"}', {400}),
        (b'{"text": {"a": 1}}', {422}),
        (b"[" * 5000, {400, 422}),
        (b'{"text": "' + b"x" * 30_000 + b'"}', {422}),
        (b'{"text": "' + b"x" * (9 * 1024 * 1024) + b'"}', {413}),
    ],
    ids=["empty", "broken", "nan", "duplicate", "surrogate", "nul", "not-utf-8", "type", "deep", "long", "huge"],
)
async def test_hostile_bodies_get_a_problem_document_and_leave_no_trace(
    house: House, content: bytes, status: set[int]
) -> None:
    await house.contact()
    case = await house.case()
    path = f"/feedback/v1/cases/{case['case_id']}/respond"
    answer = await house.client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (await house.case())["version"] == case["version"]
