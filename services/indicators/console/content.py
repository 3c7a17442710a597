"""What stands on each page: read from the model, in the words of the reader."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import func, select

from libs.service.http.problems import Problem
from services.indicators.api import documents
from services.indicators.api.parameters import Wrong, choice, query_of
from services.indicators.api.quarantine import shown
from services.indicators.api.reads import Reads, holidays_of
from services.indicators.domain.arithmetic import Measured
from services.indicators.domain.findings import Finding
from services.indicators.domain.periods import DAY_US, Granularity, Periods, instant, label, micros, midnight
from services.indicators.domain.query import Query
from services.indicators.domain.registry import DIMENSIONS, INDICATORS, UNITS, Indicator
from services.indicators.views import drill, lists, timelines, words
from services.indicators.views.facts_of import indicator_of
from services.indicators.views.measures import measure
from services.indicators.views.scope import findings

if TYPE_CHECKING:
    from services.indicators.console.pages import Visit

RANGES = ("7", "30", "90", "365", "all")
TILES = (
    "complaints_received", "complainants", "backlog", "acknowledgement_time", "resolution_time", "csat", "systemic_share",
    "acknowledgement_in_target",
)  # fmt: skip
PAGE = 50
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Range:
    """The days a page is about, and how its links say so."""

    chosen: str
    start: datetime
    end: datetime  # exclusive
    granularity: Granularity

    def link(self, visit: "Visit", **more: str) -> str:
        zone = visit.voice.zone
        last = (self.end - timedelta(microseconds=1)).astimezone(zone).date()
        days = {
            "from": self.start.astimezone(zone).date().isoformat(),
            "to": last.isoformat(),
            "granularity": self.granularity,
        }
        return urlencode(days | more)


async def _range(visit: "Visit", connection: Any, t: Any) -> Range:
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


def _whole(visit: "Visit", start: datetime, end: datetime) -> Query:
    zone = visit.voice.zone
    one = Periods((micros(start), micros(end)), (label(start, "day", zone),), (start.astimezone(zone).date(),))
    return Query(one, zone, micros(visit.desk.clock.now()))


async def _value(desk: Reads, connection: Any, t: Any, one: Indicator, query: Query) -> Measured:
    answer = await measure(connection, t, one, query, holidays_of, minimum=desk.settings.minimum)
    return answer.points[0].measured if answer.points else Measured(None, None, None, None, None)


def _tile(visit: "Visit", one: Indicator, now: Measured, before: Measured, link: str) -> Values:
    voice = visit.voice
    change = None
    if isinstance(now.value, int | float) and isinstance(before.value, int | float):
        difference = now.value - before.value
        # Where the intervals overlap, the difference may be chance; it is not coloured as news. A level has no chance in it.
        sure = one.form == "level" or _apart(now, before)
        good = difference < 0 if one.better == "down" else difference > 0
        change = {
            "text": voice.t(
                "tile.change",
                sign="+" if difference > 0 else "−" if difference < 0 else "±",
                n=voice.n(abs(difference)),
            ),
            "tone": "flat" if not sure or one.better == "neither" else "good" if good else "bad",
            "sure": sure,
        }
    return {
        "code": one.code,
        "name": one.names[voice.language],
        "value": voice.n(now.value),
        "few": isinstance(now.value, str),
        "unit": UNITS[one.unit][voice.language],
        "shows_unit": isinstance(now.value, int | float) and one.form not in {"count", "distinct", "level"},
        "of": _made_of(visit, one, now),
        "interval": voice.t("tile.interval", low=voice.n(now.low), high=voice.n(now.high))
        if now.low is not None
        else "",
        "change": change,
        "link": link,
    }


def _apart(one: Measured, other: Measured) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high


def _made_of(visit: "Visit", one: Indicator, m: Measured) -> str:
    voice = visit.voice
    if one.form == "share":
        return voice.t("tile.of", n=voice.n(m.numerator), of=voice.n(m.denominator))
    if one.form in {"duration", "age", "delay"}:
        return voice.t("tile.measured", n=voice.n(m.denominator))
    return voice.t(f"tile.{one.form}")


async def overview(visit: "Visit") -> Values:
    desk, voice = visit.desk, visit.voice
    status = await _status(visit)
    async with desk.open() as (connection, t):
        chosen = await _range(visit, connection, t)
        length = chosen.end - chosen.start
        now, before = _whole(visit, chosen.start, chosen.end), _whole(visit, chosen.start - length, chosen.start)
        oldest, newest = (
            await connection.execute(select(func.min(t.cases.c.received_at), func.max(t.cases.c.received_at)))
        ).one()
        # Where the time before was not recorded, everything would look like a rise.
        compared = chosen.chosen != "all" and oldest is not None and oldest < before.periods.start + DAY_US
        tiles = []
        for code in TILES:
            one = INDICATORS[code]
            value = await _value(desk, connection, t, one, now)
            then = (
                await _value(desk, connection, t, one, before) if compared else Measured(None, None, None, None, None)
            )
            tiles.append(_tile(visit, one, value, then, f"/numbers/{code}?{chosen.link(visit)}"))
        bars, total, _ = await lists.pareto(connection, t, now, "motive", minimum=desk.settings.minimum)
        _, names = await lists.names(connection, t)
        found = await findings(connection, t, None)
        known = await connection.scalar(select(func.count()).select_from(t.interactions))
    open_ones = sorted(
        (one for one in found.values() if one.opened and one.state in {"open", "confirmed"}),
        key=lambda one: -(one.opened_at or 0),
    )
    section = documents.section_of(names, "motive")
    return {
        "charts": True,
        "title": voice.t("overview.title"),
        "range": chosen,
        "ranges": RANGES,
        "first_day": voice.day(chosen.start),
        "last_day": voice.day(chosen.end - timedelta(microseconds=1)),
        "query": chosen.link(visit, lang=voice.language),
        "tiles": tiles,
        "status": status,
        "anything": bool(known),
        "newest": newest,
        "compared": compared,
        "total": total,
        "empty_range": total == 0,
        "top": [documents.bar(bar, section, voice.language) for bar in bars[:5]],
        "findings": [_finding(visit, one, names) for one in open_ones[:6]],
        "more_findings": max(0, len(open_ones) - 6),
        "draw": [
            _drawn(visit, code, chosen)
            for code in ("complaints_received", "backlog", "motive_share", "component_balance", "csat", "resolution_time")
        ],
    }  # fmt: skip


def _drawn(visit: "Visit", code: str, chosen: Range) -> Values:
    one, language = INDICATORS[code], visit.voice.language
    if one.form not in {"count", "distinct", "level"}:
        # A day rarely has enough cases for a share or a median; a coarser step shows a line instead of gaps.
        coarser: Granularity = "week" if chosen.granularity == "day" else "month"
        chosen = replace(chosen, granularity=coarser)
    query = chosen.link(visit, lang=language)
    return {"code": code, "name": one.names[language], "formula": one.formula[language], "query": query}


async def _status(visit: "Visit") -> Values:
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


def _asked(visit: "Visit", *also: str) -> Query:
    """The question in the page's address, in the words of the API."""
    now = visit.desk.clock.now()
    return query_of(visit.request.query_params, now, visit.desk.settings.time_zone, also={"lang", *also})


