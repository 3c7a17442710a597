"""Plays the year through the public interfaces, in step with a simulated clock, then goes on slowly in real time.

Each day: move the clock (due timers fire), send what happened meanwhile, wait until all four services are idle, let the
channel send what there is to send, let customers answer. Once a week the operation looks at its findings.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import httpx

from libs.events.clock import SimulatedClock, SystemClock
from services.demo.house import CHANGES, PROPOSALS, SIGNED, TEAMS, figures, investigation
from services.demo.people_around import Update, case_id, reply, work
from services.demo.plan import PLANTED, Planted
from services.demo.text import Phrasebook
from services.demo.year import Contact, Year

logger = logging.getLogger("lazo.demo")

STEP = timedelta(hours=24)
"""Half of it would double the transactions: a day is what deadlines, surveys and monitors count in."""
CHUNK = 500


class Refused(RuntimeError):
    """A service refused what the demonstration sent; it stops instead of going on with a hole in its story."""


class Operation:
    """The contact centre, its channel, its customers and its operations team."""

    def __init__(
        self, client: httpx.AsyncClient, clock: SimulatedClock, year: Year, settle: Callable[[], Awaitable[None]]
    ) -> None:
        self.client, self.clock, self.year, self.settle = client, clock, year, settle
        self._order = count()
        self._updates: list[tuple[datetime, int, Update]] = []
        self._answers: list[tuple[datetime, int, dict[str, Any], str | None]] = []
        self._contacts: dict[str, Contact] = {}
        self._books = {language: Phrasebook.load(language) for language in ("es", "en")}
        self._planned: dict[str, str] = {}
        self.sent = 0

    async def play(self, first: int, progress: Callable[[int, int], None]) -> None:
        """Play the days from `first` on; earlier ones are taken as played. `progress(day, sent)` after each."""
        for day in range(first):
            for contact in self.year.days[day]:
                self._remember(contact, after=self.clock.now())
        for day in range(first, len(self.year.days)):
            contacts = self.year.days[day]
            midnight = self.year.start + timedelta(days=day)
            await self.house(day)
            await self.step(midnight + STEP, contacts)
            if day % 7 == 6:
                await self.review(day)
            progress(day + 1, self.sent)

    async def house(self, day: int) -> None:
        """What changes, what is counted and what is signed on a day."""
        start = self.year.start
        changes = [change.body(start) for change in CHANGES if change.day == day]
        for path, body in (("changes", changes), ("exposure", figures(start, day))):
            if body:
                self._checked(await self.client.post(f"/classification/v1/{path}", json=body))
        for code, version in SIGNED if day == 0 else ():
            for team in TEAMS:
                signed = {"version": version, "team": team, "signed_at": start.isoformat()}
                path = f"/classification/v1/procedures/{code}/signatures"
                self._checked(await self.client.post(path, json=signed))

    async def step(self, to: datetime, contacts: Sequence[Contact]) -> None:
        """One move of the clock and everything it brings."""
        if to > self.clock.now():
            self.clock.advance(to)
        await self.send("/intake/v1/interactions", [contact.body for contact in contacts])
        self.sent += len(contacts)
        for contact in contacts:
            self._remember(contact)
        due: list[dict[str, Any]] = []
        while self._updates and self._updates[0][0] <= to:
            due.append(heapq.heappop(self._updates)[2].body)
        await self.send("/intake/v1/case-updates", due)
        await self.settle()
        await self.deliver()
        await self.answer()

    def _remember(self, contact: Contact, after: datetime | None = None) -> None:
        if contact.case:
            self._contacts[case_id(contact)] = contact
        for update in work(self.year.seed, contact):
            if after is None or update.at > after:
                heapq.heappush(self._updates, (update.at, next(self._order), update))

    async def send(self, path: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(bodies), CHUNK):
            answer = await self.client.post(path, json=bodies[start : start + CHUNK])
            if answer.status_code != 202 or answer.json()["rejected"]:
                raise Refused(f"{path}: {answer.status_code} {answer.text[:2000]}")

    async def deliver(self) -> None:
        """The channel: take what must be sent, send it, report. One in fifty cannot be delivered."""
        cursor: str | None = None
        while True:
            params = {"limit": str(CHUNK)} | ({"cursor": cursor} if cursor else {})
            page = self._checked(await self.client.get("/feedback/v1/requests", params=params)).json()
            reports = [self._report(item) for item in page["items"]]
            if reports:
                answer = self._checked(await self.client.post("/feedback/v1/requests/status", json=reports)).json()
                bad = [result for result in answer["results"] if result["status"] == "rejected"]
                if bad:
                    raise Refused(f"reports: {bad[:3]}")
            cursor = page.get("next")
            if not cursor:
                return

    def _report(self, item: Mapping[str, Any]) -> dict[str, Any]:
        failed = int(item["request_id"][:6], 16) % 50 == 0
        contact = self._contacts.get(item.get("case_id") or "")
        if not failed and item["purpose"] == "survey" and contact is not None:
            book = self._books[contact.body["language"]]
            given = reply(self.year.seed, contact, book.answers)
            if given is not None:
                body = {
                    "request_id": item["request_id"],
                    "helped": given.helped,
                    "score": given.score,
                    "comment": given.comment,
                }
                due = self.clock.now() + given.delay
                heapq.heappush(self._answers, (due, next(self._order), body, item.get("link")))
        return {"request_id": item["request_id"], "status": "failed" if failed else "delivered"}

    async def answer(self) -> None:
        """Customers whose time has come: every fourth by the page in the message, the rest by the channel itself."""
        now = self.clock.now()
        collected: list[dict[str, Any]] = []
        while self._answers and self._answers[0][0] <= now:
            _, number, body, link = heapq.heappop(self._answers)
            if link and number % 4 == 0:
                form = {"helped": body["helped"], "score": str(body["score"]), "comment": body["comment"] or ""}
                self._checked(await self.client.post(httpx.URL(link).raw_path.decode(), data=form))
            else:
                collected.append({name: value for name, value in body.items() if value is not None})
        if collected:
            self._checked(await self.client.post("/feedback/v1/answers", json=collected))

    async def review(self, day: int) -> None:
        """The operation's weekly look: confirm or dismiss what was opened, investigate it, do what the plan says, propose."""
        page = self._checked(await self.client.get("/classification/v1/findings", params={"limit": "200"})).json()
        for finding in page["items"]:
            planted = _cause_of(finding)
            if finding["status"] == "opened":
                if planted is None:
                    await self._command(
                        finding, "dismiss", {"reason": "se revisaron los casos y no hay una causa común"}
                    )
                    continue
                await self._command(finding, "confirm", {"reason": "visto en la revisión semanal"})
                await self._command(finding, "assign", {"owner": "gerencia de servicio"})
            elif finding["status"] == "confirmed" and planted is not None and finding["investigation"] is None:
                await self._command(finding, "investigate", investigation(planted))
            elif planted is not None and planted.name in PROPOSALS and finding["reopened"] and not finding["proposals"]:
                await self._command(finding, "proposals", PROPOSALS[planted.name])
            if planted is None or planted.action_day is None or day < planted.action_day:
                continue
            if planted.name in self._planned or finding["status"] in {"closed", "dismissed"}:
                continue
            self._planned[planted.name] = finding["finding_id"]
            plan = {
                "description": planted.action,
                "owner": "gerencia de servicio",
                "due": (self.clock.now() + timedelta(days=7)).date().isoformat(),
                "expected_ratio": 0.6,
                "window_days": 28,
            }
            await self._command(finding, "plan-action", plan)
            await self._command(finding, "implement-action", {})

    async def _command(self, finding: Mapping[str, Any], name: str, body: Mapping[str, Any]) -> None:
        path = f"/classification/v1/findings/{finding['finding_id']}/{name}"
        answer = await self.client.post(path, json=body)
        if answer.status_code == 409:
            logger.info("%s was refused: %s", path, answer.json().get("detail"))
            return
        self._checked(answer)

    @staticmethod
    def _checked(answer: httpx.Response) -> httpx.Response:
        if answer.status_code >= 400:
            raise Refused(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:2000]}")
        return answer

    async def live(self, contacts: Sequence[Contact], every: float = 20.0) -> None:
        """Go on in real time: the clock follows the machine's, and one contact comes in every `every` seconds."""
        wall = SystemClock()
        for contact in contacts:
            now = max(wall.now(), self.clock.now())
            body = contact.body | {"occurred_at": now.isoformat()}
            stamped = Contact(now, body, contact.motive, contact.planted, contact.case, contact.temper, contact.fair)
            await self.step(now, [stamped])
            for _ in range(int(every)):
                await asyncio.sleep(1)
                if wall.now() > self.clock.now():
                    self.clock.advance(wall.now())


def _cause_of(finding: Mapping[str, Any]) -> Planted | None:
    from services.demo.plan import BASE

    codes = {motive.code: motive.rulebook for motive in BASE}
    for planted in PLANTED:
        if finding["slice"].get("motive") == codes[planted.motive] and planted.verdict == "systemic":
            return planted
    return None
