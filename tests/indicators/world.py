"""A synthetic world of events for the read model: people who complain, codings under two rulebooks, cases, verdicts, answers.

Everything follows from a seed. Some facts become known long after they happened.
"""

import asyncio
import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from libs.events.catalogue import EventData, decode, model_of, personal_fields
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseClosed,
    CaseOpened,
    CaseReopened,
    CaseResolved,
    CaseResponded,
    FeedbackAnswered,
    FeedbackExpired,
    FeedbackReported,
    FeedbackRequested,
)
from libs.events.catalogue.findings import (
    Evaluation,
    FindingClosed,
    FindingConfirmed,
    FindingDismissed,
    FindingOpened,
    Nature,
    Verdict,
    VerdictReached,
)
from libs.events.catalogue.interactions import Channel, CustomerErased, InteractionRecorded, Kind, SourceRegistered
from libs.events.catalogue.rulebook import RulebookPublished
from libs.events.chain import GENESIS, chained
from libs.events.envelope import Event, unchained
from libs.events.log import Log, partition_of
from libs.events.sealing import seal_fields
from libs.service.service import Service

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
MOTIVES = {
    "billing": ("double_charge", "product"),
    "service": ("rude", "people"),
    "outage": ("cut", "systems_and_equipment"),
}
DOCUMENT = {
    "motives": [{"code": code, "names": {"es": f"motivo {code}", "en": f"motive {code}"}} for code in MOTIVES],
    "causes": [
        {"code": cause, "names": {"es": f"causa {cause}", "en": f"cause {cause}"}} for cause, _ in MOTIVES.values()
    ],
}
LIVES: list[list[str]] = [
    [], ["ack"], ["ack", "assign", "close"], ["ack", "ack", "close", "close", "reopen"], ["close", "reopen", "reopen", "close"],
]  # fmt: skip
WORDS = {
    "es": [
        "Me cobraron dos veces la misma factura y nadie me responde.",
        "Llevo tres días sin servicio.",
        "Me atendieron de mala manera en la oficina.",
    ],
    "en": ["I was charged twice for the same bill.", "No service for three days now.", "The clerk was rude to me."],
}
CASES = {Kind.COMPLAINT, Kind.CLAIM, Kind.REQUEST}


class World:
    """Collects events as their services would have published them."""

    def __init__(self, seed: int, keys: Mapping[str, bytes] | None = None) -> None:
        """With `keys` (person to data key) people write something, and it is sealed."""
        self.random = random.Random(seed)
        self.keys = keys
        self.events: list[Event] = []
        self.versions: dict[str, int] = {}

    def id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def add(
        self, stream: str, data: EventData, key: str, time: datetime, recorded: datetime, id: str | None = None
    ) -> Event:
        self.versions[stream] = self.versions.get(stream, 0) + 1
        event_id = id or self.id()
        content = data.model_dump(mode="json")
        if self.keys is not None:
            seal_fields(content, personal_fields(type(data)), self.keys.get(content.get("customer_id", "")), event_id)
        event = Event(
            id=event_id, type=data.TYPE, source="/lazo/test", subject=stream, streamversion=self.versions[stream],
            sequence=len(self.events) + 1, time=time, recordedtime=recorded, partitionkey=key, correlationid=event_id,
            causationid=None, traceparent=None, data=orjson.dumps(content),
        )  # fmt: skip
        self.events.append(event)
        return event

    def facts(self) -> list[tuple[Event, EventData]]:
        return [(event, decode(event)) for event in self.events]

    def late(self) -> timedelta:
        """How long after it happened a fact became known."""
        return timedelta(seconds=self.random.choice([1, 1, 5, 60, 3_600, 86_400 * 3, 86_400 * 20]))