def _known(code: str, visit: "Visit") -> Indicator:
    try:
        return indicator_of(code)
    except KeyError:
        raise Problem(404, "", visit.voice.t("missing.indicator", code=code[:60])) from None


def _rest(visit: "Visit", *without: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in visit.request.query_params.multi_items() if name not in without]


async def number(visit: "Visit", code: str) -> Values:
    one, query, voice = _known(code, visit), _asked(visit), visit.voice
    async with visit.desk.open() as (connection, t):
        answer = await measure(connection, t, one, query, holidays_of, minimum=visit.desk.settings.minimum)
        _, names = await lists.names(connection, t, query.rulebook)
    by = answer.query.group_by
    sections = {dimension: documents.section_of(names, dimension) for dimension in by}
    rows = []
    for point in reversed(answer.points):
        period = query.periods.labels[point.period]
        where = [(f"where[{dimension}]", value) for dimension, value in zip(by, point.group, strict=True)]
        kept = [pair for pair in _rest(visit, "group_by", "lang", *(name for name, _ in where))]
        rows.append(
            {
                "period": _period(voice, query, point.period),
                "groups": [_code(voice, sections[dimension], dimension, value) for dimension, value in zip(by, point.group, strict=True)],
                "m": point.measured,
                "link": f"/numbers/{one.code}/events?{urlencode([*kept, *where, ('period', period)])}",
            }
        )  # fmt: skip
    return {
        "charts": True,
        "title": one.names[voice.language],
        "one": documents.catalogued(one, voice.language),
        "rows": rows[:400],
        "cut": max(0, len(rows) - 400),
        "dimensions": [(name, voice.maybe("dimension", name)) for name in DIMENSIONS],
        "by": by,
        "asked_by": query.group_by[0] if query.group_by else "",
        "from": query.periods.starts[0].isoformat(),
        "to": instant(query.periods.end - 1).astimezone(query.zone).date().isoformat(),
        "granularity": visit.request.query_params.get("granularity", "day"),
        "where": [(name, voice.maybe("dimension", name), values) for name, values in query.where.items()],
        "query": urlencode([*_rest(visit, "lang"), ("lang", voice.language)]),
        "indicators": [(code, each.names[voice.language]) for code, each in INDICATORS.items()],
    }


