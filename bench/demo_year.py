"""The demonstration's year through the real monitor, and what came of it beside what was planted.

`python -m bench.demo_year [SEED …] [--coded] [--days N]`: one run of classification alone per seed, on SQLite, in the steps and
with the house's changes, figures, signatures and weekly reviews of `lazo demo`; intake, channels and timers of cases are
left out, so that a year takes a minute or two instead of ten. Motives are the true ones, or with `--coded` those that the
coder of the bundled rulebook reads from the texts.
"""

import argparse
import asyncio
import heapq
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from sqlalchemy import select

from libs.events.catalogue.base import EventData
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseOpened, CaseResolved, CaseResponded, FeedbackAnswered
from libs.events.catalogue.findings import FindingOpened, VerdictReached
from libs.events.catalogue.interactions import Channel, Effects, Kind
from libs.events.clock import SimulatedClock
from libs.events.ids import natural_id
from libs.events.store import Draft
from libs.service.testing import Running, running
from services.classification import outcomes
from services.classification.app import build
from services.classification.domain.coder import Coder, Decision
from services.classification.domain.coder import Contact as Read
from services.classification.domain.rulebook import Rulebook
from services.classification.rulebook_file import read as read_rulebook
from services.demo.cli import RULEBOOK
from services.demo.driver import Operation
from services.demo.house import SIGNED
from services.demo.people_around import case_id, reply, work
from services.demo.plan import BASE, PLANTED, Planted
from services.demo.text import Phrasebook
from services.demo.year import SOURCE, Contact, Year, generate

START = datetime(2025, 11, 24, tzinfo=UTC)
RULEBOOK_MOTIVES = {motive.code: motive.rulebook for motive in BASE}
NATURE_OF = {planted.name: planted.nature for planted in PLANTED}


@dataclass(frozen=True, slots=True)
class Told:
    """A finding as a reader has it, and the planted failure it is about, if any."""

    finding_id: str
    slice: Mapping[str, str]
    opened: date
    status: str
    nature: str
    planted: str | None
    delay: int | None
    judged: tuple[str, ...]
    proper: bool  # its slice names the planted failure's motive and holds most of its contacts


