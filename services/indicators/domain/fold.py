"""The indicators as a plain fold over the events: slow, obvious, and made without the read model.

`lazo verify` and the tests hold the read model against it (G8: a second, independent computation must agree).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

from libs.events.catalogue import EventData
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseAcknowledged, CaseClosed, CaseOpened, CaseReopened, FeedbackAnswered
from libs.events.catalogue.findings import (
    FindingClosed,
    FindingConfirmed,
    FindingCorrected,
    FindingDismissed,
    FindingInvestigated,
    FindingOpened,
    FindingReopened,
    VerdictReached,
)
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.rulebook import RulebookPublished
from libs.events.envelope import Event

Fact = tuple[Event, EventData]
Group = tuple[str, ...]
Dimensions = dict[str, str]
Value = tuple[float | None, int, int]
"""(value before any rule about too few, numerator, denominator)."""

HOLIDAYS = Callable[[str, int, int], frozenset[date]]


class Fold:
    """What is known from a set of events at an instant, under a version of the rulebook."""

    def __init__(
        self,
        facts: Iterable[Fact],
        *,
        as_of: datetime | None = None,
        rulebook: int | None = None,
        carry: str = "forward",
    ) -> None:
        self.interactions: dict[str, InteractionRecorded] = {}
        self.codings: dict[str, tuple[int, str, InteractionClassified]] = {}
        self.cases: dict[str, tuple[Event, CaseOpened]] = {}
        self.steps: dict[str, list[tuple[datetime, int, str, EventData]]] = defaultdict(list)
        self.answers: list[tuple[Event, FeedbackAnswered]] = []
        self.verdicts: dict[str, list[tuple[int, Event, VerdictReached]]] = defaultdict(list)
        self.states: dict[str, list[tuple[int, str, datetime]]] = defaultdict(list)
        self.natures: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.opened: dict[str, tuple[int, FindingOpened]] = {}
        self.rulebook = rulebook
        self.books: dict[int, RulebookPublished] = {}
        seen: set[str] = set()
        for event, data in facts:
            if event.id in seen or (as_of is not None and event.recordedtime > as_of):
                continue
            seen.add(event.id)
            newer = (
                isinstance(data, InteractionClassified) and rulebook is not None and data.rulebook_version > rulebook
            )
            if not (newer and carry != "both"):
                self._take(event, data, rulebook)
        if rulebook is not None:
            alone = carry == "none" or rulebook not in self.books
            self.codings = {
                key: one for key, one in self.codings.items() if one[2].rulebook_version == rulebook or not alone
            }
        for steps in self.steps.values():
            steps.sort(key=lambda one: one[:3])

    def _take(self, event: Event, data: EventData, rulebook: int | None) -> None:
        if isinstance(data, InteractionRecorded):
            self.interactions[data.interaction_id] = data
        elif isinstance(data, InteractionClassified):
            # What was decided under the version asked about goes before what was not.
            mine = (data.revision + (10**9 if data.rulebook_version == rulebook else 0), event.id, data)
            if data.interaction_id not in self.codings or self.codings[data.interaction_id][:2] < mine[:2]:
                self.codings[data.interaction_id] = mine
        elif isinstance(data, RulebookPublished):
            self.books[data.version] = data
        elif isinstance(data, CaseOpened):
            self.cases[data.case_id] = (event, data)
        elif isinstance(data, CaseAcknowledged | CaseClosed | CaseReopened):
            self.steps[data.case_id].append((data.at, event.streamversion, event.id, data))
        elif isinstance(data, FeedbackAnswered):
            self.answers.append((event, data))
        elif isinstance(data, VerdictReached):
            self.verdicts[data.finding_id].append((event.sequence, event, data))
        elif isinstance(data, FindingOpened):
            self.opened[data.finding_id] = (event.sequence, data)
            self.states[data.finding_id].append((event.sequence, "open", data.opened_at))
            if data.nature != "unknown":
                self.natures[data.finding_id].append((event.sequence - 10**12, data.nature))
        elif isinstance(data, FindingDismissed | FindingClosed | FindingReopened):
            name = {FindingDismissed: "dismissed", FindingClosed: "closed", FindingReopened: "open"}[type(data)]
            self.states[data.finding_id].append((event.sequence, name, data.at))
        elif isinstance(data, FindingConfirmed | FindingCorrected | FindingInvestigated) and data.nature is not None:
            # A person's word stands before what is inferred later.
            self.natures[data.finding_id].append((event.sequence + 10**12, data.nature))

    def state(self, finding: str) -> tuple[str, datetime | None]:
        """A finding's state and, if it ended, when."""
        if not self.states[finding]:
            return "open", None
        _, name, at = max(self.states[finding])
        return name, at if name in {"closed", "dismissed"} else None

    def spoken(self, finding: str) -> list[tuple[int, VerdictReached]]:
        """The verdicts that speak for a finding, oldest first: once it is opened, those of the slice that opened it."""
        told = [(place, data) for place, _, data in sorted(self.verdicts[finding], key=lambda one: one[0])]
        if finding not in self.opened:
            return told
        at, opened = self.opened[finding]
        leading = [data.slice for place, data in told if place < at and data.verdict_id == opened.verdict_id]
        return [one for one in told if one[1].slice == leading[-1]] if leading else told

    def slice(self, finding: str) -> dict[str, str]:
        return self.opened[finding][1].slice if finding in self.opened else self.spoken(finding)[-1][1].slice

    def nature(self, finding: str) -> str:
        said = [(place, str(data.nature)) for place, data in self.spoken(finding) if data.nature != "unknown"]
        return max([*self.natures[finding], *said], default=(0, "unknown"))[1]

    def dimensions(self, case: CaseOpened | None) -> Dimensions:
        """Every dimension of a case; "unknown" where it has no value."""
        values: dict[str, Any] = {}
        if case is not None:
            values |= {"kind": case.kind, "channel": case.channel, "source": case.origin}
            contact = self.interactions.get(case.interaction_id)
            for name in ("touchpoint", "product", "location", "team", "agent", "supplier", "segment", "language"):
                values[name] = getattr(contact, name, None)
            coding = self.codings.get(case.interaction_id)
            values |= self._coded(coding[2]) if coding else {}
        known = {name: str(value) for name, value in values.items() if value is not None}
        if case is not None:
            known |= self._judged(case, known)
        return defaultdict(lambda: "unknown", known)

    def _coded(self, coding: InteractionClassified) -> dict[str, Any]:
        """A coding in the codes of the version asked about: one code, one step, one entry at a time."""
        names = ("motive", "cause", "component", "factor", "severity", "procedure")
        values = {name: getattr(coding, name) for name in names}
        if self.rulebook is None or coding.rulebook_version == self.rulebook or self.rulebook not in self.books:
            return values
        for name, section in (("motive", "motives"), ("cause", "causes")):
            code = values[name]
            called = self._called(section, code, coding)
            if called == code:
                continue
            asked = {one["code"]: one for one in self.books[self.rulebook].document.get(section, [])}
            entry = asked.get(called, {})
            values[name] = called
            for follows in ("severity",) if name == "motive" else ("component", "factor"):
                values[follows] = entry.get(follows)
            if name == "motive" and called == "unknown":
                values["procedure"] = None
        return values

    def _called(self, section: str, code: str, coding: InteractionClassified) -> str:
        assert self.rulebook is not None
        held = {
            version: {one["code"]: one for one in book.document.get(section, [])}
            for version, book in self.books.items()
        }
        made, asked = coding.rulebook_version, self.rulebook
        if made not in held or code not in held[made]:
            return code
        zone = ZoneInfo(self.books[max(made, asked)].document.get("time_zone", "UTC"))
        day = coding.occurred_at.astimezone(zone).date()
        if made < asked:
            ends = _ends(held[asked], code, day)
        else:
            ends = {old for old in held[asked] if code in _ends(held[made], old, day)}
            if not ends:
                ends = {code} if code in held[asked] else {"unknown"}
        return ends.pop() if len(ends) == 1 else "unknown"

    def _judged(self, case: CaseOpened, values: Dimensions) -> Dimensions:
        rank = {"systemic": 3, "isolated": 2, "not_enough_evidence": 1}
        covering: list[tuple[int, datetime, str, str, str]] = []
        for finding, verdicts in self.verdicts.items():
            state, ended = self.state(finding)
            if state == "dismissed":
                continue
            newest: dict[str, tuple[int, int, VerdictReached]] = {}
            for version, _, data in sorted(verdicts, key=lambda one: one[0]):
                if data.verdict_id not in newest or newest[data.verdict_id][0] <= data.revision:
                    newest[data.verdict_id] = (data.revision, version, data)
            current = [data for _, _, data in newest.values()]
            systemic = [data for data in current if data.verdict == "systemic"]
            if finding in self.opened and systemic:
                start = min(data.since for data in systemic)
                if (
                    start <= case.received_at
                    and (ended is None or case.received_at <= ended)
                    and _in(self.slice(finding), values)
                ):
                    covering.append((-3, start, finding, "systemic", self.nature(finding)))
                continue
            for data in current:
                window = data.evaluation.window_start, data.evaluation.window_end
                if window[0] <= case.received_at < window[1] and _in(data.slice, values):
                    covering.append((-rank[data.verdict], window[0], finding, data.verdict, self.nature(finding)))
        if not covering:
            return {}
        _, _, _, verdict, nature = min(covering)
        return {"verdict": verdict, "nature": nature}

    def open_at(self, case_id: str, moment: datetime) -> bool:
        """Whether a case is open just before an instant: what happened at it comes after."""
        event, case = self.cases[case_id]
        states = [(case.received_at, 0, event.id, True)]
        states += [
            (at, version, id_, isinstance(data, CaseReopened))
            for at, version, id_, data in self.steps[case_id]
            if not isinstance(data, CaseAcknowledged)
        ]
        past = [one for one in sorted(states) if one[0] < moment]
        return past[-1][3] if past else False

    def last_closing(self, case_id: str) -> tuple[datetime, str] | None:
        """When a case was closed for good, as far as is known."""
        steps = [one for one in self.steps[case_id] if not isinstance(one[3], CaseAcknowledged)]
        return (steps[-1][0], steps[-1][2]) if steps and isinstance(steps[-1][3], CaseClosed) else None

    def acknowledged(self, case_id: str) -> datetime | None:
        return min((at for at, _, _, data in self.steps[case_id] if isinstance(data, CaseAcknowledged)), default=None)


