"""What indicators keeps of every event: one visible table of projectors. It decides nothing and publishes nothing.

An event becomes one row (with a sealed text beside it, where there is one), inserted in bulk: no handler reads what
another topic brought, so any interleaving gives the same rows, and a second delivery does nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Table

from libs.events.catalogue import EventData, decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseClosed,
    CaseLinked,
    CaseOpened,
    CaseOverdue,
    CaseReferred,
    CaseReopened,
    CaseResolved,
    CaseResponded,
    CaseUnacknowledged,
    FeedbackAnswered,
    FeedbackExpired,
    FeedbackReported,
    FeedbackRequested,
)
from libs.events.catalogue.findings import (
    ActionCancelled,
    ActionImplemented,
    ActionJudged,
    ActionPlanned,
    FindingAssigned,
    FindingClosed,
    FindingConfirmed,
    FindingCorrected,
    FindingDismissed,
    FindingEscalated,
    FindingGrouped,
    FindingInvestigated,
    FindingJoined,
    FindingOpened,
    FindingReopened,
    FindingSplit,
    ProposalMade,
    ProposalSettled,
    ThresholdTaught,
    VerdictReached,
)
from libs.events.catalogue.interactions import CustomerErased, InteractionRecorded, SourceRegistered
from libs.events.catalogue.rulebook import RulebookPublished
from libs.events.consumer import Subscription
from libs.events.envelope import Event
from libs.events.offload import each
from libs.events.store import Unit
from services.indicators.bulk import Row, insert
from services.indicators.tables import Facts, facts

PIECE = 100
"""Events between two looks at what else the loop has to do: 2 ms of a rebuild, whose every event costs 20 µs here."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MILESTONES: tuple[type[EventData], ...] = (
    CaseAcknowledged, CaseUnacknowledged, CaseAssigned, CaseResponded, CaseResolved, CaseReopened, CaseClosed, CaseReferred,
    CaseOverdue, CaseLinked,
)  # fmt: skip
FEEDBACK: tuple[type[EventData], ...] = (FeedbackRequested, FeedbackReported, FeedbackAnswered, FeedbackExpired)
FINDINGS: tuple[type[EventData], ...] = (
    VerdictReached, FindingOpened, FindingConfirmed, FindingDismissed, FindingAssigned, FindingReopened, FindingClosed,
    ActionPlanned, ActionImplemented, ActionJudged, ActionCancelled, FindingInvestigated, FindingCorrected, FindingEscalated,
    FindingGrouped, FindingSplit, FindingJoined, ProposalMade, ProposalSettled, ThresholdTaught,
)  # fmt: skip


def us(moment: datetime) -> int:
    """Microseconds since 1970, by integers: a float cannot hold them all."""
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def us_of(text: str) -> int:
    """The same of a time in an event's JSON (RFC 3339 with offset)."""
    return us(datetime.fromisoformat(text))


def us_or_none(text: str | None) -> int | None:
    return None if text is None else us_of(text)


def what(type_name: str) -> str:
    """`lazo.case.closed.v1` -> `case.closed`."""
    return type_name.removeprefix("lazo.").rpartition(".v")[0]


def data_of(event: Event, newest: frozenset[str]) -> dict[str, Any]:
    """The event's data as its newest version. Models cost ten times a bare JSON parse, so only old versions go through one."""
    if event.type in newest:
        parsed: dict[str, Any] = orjson.loads(event.data)
        return parsed
    return decode(event).model_dump(mode="json")


def interaction(event: Event, d: dict[str, Any]) -> Row:
    get = d.get
    return (
        d["interaction_id"], d["customer_id"], us_of(d["occurred_at"]), us(event.recordedtime), d["kind"], d["channel"],
        d["origin"], d["external_id"], get("touchpoint"), get("product"), get("location"), get("team"), get("agent"),
        get("supplier"), get("segment"), get("language"), get("case_ref"), get("declared_motive"),
        1 if get("internal") else 0, get("effects", "live"),
    )  # fmt: skip


def sealed_text(_event: Event, d: dict[str, Any]) -> Row:
    return (d["interaction_id"], d.get("subject"), d.get("text"))


def coding(event: Event, d: dict[str, Any]) -> Row:
    get = d.get
    return (
        d["interaction_id"], get("revision", 1), event.id, us(event.recordedtime), us_of(d["occurred_at"]), d["motive"],
        d["cause"], get("component"), get("factor"), get("expectation"), get("severity"), get("procedure"), get("norm"),
        get("act"), d["rulebook_version"], float(d["confidence"]), 1 if get("review") else 0,
    )  # fmt: skip