def make(seed: int, contacts: int = 60, days: int = 40, keys: Mapping[str, bytes] | None = None) -> World:
    """A world of about eight events a contact."""
    world = World(seed, keys)
    pick = world.random.choice
    for version in (1, 2):
        at = START - timedelta(days=3 - version)
        world.add(
            "rulebook/main",
            RulebookPublished(version=version, name="test", published_at=at, published_by="t", checksum="0", document=DOCUMENT),
            "main", at, at,
        )  # fmt: skip
    world.add("source/s1", SourceRegistered(source_id="s1", name="CRM", form="interactions"), "s1", START, START)
    people = [f"cus_{number}" for number in range(max(3, contacts // 3))] if keys is None else sorted(keys)
    for number in range(contacts):
        _contact(world, number, pick(people), START + timedelta(seconds=world.random.randrange(days * 86_400)))
    for motive in MOTIVES:
        _finding(world, motive, days)
    at = START + timedelta(days=days)
    world.add("customer/cus_0", CustomerErased(customer_id="cus_0", erased_at=at), "cus_0", at, at)
    return world


def _contact(world: World, number: int, person: str, at: datetime) -> None:
    pick = world.random.choice
    interaction_id, kind, channel = world.id(), pick(list(Kind)), pick([Channel.PHONE, Channel.EMAIL, Channel.WEB])
    recorded = at + world.late()
    touchpoint, language = pick(["branch", "shop", None]), pick(["es", "en"])
    world.add(
        f"interaction/{interaction_id}",
        InteractionRecorded(
            interaction_id=interaction_id, external_id=str(number), origin=pick(["s1", "s2"]), kind=kind, channel=channel,
            occurred_at=at, customer_id=person, text=None if world.keys is None else pick(WORDS[language]), touchpoint=touchpoint, product=pick(["a", "b"]), language=language,
        ),
        person, at, recorded, interaction_id,
    )  # fmt: skip
    motives = [*MOTIVES, "unknown"]
    for revision in range(1, pick([1, 1, 2, 3]) + 1):
        motive = pick(motives)
        cause, component = MOTIVES.get(motive, ("unknown", None))
        known = recorded + world.late()
        world.add(
            f"coding/{interaction_id}",
            InteractionClassified(
                interaction_id=interaction_id, customer_id=person, occurred_at=at, kind=kind, channel=channel, motive=motive,
                cause=cause, component=component, severity=pick(["low", "high", None]), confidence=0.8, rulebook_version=pick([1, 2]),
                model_version="m", revision=revision, touchpoint=touchpoint, language=language,
            ),
            person, known, known,
        )  # fmt: skip
    if kind in CASES:
        _case(world, interaction_id, person, kind, channel, at, recorded)


def _case(
    world: World, interaction_id: str, person: str, kind: Kind, channel: Channel, at: datetime, recorded: datetime
) -> None:
    pick, case_id = world.random.choice, world.id()
    stream = f"case/{case_id}"
    world.add(
        stream,
        CaseOpened(
            case_id=case_id, interaction_id=interaction_id, customer_id=person, kind=kind, channel=channel, origin="s1",
            received_at=at, acknowledge_by=at + timedelta(days=2), due_at=at + timedelta(days=15), calendar="CO",
            term={"amount": 15, "unit": "business_day"},
        ),
        person, at, recorded,
    )  # fmt: skip
    when = at
    steps = pick(
        [
            [],
            ["ack"],
            ["ack", "assign", "close"],
            ["ack", "ack", "close", "close", "reopen"],
            ["close", "reopen", "reopen", "close"],
        ]
    )
    for step in steps:
        when += timedelta(seconds=world.random.randrange(1, 6 * 86_400))
        data: EventData
        match step:
            case "ack":
                data = CaseAcknowledged(case_id=case_id, customer_id=person, at=when, by="agent")
            case "assign":
                data = CaseAssigned(case_id=case_id, customer_id=person, at=when, by="agent", team="t1")
            case "close":
                for closing in (
                    CaseResponded(case_id=case_id, customer_id=person, at=when, by="agent"),
                    CaseResolved(case_id=case_id, customer_id=person, at=when, by="agent", outcome="upheld"),
                ):
                    world.add(stream, closing, person, when, when)
                data = CaseClosed(case_id=case_id, customer_id=person, at=when, by="agent")
            case _:
                data = CaseReopened(case_id=case_id, customer_id=person, at=when, by="customer")
        world.add(stream, data, person, when, max(when, recorded) + world.late())
    if steps and world.random.random() < 0.5:
        _answer(world, case_id, person, channel, when)


def _answer(world: World, case_id: str, person: str, channel: Channel, when: datetime) -> None:
    pick, request_id = world.random.choice, world.id()
    stream, at = f"request/{request_id}", when + timedelta(hours=5)
    asked = FeedbackRequested(
        request_id=request_id, case_id=case_id, customer_id=person, channel=channel, purpose="survey", template="t",
        language="es", requested_at=when,
    )  # fmt: skip
    world.add(stream, asked, person, when, when)
    told = FeedbackReported(request_id=request_id, customer_id=person, status="delivered", at=when, channel=channel)
    world.add(stream, told, person, when, when)
    if pick([True, True, False]):
        answer = FeedbackAnswered(
            answer_id=world.id(), request_id=request_id, case_id=pick([case_id, case_id, None]), customer_id=person, at=at,
            score=pick([1, 2, 3, 4, 5, 5, None]), helped=pick(["better", "worse"]),
        )  # fmt: skip
        world.add(stream, answer, person, at, at + world.late())
    else:
        world.add(stream, FeedbackExpired(request_id=request_id, customer_id=person, at=at), person, at, at)


def _finding(world: World, motive: str, days: int) -> None:
    pick, finding_id = world.random.choice, world.id()
    stream = f"finding/{finding_id}"
    where = pick([{"motive": motive}, {"motive": motive, "touchpoint": "branch"}])
    verdict = pick([Verdict.SYSTEMIC, Verdict.SYSTEMIC, Verdict.ISOLATED, Verdict.NOT_ENOUGH_EVIDENCE])
    since = START + timedelta(days=world.random.randrange(days // 2))
    for revision in (1, 2):
        at = since + timedelta(days=3 + 4 * revision)
        reached = VerdictReached(
            verdict_id=f"v{finding_id}", finding_id=finding_id, slice=where, verdict=verdict, nature=pick(list(Nature)),
            evaluation=Evaluation(method="m", window_start=since, window_end=at, observed=9, expected=2, upper=5, score=3, customers=8, contacts=9),
            since=since + timedelta(hours=revision), rulebook_version=1, revision=revision,
        )  # fmt: skip
        world.add(stream, reached, finding_id, at, at + world.late())
        if revision == 1 and verdict == Verdict.SYSTEMIC:
            opened = FindingOpened(
                finding_id=finding_id, slice=where, nature=Nature.UNKNOWN, verdict_id=f"v{finding_id}", opened_at=at, since=since,
                title={"es": f"Aumento de {motive}", "en": f"Rise of {motive}"},
            )  # fmt: skip
            world.add(stream, opened, finding_id, at, at)
    at = since + timedelta(days=15)
    end = pick([None, FindingDismissed, FindingClosed, FindingConfirmed])
    if end is not None:
        world.add(stream, end(finding_id=finding_id, at=at, by="p"), finding_id, at, at)


def interleaved(events: Sequence[Event], rng: random.Random) -> list[Event]:
    """Any order that keeps the order of each key within each topic; with some events delivered twice."""
    lanes: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        lanes.setdefault((event.type.split(".")[1], event.partitionkey), []).append(event)
    waiting, result = list(lanes.values()), []
    while waiting:
        lane = rng.choice(waiting)
        event = lane.pop(0)
        result += [event, event] if rng.random() < 0.1 else [event]
        if not lane:
            waiting.remove(lane)
    return result


async def publish(log: Log, events: Sequence[Event]) -> None:
    """Put events into the log as their relays would, in order."""
    publisher = log.publisher("test-world")
    await publisher.start()
    heads: dict[tuple[str, int], str] = {}
    records = []
    for event in events:
        topic = model_of(event.type).TOPIC
        partition = partition_of(event.partitionkey.encode(), await log.partitions(topic))
        record, heads[topic, partition] = chained(
            unchained(event, topic, partition), heads.get((topic, partition), GENESIS)
        )
        records.append(record)
    for start in range(0, len(records), 1_000):
        await publisher.publish(records[start : start + 1_000])
    await publisher.close()


async def consumed(service: Service) -> None:
    """Wait until the service has read all that is in the log. (`settle` asks the services; these events are nobody's.)"""
    while (await service.runtime.status()).behind:  # noqa: ASYNC110 - the log has no event to wait for
        await asyncio.sleep(0.01)