@dataclass(slots=True)
class Outcome:
    """What a year gave. `verdicts`: newest revision of each, as published."""

    seed: int
    findings: list[Told] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Facts:
    """The contacts of a year as coded facts, and what becomes of their cases, day by day."""

    def __init__(self, year: Year, *, coded: bool = False) -> None:
        self.year = year
        book = read_rulebook(RULEBOOK.read_bytes()).book
        assert isinstance(book, Rulebook)
        self._coder, self._coded = Coder(book, 1), coded
        self._books = {language: Phrasebook.load(language) for language in ("es", "en")}
        self._due: list[tuple[datetime, int, EventData]] = []
        self._order = count()
        self.classified: dict[str, tuple[Contact, InteractionClassified]] = {}

    def day(self, day: int, effects: Effects = Effects.LIVE) -> list[InteractionClassified]:
        """The day's contacts, coded."""
        contacts = self.year.days[day]
        found = self._coder.code_many(map(self._asked, contacts)) if self._coded else [None] * len(contacts)
        facts = [self._fact(contact, decision, effects) for contact, decision in zip(contacts, found, strict=True)]
        for contact, fact in zip(contacts, facts, strict=True):
            self.classified[fact.interaction_id] = (contact, fact)
            self._case(contact, fact)
        return facts

    def due(self, until: datetime) -> Iterator[EventData]:
        """What cases and customers say up to then."""
        while self._due and self._due[0][0] <= until:
            yield heapq.heappop(self._due)[2]

    @staticmethod
    def _asked(contact: Contact) -> Read:
        body = contact.body
        return Read(body["text"], contact.at, body["language"], None, Kind(body["kind"]), body["touchpoint"])

    def _fact(self, contact: Contact, decision: Decision | None, effects: Effects) -> InteractionClassified:
        body = contact.body
        kind = Kind(body["kind"])
        motive, cause = (
            (contact.motive, self._cause(contact)) if decision is None else (decision.motive, decision.cause)
        )
        kind = kind if decision is None else decision.kind
        follows = self._coder.consequences.of(motive, cause, contact.at, kind, body["touchpoint"])
        entry = self._coder.rulebook.cause_by_code.get(cause)
        signed = None if follows.procedure is None else (follows.procedure, follows.procedure_version) in SIGNED
        return InteractionClassified(
            interaction_id=natural_id("interaction", SOURCE, body["external_id"]),
            customer_id=body["customer"]["id"],
            occurred_at=contact.at,
            kind=kind,
            channel=Channel(body["channel"]),
            motive=motive,
            cause=cause,
            component=follows.component,
            procedure=follows.procedure,
            procedure_version=follows.procedure_version,
            norm=follows.norm,
            policy=follows.policy,
            signed=signed,
            severity=follows.severity,
            confidence=0.9 if decision is None else decision.confidence,
            rulebook_version=1,
            model_version=self._coder.model_version,
            touchpoint=body["touchpoint"],
            product=body["product"],
            location=body["location"],
            team=body["team"],
            agent=body["agent"],
            supplier=body.get("supplier") or (entry.supplier if entry is not None else None),
            segment=body["customer"]["segment"],
            effects=effects,
            origin=SOURCE,
        )

    @staticmethod
    def _cause(contact: Contact) -> str:
        """Four in five who are hit tell the cause, three in ten others one that is usual, as their texts do."""
        draw = Random(f"{contact.body['external_id']}/cause")  # a story, not a secret
        if contact.planted is not None:
            planted = next(one for one in PLANTED if one.name == contact.planted)
            return planted.cause if draw.random() < 0.8 else "unknown"
        usual = next((one.causes for one in BASE if one.rulebook == contact.motive), ())
        return draw.choice(usual) if usual and draw.random() < 0.3 else "unknown"

    def _case(self, contact: Contact, fact: InteractionClassified) -> None:
        if not contact.case:
            return
        who = {"case_id": case_id(contact), "customer_id": fact.customer_id}
        opened = CaseOpened(
            **who, interaction_id=fact.interaction_id, kind=fact.kind, channel=fact.channel, origin=SOURCE,
            received_at=contact.at, acknowledge_by=contact.at, due_at=contact.at, calendar="CO", term={},
        )  # fmt: skip
        self._push(contact.at, opened)
        closed = contact.at
        for update in work(self.year.seed, contact):
            said = {**who, "at": update.at, "by": fact.agent or ""}
            if update.body["status"] == "responded":
                self._push(update.at, CaseResponded(**said, procedure=update.body.get("procedure")))
            elif update.body["status"] == "resolved":
                self._push(update.at, CaseResolved(**said, outcome=update.body["outcome"]))
            closed = update.at
        given = reply(self.year.seed, contact, self._books[contact.body["language"]].answers)
        if given is not None:
            at = closed + timedelta(hours=24) + given.delay
            answer = natural_id("answer", fact.interaction_id)
            self._push(
                at, FeedbackAnswered(answer_id=answer, request_id=answer, **who, at=at, score=given.score, helped=given.helped)
            )  # fmt: skip

    def _push(self, at: datetime, data: EventData) -> None:
        heapq.heappush(self._due, (at, next(self._order), data))


async def emit(run: Running, found: Sequence[InteractionClassified]) -> None:
    """Append coded contacts as classification itself would, in transactions of 1,000."""
    store = run.services["classification"].runtime.store
    for start in range(0, len(found), 1_000):
        async with store.unit() as unit:
            for data in found[start : start + 1_000]:
                stream = f"classification/{data.interaction_id}"
                unit.emit(Draft(stream=stream, data=data, key=data.customer_id, time=unit.now))