def _period(voice: Any, query: Query, place: int) -> str:
    text = query.periods.labels[place]
    return (
        f"{voice.day(query.periods.starts[place])} {text[11:16]}"
        if "T" in text
        else voice.day(query.periods.starts[place])
    )


def _code(voice: Any, section: dict[str, dict[str, str]], dimension: str, value: str) -> str:
    if value == "unknown":
        return str(voice.t("unknown"))
    if section.get(value):
        return documents.name_of(section, value, voice.language)
    return str(voice.maybe(dimension, value))


async def behind(visit: "Visit", code: str) -> Values:
    one, voice = _known(code, visit), visit.voice
    query = _asked(visit, "period", "part", "after")
    params = visit.request.query_params
    part = params.get("part", "numerator")
    period = params.get("period")
    if period is not None:
        try:
            query = query.only(period)
        except KeyError:
            raise Problem(422, "", voice.t("missing.period")) from None
    after = _place(params.get("after"))
    async with visit.desk.open() as (connection, t):
        found = await drill.behind(
            connection, t, one, query, denominator=part == "denominator", after=after, limit=PAGE + 1
        )
        ids = [each.interaction_id for each in found[:PAGE] if each.interaction_id is not None]
        ever = replace(query, periods=Periods((-(2**62), 2**62), ("",), query.periods.starts[:1]), where={})
        rows = (
            {row["interaction_id"]: row for row in await lists.contacts(connection, t, ever, ids=ids, limit=PAGE * 2)}
            if ids
            else {}
        )
        _, names = await lists.names(connection, t, query.rulebook)
    opened = await _opened(visit, list(rows.values()))
    shown = found[:PAGE]
    more = ""
    if len(found) > PAGE:
        more = "?" + urlencode([*_rest(visit, "after"), ("after", f"{shown[-1].at}~{shown[-1].event_id}")])
    return {
        "title": one.names[voice.language],
        "one": documents.catalogued(one, voice.language),
        "period": _period(voice, query, 0) if period else f"{voice.day(query.periods.start)} – {voice.day(query.periods.end - 1)}",
        "where": [(voice.maybe("dimension", name), [_code(voice, documents.section_of(names, name), name, value) for value in values]) for name, values in query.where.items()],
        "part": part,
        "items": [{"event": each, "contact": _contact(visit, rows[each.interaction_id], names, opened) if each.interaction_id in rows else None} for each in shown],
        "more": more,
        "back": f"/numbers/{one.code}?{urlencode(_rest(visit, 'period', 'part', 'after'))}",
    }  # fmt: skip


def _place(text: str | None) -> tuple[int, str] | None:
    at, tilde, last = (text or "").partition("~")
    digits = at.removeprefix("-")
    return (int(at), last) if tilde and digits.isdecimal() and len(digits) < 19 else None


