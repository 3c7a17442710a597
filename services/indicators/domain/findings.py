"""Findings and verdicts as a fold over their events, and which cases a verdict covers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from libs.events.catalogue.finding_status import Status, after

State = Literal["open", "confirmed", "dismissed", "closed"]
"""The coarse state: `open` until a person took it up, `confirmed` from then on, whatever is done about it."""

# What a case is said to be under when several verdicts cover it: the gravest.
RANK = {"systemic": 3, "isolated": 2, "not_enough_evidence": 1}


@dataclass(frozen=True, slots=True)
class Fact:
    """One event of `lazo.findings`, as the read model keeps it. Times are microseconds since 1970."""

    event_id: str
    finding_id: str
    what: str  # "verdict.reached", "finding.opened", …
    version: int  # place in the finding's stream
    at: int
    recorded_at: int
    data: dict[str, Any]


@dataclass(slots=True)
class Finding:
    """A finding as known from its events."""

    finding_id: str
    status: Status = Status.OPENED
    opened: bool = False
    opened_at: int | None = None
    since: int | None = None
    verdict: str = "not_enough_evidence"
    nature: str = "unknown"
    slice: dict[str, str] = field(default_factory=dict)
    title: dict[str, str] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    interaction_ids: list[str] = field(default_factory=list)
    owner: str | None = None
    ended_at: int | None = None
    actions: dict[str, dict[str, Any]] = field(default_factory=dict)
    named_by: str | None = None  # who said of what nature it is; None: nobody, it is inferred
    confirmed_by: str | None = None
    investigation: dict[str, Any] = field(default_factory=dict)
    proposals: dict[str, dict[str, Any]] = field(default_factory=dict)
    levels: list[str] = field(default_factory=list)
    group: str | None = None
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    split_from: str | None = None
    lesson: dict[str, Any] = field(default_factory=dict)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    natures: dict[str, float] = field(default_factory=dict)
    taught_by: list[str] = field(default_factory=list)
    contacts: set[str] = field(default_factory=set)
    history: list[Fact] = field(default_factory=list)
    verdicts: dict[str, Fact] = field(default_factory=dict)
    led: dict[str, str] | None = None  # slice of the verdict it was opened with; None: every verdict speaks for it

    @property
    def phase(self) -> str:
        """The status, by the names that classification has."""
        return self.status.value

    @property
    def state(self) -> State:
        match self.status:
            case Status.OPENED:
                return "open"
            case Status.DISMISSED:
                return "dismissed"
            case Status.CLOSED:
                return "closed"
            case _:
                return "confirmed"


def fold(facts: Iterable[Fact]) -> dict[str, Finding]:
    """Findings by id. The order the facts come in does not matter: they are taken by their place in the stream."""
    found: dict[str, Finding] = {}
    for fact in sorted(facts, key=lambda one: (one.finding_id, one.version, one.at, one.event_id)):
        evolve(found.setdefault(fact.finding_id, Finding(fact.finding_id)), fact)
    return found


def evolve(finding: Finding, fact: Fact) -> None:
    """Take one event into a finding."""
    data = fact.data
    finding.history.append(fact)
    reason = data.get("reason") if fact.what == "finding.reopened" else None
    finding.status = after(finding.status, fact.what, investigated=bool(finding.investigation), reason=reason)
    match fact.what:
        case "verdict.reached":
            _verdict(finding, fact)
        case "finding.opened":
            finding.opened, finding.opened_at, finding.ended_at = True, fact.at, None
            finding.split_from = data.get("split_from")
            _led(finding, data)
            finding.title = dict(data.get("title") or {})
            finding.since = finding.since if finding.since is not None else data.get("since_us")
            if finding.nature == "unknown":
                finding.nature = data.get("nature") or "unknown"
        case "finding.confirmed":
            finding.confirmed_by = data.get("by")
            _named(finding, data)
        case "finding.corrected":
            finding.confirmed_by = finding.confirmed_by or data.get("by")
            _named(finding, data)
        case "finding.investigated":
            finding.investigation = {**data, "at_us": fact.at}
            _named(finding, data)
        case "finding.reopened":
            finding.ended_at = None
        case "finding.dismissed" | "finding.closed":
            finding.ended_at = fact.at
        case "action.planned" | "action.implemented" | "action.judged" | "action.cancelled":
            finding.actions.setdefault(str(data.get("action_id")), {}).update(
                {**data, "state": fact.what.removeprefix("action."), f"{fact.what.removeprefix('action.')}_us": fact.at}
            )
        case _:
            _worked_on(finding, fact)


def _worked_on(finding: Finding, fact: Fact) -> None:
    """What is done with a finding beside judging it; a later type about one stands in its history."""
    data = fact.data
    match fact.what:
        case "finding.escalated":
            finding.levels.append(str(data.get("level")))
        case "finding.grouped":
            finding.group = data.get("into")
        case "finding.split":
            finding.parts |= data.get("parts") or {}
        case "finding.joined":
            finding.contacts |= set(data.get("interaction_ids") or ())
            finding.contacts -= set(data.get("left") or ())
        case "threshold.taught":
            finding.lesson = dict(data)
        case "proposal.made":
            finding.proposals[str(data.get("proposal_id"))] = {**data, "state": "open", "made_us": fact.at}
        case "proposal.settled":
            settled = {"state": data.get("outcome"), "settled_by": data.get("by"), "settled_us": fact.at}
            settled |= {"because": data.get("reason"), "rulebook_version": data.get("rulebook_version")}
            finding.proposals.setdefault(str(data.get("proposal_id")), {}).update(settled)
        case "finding.assigned":
            finding.owner = data.get("owner")
        case _:
            pass


def _named(finding: Finding, data: dict[str, Any]) -> None:
    """A person's word about the nature stands before what is inferred later."""
    if data.get("nature"):
        finding.nature, finding.named_by = data["nature"], data.get("by")


