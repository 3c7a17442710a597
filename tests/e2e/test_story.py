"""One complaint all the way round, and a failure found on the way: one text, on both pairs of engines, over the public HTTP only."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import standardwebhooks

from libs.events.clock import SimulatedClock
from libs.events.ids import natural_id
from libs.service.testing import EnginePair, Running, running
from services.classification.app import build as classification
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from services.verifying import verify_all
from tests.e2e.ledger import CASES, Fact, Ledger, everything, received
from tests.e2e.numbers import Numbers

OPERATOR = Path(__file__).resolve().parents[2] / "deploy" / "rulebooks" / "operator.yaml"
START = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
HISTORY_DAYS = 56
RISE = range(7, 17)  # days of the story on which refunds at the store go wrong
ANGRY_DAY = 9
REFUND = "Me exigen otra vez el formato y la certificación bancaria para la devolución de dinero"
RUDE = "El asesor fue grosero, me trató mal y me colgó"
# What each of the first day's contacts says, and what the rulebook makes of it.
SAYINGS = (
    ("En la factura aparece dos veces el mismo cargo, un cobro doble", "es", "billing.wrong_charge"),
    ("Desde ayer no tengo internet en la casa, se cayó el internet", "es", "service.no_internet"),
    ("The technician never showed up, a missed appointment", "en", "install.missed_visit"),
    ("Quitaron dos canales de televisión y la imagen congelada", "es", "service.tv"),
    ("My bill is higher this month, the promotion ended", "en", "billing.price_rise"),
    ("En mi barrio no hay señal de celular y se caen las llamadas", "es", "service.mobile_coverage"),
)


class Story:
    """The contact centre, its channel and its customers, with a memory of their own."""

    def __init__(self, run: Running, clock: SimulatedClock) -> None:
        self.run, self.client, self.clock, self.ledger = run, run.client, clock, Ledger()
        self.random = random.Random(7)
        self.acknowledged: dict[str, datetime] = {}  # by interaction
        self.scores: dict[str, int] = {}  # by interaction

    async def until(self, moment: datetime) -> None:
        self.clock.advance(moment)
        await self.run.settle()

    async def post(self, body: Any, facts: list[Fact], **headers: str) -> dict[str, Any]:
        """Send facts in some form; all must be accepted, in order."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"content-type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
        answer = await self.client.post("/intake/v1/interactions", content=content, headers=given)
        assert answer.status_code == 202, answer.text
        told: dict[str, Any] = answer.json()
        assert (told["accepted"], told["duplicates"], told["rejected"]) == (len(facts), 0, 0), told
        self.ledger.add(facts, [result["id"] for result in told["results"]])
        return told

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.client.get(path, params=params)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    async def ordered(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        told: dict[str, Any] = answer.json()
        return told


def contact(number: int, at: datetime = START - timedelta(hours=2), **more: Any) -> Fact:
    """One of the first day's contacts: somebody who can be written to."""
    text, language, _ = SAYINGS[number % len(SAYINGS)]
    return {
        "source": "crm",
        "external_id": f"first-{number}",
        "kind": ("complaint", "claim", "request")[number % 3],
        "channel": "email",
        "occurred_at": at.isoformat(),
        "customer": {"id": f"C{number}", "email": f"customer{number}@example.org", "name": f"Person {number}"},
        "text": text,
        "language": language,
        "touchpoint": "website",
        "case_ref": f"K-{number}",
    } | more


def passer_by(number: int, at: datetime, text: str, customer: str | None = None, kind: str = "complaint") -> Fact:
    """Somebody at the counter, known by a number only: counted, and nobody to write to."""
    return {
        "source": "crm",
        "external_id": f"counter-{number}",
        "kind": kind,
        "channel": "branch",
        "occurred_at": at.isoformat(),
        "customer": {"id": customer or f"P{number}"},
        "text": text,
        "language": "es",
        "touchpoint": "store",
    }


async def it_is_set_up(story: Story) -> None:
    answer = await story.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM", "region": "CO"})
    assert answer.status_code == 201, answer.text
    answer = await story.client.post(
        "/classification/v1/rulebook/publish",
        content=OPERATOR.read_bytes(),
        headers={"content-type": "application/yaml"},
    )
    assert answer.status_code == 201, answer.text


async def history_is_brought_in(story: Story) -> None:
    """Eight quiet weeks, at once and in NDJSON, marked as history."""
    facts: list[Fact] = []
    for day in range(-HISTORY_DAYS, 0):
        facts += counter(story, day, len(facts))
    answer = await story.client.post(
        "/intake/v1/interactions?effects=history",
        content=b"\n".join(orjson.dumps(fact) for fact in facts),
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.json()["accepted"] == len(facts), answer.text
    story.ledger.add(facts, [result["id"] for result in answer.json()["results"]])
    await story.run.settle()
    story.clock.advance(timedelta(seconds=10))  # what is gathered of the past is judged
    await story.run.settle()


def counter(story: Story, day: int, number: int) -> list[Fact]:
    """An ordinary day at the store: two or three refunds, one or two rude clerks, now and then a compliment."""
    noon = START + timedelta(days=day, hours=-1)
    texts = [REFUND] * story.random.choice((2, 2, 3)) + [RUDE] * story.random.choice((1, 1, 2))
    made = [passer_by(10_000 + number + n, noon, text) for n, text in enumerate(texts)]
    if day % 5 == 0:
        made.append(passer_by(10_000 + number + len(made), noon, "Muy buena atención, gracias", kind="compliment"))
    return made


async def it_arrives_in_every_form(story: Story) -> None:
    one, *rest = (contact(number) for number in range(10))
    told = await story.post(one, [one])
    await story.post(rest[:2], rest[:2])
    lines = b"\n".join(map(orjson.dumps, rest[2:4]))
    await story.post(lines, rest[2:4], content_type="application/x-ndjson")
    data = {name: value for name, value in rest[4].items() if name not in {"source", "external_id", "occurred_at"}}
    attributes = {"specversion": "1.0", "type": "ticket.created", "source": "/systems/crm"}
    head = attributes | {"id": rest[4]["external_id"], "time": rest[4]["occurred_at"]}
    await story.post(data, [rest[4]], **{f"ce-{name}": value for name, value in head.items()})
    event = attributes | {"id": "e-1", "datacontenttype": "application/json", "data": rest[5]}
    await story.post(event, [rest[5]], content_type="application/cloudevents+json")
    events = [attributes | {"id": f"e-{n}", "datacontenttype": "application/json", "data": rest[n]} for n in (6, 7)]
    await story.post(events, rest[6:8], content_type="application/cloudevents-batch+json")

    again = (await story.client.post("/intake/v1/interactions", json=one)).json()
    assert (again["duplicates"], again["results"][0]["id"]) == (1, told["results"][0]["id"])
    other = (await story.client.post("/intake/v1/interactions", json=one | {"text": "otra cosa"})).json()
    assert other["duplicates"] == 1
    assert other["results"][0]["problem"]["status"] == 409
    at_once = await asyncio.gather(
        *(story.client.post("/intake/v1/interactions", json=[rest[8], contact(90 + n)]) for n in range(8))
    )
    said = [answer.json()["results"] for answer in at_once]
    assert sorted(result[0]["status"] for result in said) == ["accepted"] + ["duplicate"] * 7
    assert len({result[0]["id"] for result in said}) == 1
    story.ledger.add([rest[8]], [said[0][0]["id"]])
    story.ledger.add([contact(90 + n) for n in range(8)], [result[1]["id"] for result in said])


async def a_signed_webhook_brings_more(story: Story) -> None:
    form = {"id": "desk", "form": "standard-webhooks", "defaults": {"channel": "chat", "kind": "inquiry"}}
    first = (await story.client.post("/intake/v1/sources", json=form)).json()["secret"]
    second = (await story.client.post("/intake/v1/sources/desk/rotate")).json()["secret"]
    fact: Fact = {}
    for number, secret in enumerate((first, second)):
        fact = passer_by(number, START - timedelta(hours=1), "¿Cuál es el horario?", kind="inquiry")
        fact |= {"source": "desk", "external_id": f"w-{number}"}
        answer = await deliver(story, secret, fact, f"message-{number}")
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
        story.ledger.add([fact], [answer.json()["results"][0]["id"]])
        assert (await deliver(story, secret, fact, f"message-{number}")).json()["duplicates"] == 1
    third = (await story.client.post("/intake/v1/sources/desk/rotate", json={"keep_hours": 0})).json()["secret"]
    assert (await deliver(story, first, fact, "message-9")).status_code == 401
    assert (await deliver(story, third, fact, "message-1")).json()["duplicates"] == 1


async def deliver(story: Story, secret: str, fact: Fact, message_id: str) -> httpx.Response:
    body = orjson.dumps({"type": "ticket.created", "timestamp": fact["occurred_at"], "data": fact})
    now = story.clock.now()
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign(message_id, now, body.decode()),
        "content-type": "application/json",
        "authorization": "",
    }
    return await story.client.post("/intake/v1/webhooks/desk", content=body, headers=headers)


async def everything_is_coded_and_opened(story: Story) -> None:
    for identity, fact in story.ledger.facts.items():
        if not fact["external_id"].startswith("first-"):
            continue
        decision = await story.get(f"/classification/v1/interactions/{identity}")
        wanted = SAYINGS[int(fact["external_id"].removeprefix("first-")) % len(SAYINGS)][2]
        assert (decision["motive"], len(decision["history"]), decision["rulebook_version"]) == (wanted, 1, 1), fact
        assert decision["evidence"], "a coding without evidence"
    cases = {case["case_id"] for case in await everything(story.client, "/feedback/v1/cases")}
    sent = {natural_id("case", identity) for identity, fact in story.ledger.facts.items() if fact["kind"] in CASES}
    assert cases == sent


async def the_channel_tells_the_customers(story: Story, purpose: str, status: str = "delivered") -> dict[str, Any]:
    """Takes what must be sent now and reports it, twice and out of order; by interaction."""
    pending = await everything(story.client, "/feedback/v1/requests", channel="email")
    by_case = {natural_id("case", identity): identity for identity in story.ledger.facts}
    found = {by_case[item["case_id"]]: item for item in pending if item["purpose"] == purpose}
    for item in found.values():
        path = f"/feedback/v1/requests/{item['request_id']}/status"
        for report in ("accepted", status, "sent"):
            await story.ordered(path, {"status": report})
        assert (await story.ordered(path, {"status": status}))["status"] == status
    await story.run.settle()
    left = await everything(story.client, "/feedback/v1/requests", channel="email")
    assert not [item for item in left if item["purpose"] == purpose]
    return found


async def receipt_is_acknowledged(story: Story) -> None:
    await story.until(START + timedelta(hours=3))
    told = await the_channel_tells_the_customers(story, "acknowledgement")
    first = {i for i, fact in story.ledger.facts.items() if fact["external_id"].startswith("first-")}
    assert told.keys() == first
    for identity, item in told.items():
        assert item["address"] == story.ledger.facts[identity]["customer"]["email"]
        case = await story.get(f"/feedback/v1/cases/{natural_id('case', identity)}")
        assert (case["status"], case["acknowledged_at"]) == ("acknowledged", "2026-03-02T15:00:00+00:00")
        story.acknowledged[identity] = story.clock.now()


async def the_contact_centre_reports(story: Story, day: int, status: str, **more: str) -> None:
    """Progress of the first eight cases, each step sent twice."""
    moment = START + timedelta(days=day)
    story.clock.advance(moment)
    updates = [
        {
            "source": "crm",
            "external_id": f"{status}-{number}",
            "case_ref": f"K-{number}",
            "status": status,
            "occurred_at": (moment - timedelta(minutes=5)).isoformat(),
            "agent": "agent-7",
        }
        | more
        for number in range(8)
    ]
    for word in ("accepted", "duplicates"):
        answer = await story.client.post("/intake/v1/case-updates", json=updates)
        assert answer.json()[word] == 8, answer.text
    await story.run.settle()


async def cases_are_worked_on(story: Story) -> None:
    await the_contact_centre_reports(story, 1, "assigned", team="billing")
    await the_contact_centre_reports(story, 2, "responded", procedure="pr-billing-claim")
    await the_contact_centre_reports(story, 3, "resolved", outcome="upheld", note="Se devuelve lo cobrado de más")
    answers = await the_channel_tells_the_customers(story, "answer")
    assert len(answers) == 8
    await the_customer_answers(story, answers[story.ledger.id_of("first-7")], {"score": "2", "helped": "worse"})
    await the_contact_centre_reports(story, 4, "closed")
    case = await story.get(f"/feedback/v1/cases/{natural_id('case', story.ledger.id_of('first-0'))}")
    assert (case["status"], case["outcome"], case["agent"]) == ("closed", "upheld", "agent-7")


async def the_survey_fires_by_the_clock(story: Story) -> None:
    closed = START + timedelta(days=4, minutes=-5)
    await story.until(closed + timedelta(days=3, seconds=-1))
    assert not await everything(story.client, "/feedback/v1/requests")
    await story.until(closed + timedelta(days=3))
    surveys = await the_channel_tells_the_customers(story, "survey")
    expected = {story.ledger.id_of(f"first-{number}") for number in range(7)}  # the eighth has answered already
    assert surveys.keys() == expected
    for number, score in enumerate(("5", "5", "4", "1", "3")):
        form = {"score": score, "helped": "better", "comment": "Gracias por el arreglo"}
        await the_customer_answers(story, surveys[story.ledger.id_of(f"first-{number}")], form)


async def the_customer_answers(story: Story, item: dict[str, Any], form: dict[str, str]) -> None:
    """GET records nothing (R51); POST does; a second POST changes nothing."""
    path = httpx.URL(item["link"]).raw_path.decode()
    request = f"/feedback/v1/requests/{item['request_id']}"
    async with httpx.AsyncClient(
        transport=story.client._transport, base_url=story.client.base_url
    ) as customer:  # without a key
        for suffix in ("", "?score=5"):
            page = await customer.get(path + suffix)
            assert (page.status_code, "<form" in page.text) == (200, True)
        assert (await story.get(request))["answered_at"] is None
        assert (await customer.post(path, data=form)).status_code == 200
        assert (await customer.post(path, data=form | {"score": "1"})).status_code == 200
    await story.run.settle()
    assert (await story.get(request))["status"] == "answered"
    by_case = {natural_id("case", identity): identity for identity in story.ledger.facts}
    story.scores[by_case[item["case_id"]]] = int(form["score"])


async def the_store_goes_wrong(story: Story) -> None:
    """Two quiet weeks more, ten days of which refunds are refused to seven customers a day; one customer is angry forty times."""
    number = 5_000
    for day in range(RISE.stop + 4):
        noon = START + timedelta(days=day, hours=-1)
        facts = counter(story, day, number)
        number += len(facts)
        if day in RISE:
            facts += [passer_by(20_000 + day * 10 + n, noon, REFUND) for n in range(7)]
        if day == ANGRY_DAY:
            facts += [passer_by(30_000 + n, noon, RUDE, customer="angry") for n in range(40)]
        if noon + timedelta(hours=1) > story.clock.now():
            story.clock.advance(noon + timedelta(hours=1))
        await story.post(facts, facts)
        if day % 3 == 0:
            await story.run.settle()
    await story.until(START + timedelta(days=RISE.stop + 6))


async def one_finding_is_opened_and_dealt_with(story: Story) -> None:
    findings = await everything(story.client, "/classification/v1/findings")
    assert [(item["slice"]["motive"], item["slice"]["touchpoint"]) for item in findings] == [
        ("billing.refund", "store")
    ]
    path = f"/classification/v1/findings/{findings[0]['finding_id']}"
    finding = await story.get(path)
    assert (finding["nature"], finding["status"]) == ("procedure", "opened")
    [verdict] = finding["verdicts"]
    assert verdict["verdict"] == "systemic"
    since, last = START + timedelta(days=RISE.start), START + timedelta(days=RISE.stop + 1)
    for identity in verdict["interaction_ids"]:
        fact = story.ledger.facts[identity]
        assert fact["text"] == REFUND
        assert since - timedelta(days=14) <= received(fact) <= last
    monitors = await everything(story.client, "/classification/v1/monitors", motive="care.rude", touchpoint="store")
    assert [item["verdict"]["verdict"] for item in monitors if item["verdict"]] in ([], ["isolated"])
    plan = {
        "description": "Quitar el formato",
        "owner": "ops",
        "due": "2026-04-10",
        "expected_ratio": 0.5,
        "window_days": 28,
    }
    for name, body, status in (
        ("confirm", {"reason": "visto en la tienda"}, "confirmed"),
        ("assign", {"owner": "ops"}, "confirmed"),
        ("plan-action", plan, "action_planned"),
        ("implement-action", {}, "implemented"),
    ):
        assert (await story.ordered(f"{path}/{name}", body))["status"] == status
    await story.run.settle()
    answer = await story.client.post(f"{path}/dismiss", json={"reason": "no"})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    [seen] = (await story.get("/indicators/v1/findings"))["items"]
    assert (seen["finding_id"], seen["state"], seen["owner"]) == (finding["finding_id"], "confirmed", "ops")
    assert [action["state"] for action in seen["actions"]] == ["implemented"]


async def the_numbers_tell_what_happened(story: Story) -> None:
    numbers = Numbers(story.client, story.ledger, START - timedelta(days=HISTORY_DAYS + 7), story.clock.now())
    assert len(numbers.cases) == sum(fact["kind"] in CASES for fact in story.ledger.facts.values())
    await numbers.received_and_who()
    coded = {}
    for text in {fact["text"] for fact in numbers.cases.values()}:
        identity = next(i for i, fact in numbers.cases.items() if fact["text"] == text)
        decision = await story.get(f"/classification/v1/interactions/{identity}")
        coded[text] = (decision["motive"], decision["component"] or "unknown")
    assert (coded[REFUND], coded[RUDE]) == (("billing.refund", "procedures"), ("care.rude", "people"))
    await numbers.motives_and_components(coded)
    closed_at = START + timedelta(days=4, minutes=-5)
    closed = {story.ledger.id_of(f"first-{number}"): closed_at for number in range(8)}
    await numbers.backlog(set(closed))
    await numbers.times(story.acknowledged, closed)
    await numbers.satisfaction(story.scores)
    [finding] = (await story.get("/indicators/v1/findings"))["items"]
    refunds = {identity: fact for identity, fact in numbers.cases.items() if fact["text"] == REFUND}
    await numbers.systemic(refunds, datetime.fromisoformat(finding["since"]), finding)


async def the_timelines_tell_it_in_order(story: Story) -> None:
    identity = story.ledger.id_of("first-0")
    case = await everything(story.client, f"/indicators/v1/cases/{natural_id('case', identity)}/timeline")
    told = [item["what"] for item in case if item["what"] != "feedback.reported"]
    reports = [item["facts"]["status"] for item in case if item["what"] == "feedback.reported"]
    assert sorted(reports) == ["accepted"] * 3 + ["delivered"] * 3 + ["sent"] * 3, (
        "a case shows what became of its messages"
    )
    assert told == [
        "interaction.recorded",
        "interaction.classified",
        "case.opened",
        "feedback.requested",
        "case.acknowledged",
        "case.assigned",
        "case.responded",
        "case.resolved",
        "feedback.requested",
        "case.closed",
        "feedback.requested",
        "feedback.answered",
    ]
    assert [item["at"] for item in case] == sorted(item["at"] for item in case)
    assert case[0]["words"]["text"] == SAYINGS[0][0]
    assert case[-1]["words"]["comment"] == "Gracias por el arreglo"
    customer = (await story.get(f"/intake/v1/interactions/{identity}"))["customer"]["customer_id"]
    whole = await everything(story.client, f"/indicators/v1/customers/{customer}/timeline")
    assert [item["event_id"] for item in whole] == [item["event_id"] for item in case]


@pytest.mark.timeout(300)
async def test_a_complaint_goes_all_the_way_round_on_either_pair_of_engines_G7_G8_R01_R51(engines: EnginePair) -> None:
    clock = SimulatedClock(START)
    async with running(intake, classification, feedback, indicators, clock=clock, engines=engines) as run:
        story = Story(run, clock)
        await it_is_set_up(story)
        await history_is_brought_in(story)
        await it_arrives_in_every_form(story)
        await a_signed_webhook_brings_more(story)
        await run.settle()
        await everything_is_coded_and_opened(story)
        await receipt_is_acknowledged(story)
        await cases_are_worked_on(story)
        await the_survey_fires_by_the_clock(story)
        await the_store_goes_wrong(story)
        await one_finding_is_opened_and_dealt_with(story)
        await the_numbers_tell_what_happened(story)
        await the_timelines_tell_it_in_order(story)
        for service in run.services.values():
            status = await service.runtime.status()
            assert (status.behind, status.pending, status.parked, status.idle) == (0, 0, 0, True), service.name
        report = await verify_all(run.environment.settings)
        assert (report.breaks, report.events > 1_000) == ([], True)