async def _opened(visit: "Visit", rows: Sequence[Any]) -> documents.Words | None:
    if not visit.opens_words:
        return None
    sealed = [
        words.Sealed(row[column], row["customer_id"], row["interaction_id"], name)
        for row in rows
        for column, name in (("subject", "subject"), ("body", "text"))
        if row[column] is not None
    ]
    return await words.opened(visit.desk.vault, sealed)


def _contact(visit: "Visit", row: Any, names: lists.Names, opened: documents.Words | None) -> Values:
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
        "touchpoint": row["touchpoint"],
        "motive": _code(voice, documents.section_of(names, "motive"), "motive", row["motive"] or "unknown"),
        "cause": _code(voice, documents.section_of(names, "cause"), "cause", row["cause"] or "unknown"),
        "text": text,
        "sealed": opened is None and (row["body"] is not None or row["subject"] is not None),
        "language": row["language"],
    }


async def causes(visit: "Visit") -> Values:
    voice, params = visit.voice, visit.request.query_params
    try:
        by = choice(params, "by", DIMENSIONS, "motive")
    except Wrong as wrong:
        raise Problem(422, "", wrong.error.detail) from None
    if "from" in params or "to" in params:
        query, chosen = _asked(visit, "by", "days").whole(), None
        link = urlencode(_rest(visit, "by", "lang"))
    else:
        async with visit.desk.open() as (connection, t):
            chosen = await _range(visit, connection, t)
        filters = query_of(params, visit.desk.clock.now(), visit.desk.settings.time_zone, also={"by", "days", "lang"})
        query = replace(_whole(visit, chosen.start, chosen.end), where=filters.where)
        link = urlencode([*[pair for pair in _rest(visit, "by", "lang", "days")]]) + "&" + chosen.link(visit)
    async with visit.desk.open() as (connection, t):
        bars, total, vital = await lists.pareto(connection, t, query, by, minimum=visit.desk.settings.minimum)
        _, names = await lists.names(connection, t)
    section = documents.section_of(names, by)
    days = {
        "from": instant(query.periods.start).astimezone(query.zone).date().isoformat(),
        "to": instant(query.periods.end - 1).astimezone(query.zone).date().isoformat(),
    }
    kept = [(f"where[{name}]", value) for name, values in query.where.items() if name != by for value in values]
    items = []
    for bar in bars:
        here = [*days.items(), *kept, (f"where[{by}]", bar.value)]
        deeper = "cause" if by == "motive" else "touchpoint" if by == "cause" else "motive"
        items.append(
            documents.bar(bar, section, voice.language)
            | {"name": _code(voice, section, by, bar.value), "m": bar.measured, "first_at": bar.first, "last_at": bar.last}
            | {"behind": f"/numbers/complaints_received/events?{urlencode(here)}", "deeper": f"/causes?{urlencode([*here, ('by', deeper)])}"}
        )  # fmt: skip
    return {
        "charts": True,
        "title": voice.t("causes.title"),
        "by": by,
        "by_name": voice.maybe("dimension", by),
        "deeper_name": voice.maybe("dimension", "cause" if by == "motive" else "touchpoint" if by == "cause" else "motive"),
        "choices": [(name, voice.maybe("dimension", name)) for name in ("motive", "cause", "component", "touchpoint", "product", "channel", "location", "team")],
        "range": chosen,
        "ranges": RANGES,
        "query": f"{link.strip('&')}&{urlencode({'by': by, 'lang': voice.language})}",
        "plain": urlencode([*_rest(visit, "by", "lang")]),
        "kept": [pair for pair in _rest(visit, "by", "lang", "days")],
        "where": [(voice.maybe("dimension", name), [_code(voice, documents.section_of(names, name), name, value) for value in values]) for name, values in query.where.items()],
        "items": items,
        "total": total,
        "vital": vital,
        "first_day": voice.day(query.periods.start),
        "last_day": voice.day(query.periods.end - 1),
    }  # fmt: skip


