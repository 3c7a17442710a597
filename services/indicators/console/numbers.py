"""The pages of numbers: overview, one indicator, what is behind it, causes."""

from dataclasses import replace
from datetime import timedelta
from math import ceil, floor
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import func, select

from libs.service.http.problems import Problem
from services.indicators.api import documents
from services.indicators.api.parameters import Wrong, choice, query_of
from services.indicators.api.reads import Reads, holidays_of
from services.indicators.console.shared import (
    PAGE,
    RANGES,
    Range,
    Values,
    Visit,
    asked,
    code_name,
    contact_of,
    finding_of,
    opened_words,
    period_name,
    place_of,
    range_of,
    rest,
    status_of,
    whole,
)
from services.indicators.domain.arithmetic import Measured
from services.indicators.domain.periods import DAY_US, Granularity, Periods, instant
from services.indicators.domain.query import Query
from services.indicators.domain.registry import DIMENSIONS, INDICATORS, UNITS, Indicator
from services.indicators.views import drill, lists
from services.indicators.views.facts_of import indicator_of
from services.indicators.views.measures import measure
from services.indicators.views.scope import findings

TILES = (
    "complaints_received", "complainants", "backlog", "acknowledgement_time", "resolution_time", "csat", "systemic_share",
    "acknowledgement_in_target",
)  # fmt: skip


async def value_of(desk: Reads, connection: Any, t: Any, one: Indicator, query: Query) -> Measured:
    answer = await measure(connection, t, one, query, holidays_of, minimum=desk.settings.minimum)
    return answer.points[0].measured if answer.points else Measured(None, None, None, None, None)


def _tile(visit: Visit, one: Indicator, now: Measured, before: Measured, link: str) -> Values:
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
        "interval": _interval(visit, one, now),
        "change": change,
        "link": link,
    }


def _interval(visit: Visit, one: Indicator, m: Measured) -> str:
    """Between what bounds it is; of people and cases in whole ones, outwards."""
    if m.low is None or m.high is None:
        return ""
    low, high = (floor(m.low), ceil(m.high)) if one.form in {"count", "distinct"} else (m.low, m.high)
    return visit.voice.t("tile.interval", low=visit.voice.n(low), high=visit.voice.n(high))


def _apart(one: Measured, other: Measured) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or other.low > one.high


def _made_of(visit: Visit, one: Indicator, m: Measured) -> str:
    voice = visit.voice
    if one.form == "share":
        return voice.t("tile.of", n=voice.n(m.numerator), of=voice.n(m.denominator))
    if one.form in {"duration", "age", "delay"}:
        return voice.t("tile.measured", n=voice.n(m.denominator))
    return voice.t(f"tile.{one.form}")


async def overview(visit: Visit) -> Values:
    desk, voice = visit.desk, visit.voice
    status = await status_of(visit)
    async with desk.open() as (connection, t):
        chosen = await range_of(visit, connection, t)
        length = chosen.end - chosen.start
        now, before = whole(visit, chosen.start, chosen.end), whole(visit, chosen.start - length, chosen.start)
        oldest, newest = (
            await connection.execute(select(func.min(t.cases.c.received_at), func.max(t.cases.c.received_at)))
        ).one()
        # Where the time before was not recorded, everything would look like a rise.
        compared = chosen.chosen != "all" and oldest is not None and oldest < before.periods.start + DAY_US
        tiles = []
        for code in TILES:
            one = INDICATORS[code]
            value = await value_of(desk, connection, t, one, now)
            then = (
                await value_of(desk, connection, t, one, before) if compared else Measured(None, None, None, None, None)
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
        "findings": [finding_of(visit, one, names) for one in open_ones[:6]],
        "more_findings": max(0, len(open_ones) - 6),
        "draw": [
            _drawn(visit, code, chosen)
            for code in ("complaints_received", "backlog", "motive_share", "component_balance", "csat", "resolution_time")
        ],
    }  # fmt: skip


def _drawn(visit: Visit, code: str, chosen: Range) -> Values:
    one, language = INDICATORS[code], visit.voice.language
    if one.form not in {"count", "distinct", "level"}:
        # A day rarely has enough cases for a share or a median; a coarser step shows a line instead of gaps.
        coarser: Granularity = "week" if chosen.granularity == "day" else "month"
        chosen = replace(chosen, granularity=coarser)
    query = chosen.link(visit, lang=language)
    return {"code": code, "name": one.names[language], "formula": one.formula[language], "query": query}


def _known(code: str, visit: Visit) -> Indicator:
    try:
        return indicator_of(code)
    except KeyError:
        raise Problem(404, "", visit.voice.t("missing.indicator", code=code[:60])) from None


