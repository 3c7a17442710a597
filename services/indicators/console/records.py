"""The pages of records: contacts, findings, customers, cases, quarantine."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

from sqlalchemy import func, select

from libs.service.http.problems import Problem
from libs.service.http.quarantine import shown
from services.indicators.api import documents
from services.indicators.console.render import MESSAGES, Voice
from services.indicators.console.shared import (
    PAGE,
    WRITES,
    Values,
    Visit,
    asked,
    behind,
    code_name,
    contact_of,
    finding_of,
    opened_words,
    place_of,
    rest,
    status_of,
)
from services.indicators.domain.periods import Periods, micros
from services.indicators.views import lists, timelines, words
from services.indicators.views.scope import findings


async def contacts(visit: Visit) -> Values:
    voice, params = visit.voice, visit.request.query_params
    finding_id = params.get("finding")
    query = asked(visit, "customer", "finding", "after", "days", whole=True)
    ids = None
    async with visit.desk.open() as (connection, t):
        named = None
        if finding_id is not None:
            found = (await findings(connection, t, query.as_of, finding_id)).get(finding_id)
            if found is None:
                raise Problem(404, "", voice.t("missing.finding"))
            ids = behind(found)
            named = found
            query = replace(query, periods=Periods((-(2**62), 2**62), ("",), query.periods.starts[:1]))
        _, names = await lists.names(connection, t)
        rows = await lists.contacts(
            connection,
            t,
            query,
            customer=params.get("customer"),
            ids=ids,
            before=place_of(params.get("after")),
            limit=PAGE + 1,
        )
    opened = await opened_words(visit, rows)
    more = ""
    if len(rows) > PAGE:
        last = rows[PAGE - 1]
        more = "?" + urlencode([*rest(visit, "after"), ("after", f"{last['occurred_at']}~{last['interaction_id']}")])
    return {
        "title": voice.t("contacts.title"),
        "finding": None if named is None else finding_of(visit, named, names),
        "items": [contact_of(visit, row, names, opened) for row in rows[:PAGE]],
        "more": more,
        "where": [(voice.maybe("dimension", name), list(values)) for name, values in query.where.items()],
    }


async def customers(visit: Visit) -> Values:
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


def _who(voice: Voice, by: str) -> str:
    """Who did it: a person by name, one of our services as what people know it by, a channel by its word."""
    if by.startswith("channel:"):
        return voice.t("by.channel", channel=voice.maybe("channel", by.removeprefix("channel:")))
    return voice.maybe("by", by)


async def _timeline(visit: Visit, entries: list[timelines.Entry]) -> list[Values]:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        _, names = await lists.names(connection, t)
        linked = {str(one.facts["target"]) for one in entries if one.what == "case.linked"}
        names_of = {
            identity: found.title.get(voice.language, "")
            for identity in sorted(linked)
            for found in (await findings(connection, t, None, identity)).values()
        }
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
            elif name == "target" and one.what == "case.linked":
                found = names_of.get(str(value))
                facts.append((voice.t("fact.finding"), found or str(value)))
                continue
            elif name == "by":
                text = _who(voice, str(value))
            else:
                text = code_name(voice, documents.section_of(names, name), name, str(value))
            facts.append((voice.maybe("fact", name), text))
        said = [] if opened is None else [opened.get((sealed.event_id, name)) for name, sealed in one.sealed.items()]
        items.append(
            {
                "at": one.at, "recorded_at": one.recorded_at, "late": one.recorded_at - one.at > 86_400_000_000, "what": one.what,
                "name": voice.maybe("event", one.what), "facts": facts, "case_id": one.case_id, "interaction_id": one.interaction_id,
                "said": [text for text in said if text], "gone": opened is not None and any(text is None for text in said),
                "finding": one.facts.get("target") if one.what == "case.linked" else None,
                "sealed": opened is None and bool(one.sealed), "event_id": one.event_id, "language": one.facts.get("language"),
            }
        )  # fmt: skip
    return items


async def customer(visit: Visit, customer_id: str) -> Values:
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


async def case(visit: Visit, case_id: str) -> Values:
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


async def review(visit: Visit) -> Values:
    """A page without contents of its own: what is to be decided is asked of classification, by the browser."""
    said = MESSAGES[visit.voice.language]
    wanted = ("review.", "kind.", "channel.")
    return {
        "title": visit.voice.t("review.title"),
        "texts": {name: text for name, text in said.items() if name.startswith(wanted)},
    }


async def models(visit: Visit) -> Values:
    """The same: models are classification's, the browser asks it and sends it the commands."""
    said = MESSAGES[visit.voice.language]
    return {
        "title": visit.voice.t("models.title"),
        "may": visit.principal.may(WRITES),
        "texts": {name: text for name, text in said.items() if name.startswith("models.")},
    }


async def quarantine(visit: Visit) -> Values:
    running = visit.request.app.state.service
    found = [] if running is None else await running.runtime.quarantine.list(0, 100)
    return {
        "title": visit.voice.t("quarantine.title"),
        "status": await status_of(visit),
        "items": [shown(item) | {"at": item.parked_at} for item in found],
        "may": visit.principal.may("indicators:admin"),
    }