async def _operation(run: Running, clock: SimulatedClock, year: Year) -> Operation:
    """The house that works with the findings, the rulebook published."""
    published = await run.client.post(
        "/classification/v1/rulebook/publish",
        content=RULEBOOK.read_bytes(),
        headers={"Content-Type": "application/yaml"},
    )
    published.raise_for_status()
    return Operation(run.client, clock, year, run.settle)


async def live(run: Running, clock: SimulatedClock, facts: Facts) -> None:
    """The year in the steps of the demonstration: a day, what came in, what the house does, the weekly look."""
    year = facts.year
    operation = await _operation(run, clock, year)
    for day in range(len(year.days)):
        await operation.house(day)
        now = year.start + timedelta(days=day + 1)
        clock.advance(now)
        async with run.services["classification"].runtime.store.unit() as unit:
            await outcomes.put_down(unit, list(facts.due(now)))
        await emit(run, facts.day(day))
        await run.settle()
        if day % 7 == 6:
            await operation.review(day)


async def at_once(run: Running, clock: SimulatedClock, facts: Facts) -> None:
    """The whole year imported as history on its last day, nobody having done anything about it."""
    year = facts.year
    operation = await _operation(run, clock, year)
    for day in range(len(year.days)):
        await operation.house(day)
    found = [fact for day in range(len(year.days)) for fact in facts.day(day, Effects.HISTORY)]
    async with run.services["classification"].runtime.store.unit() as unit:
        await outcomes.put_down(unit, list(facts.due(year.start + timedelta(days=len(year.days)))))
    await emit(run, found)
    await run.settle()
    clock.advance(timedelta(seconds=10))
    await run.settle()


async def outcome(run: Running, facts: Facts, *, actions: bool = True) -> Outcome:
    """Findings and verdicts of a run, beside what was planted."""
    store = run.services["classification"].runtime.store
    events = store.tables.events
    result = Outcome(facts.year.seed)
    opened: list[FindingOpened] = []
    newest: dict[str, VerdictReached] = {}
    reached: dict[str, datetime] = {}  # by finding: the end of the window that its first systemic verdict looked at
    async with store.reading() as connection:
        query = select(events.c.type, events.c.data).order_by(events.c.position)
        query = query.where(events.c.type.in_((FindingOpened.TYPE, VerdictReached.TYPE)))
        for row in await connection.execute(query):
            if row.type == FindingOpened.TYPE:
                opened.append(FindingOpened.model_validate_json(row.data))
            else:
                verdict = VerdictReached.model_validate_json(row.data)
                newest[verdict.verdict_id] = verdict
                if verdict.verdict == "systemic":
                    reached.setdefault(verdict.finding_id, verdict.evaluation.window_end)
    result.verdicts = [verdict.model_dump(mode="json") for verdict in newest.values()]
    for one in opened:
        shown = (await run.client.get(f"/classification/v1/findings/{one.finding_id}")).json()
        found = reached[one.finding_id]
        day = (found - facts.year.start).days
        planted, share = _about(one.slice, facts, day)
        result.findings.append(
            Told(
                finding_id=one.finding_id,
                slice=dict(one.slice),
                opened=found.date(),
                status=shown["status"],
                nature=shown["nature"],
                planted=None if planted is None else planted.name,
                delay=None if planted is None else day - planted.first_day,
                judged=tuple(str(action["judgement"]) for action in shown["actions"]),
                proper=planted is not None and share >= 0.5 and one.slice.get("motive") == RULEBOOK_MOTIVES[planted.motive],
            )
        )  # fmt: skip
    result.problems = list(_problems(result, actions=actions))
    return result