def _verdict(finding: Finding, fact: Fact) -> None:
    data = fact.data
    known = finding.verdicts.get(str(data["verdict_id"]))
    if known is None or known.data["revision"] <= data["revision"]:
        finding.verdicts[str(data["verdict_id"])] = fact
    since = data.get("since_us")
    if data["verdict"] == "systemic" and since is not None:
        finding.since = since if finding.since is None else min(finding.since, since)
    if finding.led is None or finding.led == dict(data.get("slice") or {}):
        _speaks(finding, data)


def _led(finding: Finding, data: dict[str, Any]) -> None:
    """Opened: from now on it has the slice it was opened for, and the numbers of the slice that was judged. Other slices that it
    explains are its members; what is said of them changes neither."""
    first = finding.verdicts.get(str(data.get("verdict_id")))
    finding.led = None if first is None else dict(first.data.get("slice") or {})
    spoken = [fact.data for fact in finding.history if fact.what == "verdict.reached"]
    for said in spoken if finding.led is not None else ():
        if dict(said.get("slice") or {}) == finding.led:
            _speaks(finding, said)
    finding.slice = dict(data.get("slice") or finding.slice)


def _speaks(finding: Finding, data: dict[str, Any]) -> None:
    """The numbers and the nature of a verdict become the finding's."""
    finding.verdict = data["verdict"]
    finding.reasons = list(data.get("reasons") or ())
    finding.natures = dict(data.get("natures") or {})
    finding.taught_by = list(data.get("taught_by") or ())
    if data.get("nature") not in {None, "unknown"} and finding.named_by is None:
        finding.nature = data["nature"]
    if not finding.opened:
        finding.slice = dict(data.get("slice") or finding.slice)
    finding.evaluation = dict(data.get("evaluation") or {})
    finding.interaction_ids = list(data.get("interaction_ids") or ())


@dataclass(frozen=True, slots=True)
class Span:
    """Cases of `slice` received in [start, end) are under this verdict; where several cover a case the highest rank counts."""

    rank: int
    verdict: str
    nature: str
    slice: tuple[tuple[str, str], ...]
    start: int
    end: int
    finding_id: str


FOREVER = 2**62


def spans(findings: Iterable[Finding]) -> list[Span]:
    """What each finding covers.

    A systemic finding covers its slice from the first case it counted until it is closed; a dismissed one covers nothing.
    Other verdicts cover the window they looked at.
    """
    result = []
    for finding in findings:
        newest: Sequence[Fact] = list(finding.verdicts.values())
        if not newest or finding.state == "dismissed":
            continue
        if finding.opened and any(fact.data["verdict"] == "systemic" for fact in newest):
            first = min(fact.data["since_us"] for fact in newest if fact.data["verdict"] == "systemic")
            result.append(
                _span(finding, "systemic", first, FOREVER if finding.ended_at is None else finding.ended_at + 1)
            )
            continue
        result += [
            _span(finding, fact.data["verdict"], fact.data["window_start_us"], fact.data["window_end_us"], fact)
            for fact in newest
        ]
    return sorted(result, key=lambda span: (-span.rank, span.start, span.finding_id))


def _span(finding: Finding, verdict: str, start: int, end: int, fact: Fact | None = None) -> Span:
    where = finding.slice if fact is None else dict(fact.data.get("slice") or finding.slice)
    return Span(
        RANK.get(verdict, 0), verdict, finding.nature, tuple(sorted(where.items())), start, end, finding.finding_id
    )