async def number(visit: Visit, code: str) -> Values:
    one, query, voice = _known(code, visit), asked(visit), visit.voice
    async with visit.desk.open() as (connection, t):
        answer = await measure(connection, t, one, query, holidays_of, minimum=visit.desk.settings.minimum)
        _, names = await lists.names(connection, t, query.rulebook)
    by = answer.query.group_by
    sections = {dimension: documents.section_of(names, dimension) for dimension in by}
    rows = []
    for point in reversed(answer.points):
        period = query.periods.labels[point.period]
        where = [(f"where[{dimension}]", value) for dimension, value in zip(by, point.group, strict=True)]
        kept = list(rest(visit, "group_by", "lang", *(name for name, _ in where)))
        rows.append(
            {
                "period": period_name(voice, query, point.period),
                "groups": [code_name(voice, sections[dimension], dimension, value) for dimension, value in zip(by, point.group, strict=True)],
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
        "as_of": visit.request.query_params.get("as_of", "")[:10],
        "rulebook": "" if query.rulebook is None else str(query.rulebook),
        "asked_by": query.group_by[0] if query.group_by else "",
        "from": query.periods.starts[0].isoformat(),
        "to": instant(query.periods.end - 1).astimezone(query.zone).date().isoformat(),
        "granularity": visit.request.query_params.get("granularity", "day"),
        "where": [
            (
                name,
                voice.maybe("dimension", name),
                [(value, code_name(voice, documents.section_of(names, name), name, value)) for value in values],
            )
            for name, values in query.where.items()
        ],
        "query": urlencode([*rest(visit, "lang"), ("lang", voice.language)]),
        "indicators": [(code, each.names[voice.language]) for code, each in INDICATORS.items()],
    }


async def behind(visit: Visit, code: str) -> Values:
    one, voice = _known(code, visit), visit.voice
    query = asked(visit, "period", "part", "after")
    params = visit.request.query_params
    part = params.get("part", "numerator")
    period = params.get("period")
    if period is not None:
        try:
            query = query.only(period)
        except KeyError:
            raise Problem(422, "", voice.t("missing.period")) from None
    after = place_of(params.get("after"))
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
    opened = await opened_words(visit, list(rows.values()))
    shown = found[:PAGE]
    more = ""
    if len(found) > PAGE:
        more = "?" + urlencode([*rest(visit, "after"), ("after", f"{shown[-1].at}~{shown[-1].event_id}")])
    return {
        "title": one.names[voice.language],
        "one": documents.catalogued(one, voice.language),
        "period": period_name(voice, query, 0) if period else f"{voice.day(query.periods.start)} – {voice.day(query.periods.end - 1)}",
        "where": [(voice.maybe("dimension", name), [code_name(voice, documents.section_of(names, name), name, value) for value in values]) for name, values in query.where.items()],
        "part": part,
        "items": [{"event": each, "contact": contact_of(visit, rows[each.interaction_id], names, opened) if each.interaction_id in rows else None} for each in shown],
        "more": more,
        "back": f"/numbers/{one.code}?{urlencode(rest(visit, 'period', 'part', 'after'))}",
    }  # fmt: skip


async def causes(visit: Visit) -> Values:
    voice, params = visit.voice, visit.request.query_params
    try:
        by = choice(params, "by", DIMENSIONS, "motive")
    except Wrong as wrong:
        raise Problem(422, "", wrong.words) from None
    if "from" in params or "to" in params:
        query, chosen = asked(visit, "by", "days", whole=True), None
        link = urlencode(rest(visit, "by", "lang"))
    else:
        async with visit.desk.open() as (connection, t):
            chosen = await range_of(visit, connection, t)
        filters = query_of(params, visit.desk.clock.now(), visit.desk.settings.time_zone, also={"by", "days", "lang"})
        query = replace(whole(visit, chosen.start, chosen.end), where=filters.where)
        link = urlencode([*list(rest(visit, "by", "lang", "days"))]) + "&" + chosen.link(visit)
    async with visit.desk.open() as (connection, t):
        bars, total, vital = await lists.pareto(connection, t, query, by, minimum=visit.desk.settings.minimum)
        received = await value_of(visit.desk, connection, t, INDICATORS["complaints_received"], query)
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
            | {"name": code_name(voice, section, by, bar.value), "m": bar.measured, "first_at": bar.first, "last_at": bar.last}
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
        "plain": urlencode([*rest(visit, "by", "lang")]),
        "kept": list(rest(visit, "by", "lang", "days")),
        "where": [(voice.maybe("dimension", name), [code_name(voice, documents.section_of(names, name), name, value) for value in values]) for name, values in query.where.items()],
        "items": items,
        "total": total,
        "vital": vital,
        "uncoded": max(0, int(received.numerator or 0) - total),
        "first_day": voice.day(query.periods.start),
        "last_day": voice.day(query.periods.end - 1),
    }  # fmt: skip