def _about(where: Mapping[str, str], facts: Facts, day: int) -> tuple[Planted | None, float]:
    """The systemic failure that most of the planted contacts of a slice are of, from 28 days before its opening; and the
    share of that failure's contacts that the slice holds."""
    inside: dict[str, int] = {}
    total: dict[str, int] = {}
    since, until = facts.year.start + timedelta(days=day - 28), facts.year.start + timedelta(days=day + 1)
    for contact, fact in facts.classified.values():
        if contact.planted is None or not since <= contact.at < until:
            continue
        total[contact.planted] = total.get(contact.planted, 0) + 1
        if all((getattr(fact, name) or "") == value for name, value in where.items()):
            inside[contact.planted] = inside.get(contact.planted, 0) + 1
    if not inside:
        return None, 0.0
    name = max(sorted(inside), key=lambda one: inside[one])
    share = inside[name] / total[name]
    # A slice that holds a tenth of a failure is not about it.
    if share < 0.1:
        return None, share
    return next(one for one in PLANTED if one.name == name), share


def _problems(result: Outcome, *, actions: bool = True) -> Iterator[str]:
    """Everything that the truth of the year says and the run does not."""
    for planted in PLANTED:
        about = [one for one in result.findings if one.planted == planted.name]
        if planted.verdict == "isolated":
            if about:
                yield f"{planted.name}: {len(about)} findings for what is isolated"
            words = [
                verdict["verdict"]
                for verdict in result.verdicts
                if verdict["slice"].get("motive") == RULEBOOK_MOTIVES[planted.motive]
            ]
            if "isolated" not in words:
                yield f"{planted.name}: not told to be isolated ({words})"
            continue
        if len(about) != 1:
            yield f"{planted.name}: {len(about)} findings"
        for one in about:
            if one.nature != planted.nature:
                yield f"{planted.name}: nature {one.nature}, not {planted.nature}"
            if not one.proper:
                yield f"{planted.name}: slice {dict(one.slice)}"
            if one.delay is not None and one.delay > planted.allowed_delay_days:
                yield f"{planted.name}: after {one.delay} days, {planted.allowed_delay_days} allowed"
        if planted.action_effect is not None and actions:
            judged = [word for one in about for word in one.judged]
            if judged[:1] != [planted.action_effect]:
                yield f"{planted.name}: action judged {judged}, not {planted.action_effect}"
    false = [one for one in result.findings if one.planted is None]
    if len(false) > 2:
        yield f"{len(false)} false findings"


async def play(seed: int, *, days: int = 365, coded: bool = False, imported: bool = False) -> Outcome:
    """One year, live or imported at once."""
    began = time.monotonic()
    year = generate(seed, START, days)
    clock = SimulatedClock(START + timedelta(days=days) if imported else START)
    async with running(build, clock=clock) as run:
        facts = Facts(year, coded=coded)
        await (at_once if imported else live)(run, clock, facts)
        result = await outcome(run, facts, actions=not imported)
    result.seconds = time.monotonic() - began
    return result


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.demo_year", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[7])
    parser.add_argument(
        "--coded", action="store_true", help="motives and causes as the coder reads them from the texts"
    )
    parser.add_argument(
        "--imported", action="store_true", help="as history at once; nobody acts, so no action is judged"
    )
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--verdicts", action="store_true", help="list the newest revision of every verdict")
    asked = parser.parse_args(given)
    wrong = 0
    for seed in asked.seeds:
        result = asyncio.run(play(seed, days=asked.days, coded=asked.coded, imported=asked.imported))
        print(f"seed {seed}: {result.seconds:.0f} s, {len(result.verdicts)} verdicts")
        for one in result.findings:
            print(
                f"  {one.opened} {json.dumps(dict(one.slice))} {one.nature} {one.status} {one.planted or 'FALSE'} "
                f"{'' if one.delay is None else f'+{one.delay} d'} {' '.join(one.judged)}"
            )
        if asked.verdicts:
            for verdict in result.verdicts:
                e = verdict["evaluation"]
                print(
                    f"    {e['window_end'][:10]} {verdict['slice']} {verdict['verdict']} {verdict['nature']} {e['observed']}/{e['expected']:.1f} rev {verdict['revision']}"
                )
        for problem in result.problems:
            print(f"  ! {problem}")
        wrong += len(result.problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
