"""What the pages share: who asks, the days they are about, and the words for what is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from sqlalchemy import func, select

from libs.service.keys import Principal
from services.indicators.api import documents
from services.indicators.api.parameters import query_of
from services.indicators.api.reads import OPENS_WORDS, Reads
from services.indicators.console.render import Voice
from services.indicators.domain.findings import Finding
from services.indicators.domain.periods import Granularity, Periods, instant, label, micros, midnight
from services.indicators.domain.query import Query
from services.indicators.views import lists, words

RANGES = ("7", "30", "90", "365", "all")
PAGE = 50
WRITES = "classification:write"
"""What the commands of classification ask for; without it a page offers none of them."""
Values = dict[str, Any]


@dataclass(slots=True)
class Visit:
    """One request for a page by somebody signed in."""

    request: Request
    principal: Principal
    voice: Voice
    desk: Reads

    @property
    def opens_words(self) -> bool:
        return self.principal.may(OPENS_WORDS)


@dataclass(frozen=True, slots=True)
class Range:
    """The days a page is about, and how its links say so."""

    chosen: str
    start: datetime
    end: datetime  # exclusive
    granularity: Granularity

    def link(self, visit: Visit, **more: str) -> str:
        zone = visit.voice.zone
        last = (self.end - timedelta(microseconds=1)).astimezone(zone).date()
        days = {
            "from": self.start.astimezone(zone).date().isoformat(),
            "to": last.isoformat(),
            "granularity": self.granularity,
        }
        return urlencode(days | more)


async def range_of(visit: Visit, connection: Any, t: Any) -> Range:
    chosen = visit.request.query_params.get("days", "30")
    if chosen not in RANGES:
        chosen = "30"
    now, zone = visit.desk.clock.now(), visit.voice.zone
    end = midnight(now.astimezone(zone).date() + timedelta(days=1), zone)
    if chosen == "all":
        first = await connection.scalar(select(func.min(t.cases.c.received_at)))
        start = end - timedelta(days=30) if first is None else midnight(instant(first).astimezone(zone).date(), zone)
    else:
        start = midnight((end - timedelta(days=int(chosen))).astimezone(zone).date(), zone)
    days = (end - start).days
    return Range(chosen, start, end, "day" if days <= 45 else "week" if days <= 400 else "month")


def whole(visit: Visit, start: datetime, end: datetime) -> Query:
    zone = visit.voice.zone
    one = Periods((micros(start), micros(end)), (label(start, "day", zone),), (start.astimezone(zone).date(),))
    return Query(one, zone, micros(visit.desk.clock.now()))


async def status_of(visit: Visit) -> Values:
    running = visit.request.app.state.service
    if running is None:
        return {"behind": 0, "pending": 0, "parked": 0, "fine": False, "age": ""}
    found = await running.runtime.status()
    return {
        "behind": found.behind,
        "pending": found.pending,
        "parked": found.parked,
        "fine": not (found.behind or found.pending or found.parked),
        "age": visit.voice.since(found.oldest_seconds or 0),
    }


def asked(visit: Visit, *also: str, whole: bool = False) -> Query:
    """The question in the page's address, in the words of the API."""
    now = visit.desk.clock.now()
    return query_of(visit.request.query_params, now, visit.desk.settings.time_zone, also={"lang", *also}, whole=whole)


def rest(visit: Visit, *without: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in visit.request.query_params.multi_items() if name not in without]


def place_of(text: str | None) -> tuple[int, str] | None:
    at, tilde, last = (text or "").partition("~")
    digits = at.removeprefix("-")
    return (int(at), last) if tilde and digits.isdecimal() and len(digits) < 19 else None


def period_name(voice: Any, query: Query, place: int) -> str:
    text = query.periods.labels[place]
    return (
        f"{voice.day(query.periods.starts[place])} {text[11:16]}"
        if "T" in text
        else voice.day(query.periods.starts[place])
    )