def case(event: Event, d: dict[str, Any]) -> Row:
    return (
        d["case_id"], event.id, d["interaction_id"], d["customer_id"], us_of(d["received_at"]), us(event.recordedtime),
        d["kind"], d["channel"], d["origin"], d.get("case_ref"), us_of(d["acknowledge_by"]), us_of(d["due_at"]),
        d["calendar"], orjson.dumps(d["term"], option=orjson.OPT_SORT_KEYS).decode(), d.get("effects", "live"),
    )  # fmt: skip


def milestone(event: Event, d: dict[str, Any]) -> Row:
    get = d.get
    return (
        d["case_id"], event.id, what(event.type).removeprefix("case."), event.streamversion, us_of(d["at"]),
        us(event.recordedtime), d["by"], get("agent"), get("team"), get("outcome"), get("procedure"), get("to") or get("finding_id"),
        # `reason` of a closing is a code of the house, not sealed; the others' are a person's words.
        get("text") or (None if event.type == CaseClosed.TYPE else get("reason")),
    )  # fmt: skip


def notice(event: Event, d: dict[str, Any]) -> Row:
    get = d.get
    need = get("new_need")
    return (
        event.id, what(event.type).removeprefix("feedback."), d["request_id"], get("case_id"), d["customer_id"],
        us_of(d["requested_at"] if "requested_at" in d else d["at"]), us(event.recordedtime), get("channel"),
        get("purpose"), get("status"), get("score"), get("helped"), None if need is None else int(need), get("comment"),
    )  # fmt: skip


def finding(event: Event, d: dict[str, Any]) -> Row:
    kept = dict(d)
    if event.type == VerdictReached.TYPE:
        kept["since_us"] = us_of(d["since"])
        kept["window_start_us"] = us_of(d["evaluation"]["window_start"])
        kept["window_end_us"] = us_of(d["evaluation"]["window_end"])
    elif event.type == FindingOpened.TYPE:
        kept["since_us"] = us_of(d["since"])
    at = d.get("at") or d.get("opened_at")
    return (
        event.id, d["finding_id"], what(event.type), event.sequence, us(event.time) if at is None else us_of(at),
        us(event.recordedtime), orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode(),
    )  # fmt: skip


def rulebook(event: Event, d: dict[str, Any]) -> Row:
    return (
        d["version"], event.id, d["name"], d["published_by"], us_of(d["published_at"]), us(event.recordedtime),
        orjson.dumps(d["document"], option=orjson.OPT_SORT_KEYS).decode(),
    )  # fmt: skip


def source(event: Event, d: dict[str, Any]) -> Row:
    return (
        d["source_id"], event.streamversion, event.id, d["name"], d["form"], 1 if d.get("active", True) else 0,
        us(event.recordedtime),
    )  # fmt: skip


def erasure(event: Event, d: dict[str, Any]) -> Row:
    return (event.id, d["customer_id"], us_of(d["erased_at"]), us(event.recordedtime))


Rower = Callable[[Event, dict[str, Any]], Row]


def _has_words(row: Row) -> bool:
    return row[1] is not None or row[2] is not None


def _into(
    table: Table, row: Rower, types: Sequence[type[EventData]], beside: tuple[Table, Rower] | None = None
) -> Callable[[Unit, Sequence[Event]], Awaitable[None]]:
    newest = frozenset(one.TYPE for one in types)
    other, words = beside if beside is not None else (None, None)

    async def handle(unit: Unit, events: Sequence[Event]) -> None:
        def rows_of(event: Event) -> tuple[Row, Row | None]:
            data = data_of(event, newest)
            return row(event, data), None if words is None else words(event, data)

        rows = await each(rows_of, events, every=PIECE)
        await insert(unit.connection, table, [one for one, _ in rows])
        if other is not None:
            said = [one for _, one in rows if one is not None and _has_words(one)]
            await insert(unit.connection, other, said)

    return handle


def subscriptions(slot: str) -> list[Subscription]:
    """Every projector of a slot. Names are identities in the store and never change."""
    t: Facts = facts(slot)
    rows: tuple[tuple[str, tuple[type[EventData], ...], Table, Rower, tuple[Table, Rower] | None], ...] = (
        ("interactions", (InteractionRecorded,), t.interactions, interaction, (t.texts, sealed_text)),
        ("codings", (InteractionClassified,), t.codings, coding, None),
        ("cases", (CaseOpened,), t.cases, case, None),
        ("milestones", MILESTONES, t.milestones, milestone, None),
        ("feedback", FEEDBACK, t.feedback, notice, None),
        ("findings", FINDINGS, t.findings, finding, None),
        ("rulebooks", (RulebookPublished,), t.rulebooks, rulebook, None),
        ("sources", (SourceRegistered,), t.sources, source, None),
        ("erasures", (CustomerErased,), t.erasures, erasure, None),
    )
    return [
        Subscription(name=name, kind="projector", types=types, handle=_into(table, row, types, beside))
        for name, types, table, row, beside in rows
    ]