async def contacts(visit: "Visit") -> Values:
    voice, params = visit.voice, visit.request.query_params
    finding_id = params.get("finding")
    query = _asked(visit, "customer", "finding", "after", "days").whole()
    ids = None
    async with visit.desk.open() as (connection, t):
        named = None
        if finding_id is not None:
            found = (await findings(connection, t, query.as_of, finding_id)).get(finding_id)
            if found is None:
                raise Problem(404, "", voice.t("missing.finding"))
            ids = found.interaction_ids
            named = found
            query = replace(query, periods=Periods((-(2**62), 2**62), ("",), query.periods.starts[:1]))
        _, names = await lists.names(connection, t)
        rows = await lists.contacts(
            connection,
            t,
            query,
            customer=params.get("customer"),
            ids=ids,
            before=_place(params.get("after")),
            limit=PAGE + 1,
        )
    opened = await _opened(visit, rows)
    more = ""
    if len(rows) > PAGE:
        last = rows[PAGE - 1]
        more = "?" + urlencode([*_rest(visit, "after"), ("after", f"{last['occurred_at']}~{last['interaction_id']}")])
    return {
        "title": voice.t("contacts.title"),
        "finding": None if named is None else _finding(visit, named, names),
        "items": [_contact(visit, row, names, opened) for row in rows[:PAGE]],
        "more": more,
        "where": [(voice.maybe("dimension", name), list(values)) for name, values in query.where.items()],
    }


def _finding(visit: "Visit", one: Finding, names: lists.Names) -> Values:
    voice = visit.voice
    e = one.evaluation
    where = [
        (voice.maybe("dimension", name), _code(voice, documents.section_of(names, name), name, value)) for name, value in one.slice.items()
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
        "window_start": datetime.fromisoformat(e["window_start"]) if e.get("window_start") else None,
        "window_end": datetime.fromisoformat(e["window_end"]) if e.get("window_end") else None,
        "times": observed / expected_ if observed is not None and expected_ else None,
        "contacts": len(one.interaction_ids),
    }


async def finding_list(visit: "Visit") -> Values:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        found = await findings(connection, t, None)
        _, names = await lists.names(connection, t)
    state = visit.request.query_params.get("state", "current")
    groups = {"current": {"open", "confirmed"}, "ended": {"dismissed", "closed"}}
    opened = [one for one in found.values() if one.opened]
    chosen = [one for one in opened if state not in groups or one.state in groups[state]]
    chosen.sort(key=lambda one: (-(one.opened_at or 0), one.finding_id))
    return {
        "title": voice.t("findings.title"),
        "state": state if state in groups else "all",
        "counts": {"current": sum(one.state in groups["current"] for one in opened), "ended": sum(one.state in groups["ended"] for one in opened), "all": len(opened)},
        "items": [_finding(visit, one, names) for one in chosen[:200]],
    }  # fmt: skip


async def one_finding(visit: "Visit", finding_id: str) -> Values:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        found = (await findings(connection, t, None, finding_id)).get(finding_id)
        if found is None:
            raise Problem(404, "", voice.t("missing.finding"))
        _, names = await lists.names(connection, t)
    one = _finding(visit, found, names)
    where = [(f"where[{name}]", value) for name, value in found.slice.items() if name in DIMENSIONS]
    trend = ""
    if found.since is not None and found.evaluation:
        start = instant(found.since) - timedelta(days=60)
        end = min(visit.desk.clock.now(), instant(found.since) + timedelta(days=120))
        days = {
            "from": start.date().isoformat(),
            "to": end.date().isoformat(),
            "granularity": "week",
            "lang": voice.language,
        }
        if end > start:
            trend = urlencode([*days.items(), *where])
    baseline = [float(each) for each in found.evaluation.get("baseline") or ()]
    history = [
        {"at": fact.at, "recorded_at": fact.recorded_at, "what": voice.maybe("event", fact.what), "by": fact.data.get("by"), "reason": fact.data.get("reason"), "verdict": voice.maybe("verdict", fact.data["verdict"]) if "verdict" in fact.data else None}
        for fact in found.history
    ]  # fmt: skip
    return {
        "charts": bool(trend),
        "title": one["title"],
        "one": one,
        "baseline": baseline,
        "trend": trend,
        "history": history[-40:],
        "actions": list(found.actions.values()),
        "parameters": sorted((found.evaluation.get("parameters") or {}).items()),
    }