def code_name(voice: Any, section: dict[str, dict[str, str]], dimension: str, value: str) -> str:
    if value == "unknown":
        return str(voice.t("unknown"))
    if section.get(value):
        return documents.name_of(section, value, voice.language)
    return str(voice.maybe(dimension, value))


async def opened_words(visit: Visit, rows: Sequence[Any]) -> documents.Words | None:
    if not visit.opens_words:
        return None
    sealed = [
        words.Sealed(row[column], row["customer_id"], row["interaction_id"], name)
        for row in rows
        for column, name in (("subject", "subject"), ("body", "text"))
        if row[column] is not None
    ]
    return await words.opened(visit.desk.vault, sealed)


def contact_of(visit: Visit, row: Any, names: lists.Names, opened: documents.Words | None) -> Values:
    voice = visit.voice
    text = (
        None
        if opened is None
        else opened.get((row["interaction_id"], "text")) or opened.get((row["interaction_id"], "subject"))
    )
    return {
        "id": row["interaction_id"],
        "at": row["occurred_at"],
        "kind": voice.maybe("kind", row["kind"]),
        "channel": voice.maybe("channel", row["channel"]),
        "customer": row["customer_id"],
        "case": row["case_id"],
        "touchpoint": row["touchpoint"]
        and code_name(voice, documents.section_of(names, "touchpoint"), "touchpoint", row["touchpoint"]),
        "motive": code_name(voice, documents.section_of(names, "motive"), "motive", row["motive"] or "unknown"),
        "cause": code_name(voice, documents.section_of(names, "cause"), "cause", row["cause"] or "unknown"),
        "text": text,
        "sealed": opened is None and (row["body"] is not None or row["subject"] is not None),
        "language": row["language"],
    }


def behind(found: Finding) -> list[str]:
    """The contacts of a finding: those that joined it, else those of its newest verdict."""
    return sorted(found.contacts) or list(found.interaction_ids)


def window_of(voice: Voice, evaluation: Mapping[str, Any]) -> tuple[date, date]:
    """First and last day that a verdict looked at, as the monitor parted its days: by its own midnights, which the console's zone need
    not share. The end of a window is the midnight after its last day."""
    start, end = (datetime.fromisoformat(evaluation[name]) for name in ("window_start", "window_end"))
    zone: tzinfo = voice.zone
    if start.astimezone(zone).time() != time() and start.astimezone(UTC).time() == time():
        zone = UTC
    return start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()


ORDER = ("motive", "cause", "component", "product", "procedure", "supplier", "team", "touchpoint", "location")
"""In which the values of a slice are told: what, who, where."""


def finding_of(visit: Visit, one: Finding, names: lists.Names) -> Values:
    voice = visit.voice
    e = one.evaluation
    where = [
        (voice.maybe("dimension", name), code_name(voice, documents.section_of(names, name), name, value))
        for name, value in sorted(one.slice.items(), key=lambda item: (ORDER.index(item[0]) if item[0] in ORDER else -1, item[0]))
    ]  # fmt: skip
    title = one.title.get(voice.language) or " · ".join(value for _, value in where) or one.finding_id
    observed, expected_ = e.get("observed"), e.get("expected")
    return {
        "id": one.finding_id,
        "title": title,
        "state": one.state,
        "state_name": voice.maybe("state", one.state),
        "verdict": one.verdict,
        "verdict_name": voice.maybe("verdict", one.verdict),
        "nature": voice.maybe("nature", one.nature),
        "where": where,
        "since": one.since,
        "opened_at": one.opened_at,
        "ended_at": one.ended_at,
        "owner": one.owner,
        "e": e,
        "window": window_of(voice, e) if e.get("window_start") else None,
        "times": observed / expected_ if observed is not None and expected_ else None,
        "contacts": len(behind(one)),
        "phase": one.phase,
        "phase_name": voice.maybe("phase", one.phase),
    }