def _ends(entries: dict[str, Any], code: str, day: date, passed: tuple[str, ...] = ()) -> set[str]:
    """What stands for a code among the entries of a newer version, for a contact of a day."""
    if code not in entries:
        return {"unknown"}
    entry = entries[code]
    following = [one if isinstance(one, str) else one["code"] for one in entry.get("becomes", [])]
    if not following and entry.get("successor") and entry.get("until") and date.fromisoformat(entry["until"]) < day:
        following = [entry["successor"]]
    if not following or code in passed:
        return {code}
    return set().union(*(_ends(entries, one, day, (*passed, code)) for one in following))


def _in(where: dict[str, str], values: Dimensions) -> bool:
    return all(values.get(name, "unknown") == value for name, value in where.items())


class Asked:
    """A question put to a fold: periods are given as (label, start, end)."""

    def __init__(
        self,
        fold: Fold,
        periods: list[tuple[str, datetime, datetime]],
        group_by: tuple[str, ...] = (),
        where: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.fold, self.periods, self.group_by, self.where = fold, periods, group_by, where or {}

    def _label(self, at: datetime) -> str | None:
        return next((label for label, start, end in self.periods if start <= at < end), None)

    def _wanted(self, dimensions: Dimensions, but: str | None = None) -> bool:
        return all(dimensions[name] in values for name, values in self.where.items() if name != but)

    def _group(self, dimensions: Dimensions) -> Group:
        return tuple(dimensions[name] for name in self.group_by)

    def _cases(self) -> Iterable[tuple[str, Group, Dimensions, CaseOpened]]:
        for _, case in self.fold.cases.values():
            label, dimensions = self._label(case.received_at), self.fold.dimensions(case)
            if label is not None:
                yield label, self._group(dimensions), dimensions, case

    def received(self) -> dict[tuple[str, Group], int]:
        found: dict[tuple[str, Group], int] = defaultdict(int)
        for label, group, dimensions, _ in self._cases():
            if self._wanted(dimensions):
                found[label, group] += 1
        return dict(found)

    def complainants(self) -> dict[tuple[str, Group], int]:
        found: dict[tuple[str, Group], set[str]] = defaultdict(set)
        for label, group, dimensions, case in self._cases():
            if self._wanted(dimensions):
                found[label, group].add(case.customer_id)
        return {place: len(people) for place, people in found.items()}

    def split(self, by: str) -> dict[tuple[str, Group], tuple[int, int]]:
        """Cases of each value of `by` and all coded cases of the same other groups; `group_by` must hold `by`."""
        place = self.group_by.index(by)
        hits: dict[tuple[str, Group], int] = defaultdict(int)
        totals: dict[tuple[str, Group], int] = defaultdict(int)
        for label, group, dimensions, _ in self._cases():
            if dimensions["motive"] != "unknown" and self._wanted(dimensions, but=by):
                hits[label, group] += 1
                totals[label, group[:place] + group[place + 1 :]] += 1
        chosen = self.where.get(by)
        return {
            (label, group): (number, totals[label, group[:place] + group[place + 1 :]])
            for (label, group), number in hits.items()
            if chosen is None or group[place] in chosen
        }

    def systemic(self) -> dict[tuple[str, Group], tuple[int, int]]:
        return self._share(
            (label, group, dimensions, dimensions["verdict"] == "systemic")
            for label, group, dimensions, _ in self._cases()
        )

    def _share(self, facts: Iterable[tuple[str, Group, Dimensions, bool]]) -> dict[tuple[str, Group], tuple[int, int]]:
        found: dict[tuple[str, Group], list[int]] = defaultdict(lambda: [0, 0])
        for label, group, dimensions, hit in facts:
            if self._wanted(dimensions):
                found[label, group][0] += hit
                found[label, group][1] += 1
        return {place: (hits, total) for place, (hits, total) in found.items()}

    def acknowledged_in_target(self, known: datetime) -> dict[tuple[str, Group], tuple[int, int]]:
        facts = []
        for case_id, (_, case) in self.fold.cases.items():
            label, at = self._label(case.acknowledge_by), self.fold.acknowledged(case_id)
            kept = at is not None and at <= case.acknowledge_by
            if label is not None and (kept or case.acknowledge_by <= known):
                dimensions = self.fold.dimensions(case)
                facts.append((label, self._group(dimensions), dimensions, kept))
        return self._share(facts)

    def acknowledgement_hours(self) -> dict[tuple[str, Group], list[float]]:
        return self._durations(
            (case, at, (at - case.received_at) / timedelta(hours=1))
            for case_id, (_, case) in self.fold.cases.items()
            if (at := self.fold.acknowledged(case_id)) is not None
        )

    def resolution_days(self, zone: ZoneInfo, holidays: HOLIDAYS) -> dict[tuple[str, Group], list[float]]:
        """Business days one by one: every day after receipt up to the closing that is neither weekend nor holiday."""

        def days(case: CaseOpened, closed: datetime) -> float:
            day, last = case.received_at.astimezone(zone).date(), closed.astimezone(zone).date()
            free = holidays(case.calendar, day.year, last.year)
            number = 0
            while day < last:
                day += timedelta(days=1)
                number += day.weekday() < 5 and day not in free
            return float(number)

        return self._durations(
            (case, closing[0], days(case, closing[0]))
            for case_id, (_, case) in self.fold.cases.items()
            if (closing := self.fold.last_closing(case_id)) is not None
        )

    def _durations(self, facts: Iterable[tuple[CaseOpened, datetime, float]]) -> dict[tuple[str, Group], list[float]]:
        found: dict[tuple[str, Group], list[float]] = defaultdict(list)
        for case, at, took in facts:
            label, dimensions = self._label(at), self.fold.dimensions(case)
            if label is not None and self._wanted(dimensions):
                found[label, self._group(dimensions)].append(took)
        return {place: sorted(values) for place, values in found.items()}

    def open_ages(self, known: datetime) -> dict[tuple[str, Group], list[float]]:
        """Ages in days of the cases open at the end of each period, or at the instant known in the running one."""
        found: dict[tuple[str, Group], list[float]] = defaultdict(list)
        for label, start, end in self.periods:
            moment = min(end, known)
            if start >= known:
                continue
            for case_id, (_, case) in self.fold.cases.items():
                dimensions = self.fold.dimensions(case)
                if self._wanted(dimensions) and self.fold.open_at(case_id, moment):
                    found[label, self._group(dimensions)].append((moment - case.received_at) / timedelta(days=1))
        return {place: sorted(values) for place, values in found.items()}

    def satisfied(self) -> dict[tuple[str, Group], tuple[int, int]]:
        facts = []
        for _, answer in self.fold.answers:
            label = self._label(answer.at)
            if label is None or answer.score is None:
                continue
            case = self.fold.cases.get(answer.case_id or "")
            dimensions = self.fold.dimensions(case[1] if case else None)
            facts.append((label, self._group(dimensions), dimensions, answer.score >= 4))
        return self._share(facts)

    def mean_score(self) -> float | None:
        scores = [
            answer.score for _, answer in self.fold.answers if answer.score is not None and self._label(answer.at)
        ]
        return fmean(scores) if scores else None

    def detection_delays(self) -> dict[tuple[str, Group], list[float]]:
        found: dict[tuple[str, Group], list[float]] = defaultdict(list)
        for finding, verdicts in self.fold.verdicts.items():
            systemic = [(event.time, version, data) for version, event, data in verdicts if data.verdict == "systemic"]
            if not systemic or self.fold.state(finding)[0] == "dismissed":
                continue
            at = min(one[:2] for one in systemic)[0]
            since = min(one[2].since for one in systemic)
            newest = self.fold.spoken(finding)[-1][1]
            values = {
                **self.fold.slice(finding),
                "nature": self.fold.nature(finding),
                "verdict": str(newest.verdict),
            }
            dimensions: Dimensions = defaultdict(lambda: "unknown", values)
            label = self._label(at)
            if label is not None and self._wanted(dimensions):
                found[label, self._group(dimensions)].append((at - since) / timedelta(days=1))
        return {place: sorted(values) for place, values in found.items()}