async def customers(visit: "Visit") -> Values:
    """People who complained most in the last 90 days: where a service desk looks first."""
    now = visit.desk.clock.now()
    async with visit.desk.open() as (connection, t):
        c = t.cases.c
        statement = (
            select(c.customer_id, func.count().label("cases"), func.max(c.received_at))
            .where(c.received_at >= micros(now - timedelta(days=90)))
            .group_by(c.customer_id)
            .order_by(func.count().desc(), c.customer_id)
            .limit(15)
        )
        rows = (await connection.execute(statement)).all()
    return {
        "title": visit.voice.t("customers.title"),
        "items": [{"id": row[0], "cases": row[1], "last": row[2]} for row in rows],
    }


async def _timeline(visit: "Visit", entries: list[timelines.Entry]) -> list[Values]:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        _, names = await lists.names(connection, t)
    shown_entries = entries[-500:]
    opened = await words.opened(visit.desk.vault, timelines.words(shown_entries)) if visit.opens_words else None
    items = []
    for one in reversed(shown_entries):
        facts = []
        for name, value in one.facts.items():
            if name in {
                "customer_id",
                "effects",
                "term",
                "request_id",
                "revision",
                "confidence",
                "review",
                "external_id",
                "calendar",
            }:
                continue
            if name in {"due_at", "acknowledge_by"}:
                text = voice.time(value)
            elif name == "rulebook_version":
                text = str(value)
            else:
                text = _code(voice, documents.section_of(names, name), name, str(value))
            facts.append((voice.maybe("fact", name), text))
        said = [] if opened is None else [opened.get((sealed.event_id, name)) for name, sealed in one.sealed.items()]
        items.append(
            {
                "at": one.at, "recorded_at": one.recorded_at, "late": one.recorded_at - one.at > 86_400_000_000, "what": one.what,
                "name": voice.maybe("event", one.what), "facts": facts, "case_id": one.case_id, "interaction_id": one.interaction_id,
                "said": [text for text in said if text], "gone": opened is not None and any(text is None for text in said),
                "sealed": opened is None and bool(one.sealed), "event_id": one.event_id, "language": one.facts.get("language"),
            }
        )  # fmt: skip
    return items


async def customer(visit: "Visit", customer_id: str) -> Values:
    async with visit.desk.open() as (connection, t):
        entries = await timelines.customer(connection, t, customer_id, None)
    if not entries:
        raise Problem(404, "", visit.voice.t("missing.customer"))
    cases = {one.case_id for one in entries if one.what == "case.opened"}
    contacts_ = sum(1 for one in entries if one.what == "interaction.recorded")
    return {
        "title": visit.voice.t("customer.title"),
        "subject": customer_id,
        "kind": "customer",
        "facts": [
            (visit.voice.t("customer.contacts"), visit.voice.n(contacts_)),
            (visit.voice.t("customer.cases"), visit.voice.n(len(cases))),
        ],
        "items": await _timeline(visit, entries),
        "erased": any(one.what == "customer.erased" for one in entries),
        "opens": visit.opens_words,
        "customer": customer_id,
    }


async def case(visit: "Visit", case_id: str) -> Values:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        entries = await timelines.one_case(connection, t, case_id, None)
    opening = next((one for one in entries if one.what == "case.opened"), None)
    if opening is None:
        raise Problem(404, "", voice.t("missing.case"))
    turns = [one.what for one in entries if one.what in {"case.opened", "case.reopened", "case.closed"}]
    return {
        "title": voice.t("case.title"),
        "subject": case_id,
        "kind": "case",
        "facts": [
            (voice.t("case.state"), voice.t("case.closed" if turns[-1] == "case.closed" else "case.open")),
            (voice.t("case.received"), voice.time(opening.at)),
            (voice.t("case.due"), voice.time(opening.facts["due_at"])),
        ],
        "items": await _timeline(visit, entries),
        "erased": False,
        "opens": visit.opens_words,
        "customer": opening.facts["customer_id"],
    }


async def quarantine(visit: "Visit") -> Values:
    running = visit.request.app.state.service
    found = [] if running is None else await running.runtime.quarantine.list(0, 100)
    return {
        "title": visit.voice.t("quarantine.title"),
        "status": await _status(visit),
        "items": [shown(item) | {"at": item.parked_at} for item in found],
        "may": visit.principal.may("indicators:admin"),
    }
