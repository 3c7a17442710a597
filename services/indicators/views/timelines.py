"""One customer's and one case's life, in the order it happened, each entry with the time it was known."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.tables import Facts
from services.indicators.views.words import Sealed


@dataclass(slots=True)
class Entry:
    """`what` is the event type without prefix and version; `facts` are its open fields, `sealed` its words."""

    at: int
    recorded_at: int
    what: str
    event_id: str
    case_id: str | None
    interaction_id: str | None
    facts: dict[str, Any]
    sealed: dict[str, Sealed] = field(default_factory=dict)
    place: int = 0  # within the same instant: as things follow from one another


_CODING = (
    "motive", "cause", "component", "factor", "expectation", "severity", "procedure", "norm", "act", "rulebook_version",
    "confidence", "revision", "review",
)  # fmt: skip
_MESSAGES = {
    "requested": 1_000,
    "reported": 1_001,
    "expired": 1_002,
    "answered": 1_002,
}  # places after those of the case
_MOST = 5_000  # entries of each sort; a person with more contacts than this is a system


def _known(table: Table, as_of: int | None) -> list[ColumnElement[bool]]:
    return [] if as_of is None else [table.c.recorded_at <= as_of]


def _open(row: Any, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}


async def customer(connection: AsyncConnection, t: Facts, customer_id: str, as_of: int | None) -> list[Entry]:
    """Everything known about one customer: contacts with their codings, cases, messages, answers."""
    entries = await _contacts(connection, t, t.interactions.c.customer_id == customer_id, as_of)
    entries += await _cases(connection, t, t.cases.c.customer_id == customer_id, as_of)
    entries += await _messages(connection, t, t.feedback.c.customer_id == customer_id, as_of)
    e = t.erasures
    erased = select(e).where(e.c.customer_id == customer_id, *_known(e, as_of))
    for row in (await connection.execute(erased)).mappings():
        entries.append(
            Entry(row["erased_at"], row["recorded_at"], "customer.erased", row["event_id"], None, None, {}, place=9)
        )
    return in_order(entries)


async def one_case(connection: AsyncConnection, t: Facts, case_id: str, as_of: int | None) -> list[Entry]:
    """Everything known about one case: the contact it came from, its codings, what was done, said and answered."""
    entries = await _cases(connection, t, t.cases.c.case_id == case_id, as_of)
    contacts = {entry.interaction_id for entry in entries if entry.interaction_id is not None}
    if contacts:
        entries += await _contacts(connection, t, t.interactions.c.interaction_id.in_(sorted(contacts)), as_of)
    # What a channel reports names the request alone; the customer is there for the index.
    f, asked = t.feedback, t.feedback.alias("asked")
    reported = and_(
        f.c.what == "reported",
        f.c.customer_id.in_(select(asked.c.customer_id).where(asked.c.case_id == case_id)),
        f.c.request_id.in_(select(asked.c.request_id).where(asked.c.case_id == case_id)),
    )
    messages = await _messages(connection, t, or_(f.c.case_id == case_id, reported), as_of)
    for message in messages:
        message.case_id = case_id
    return in_order(entries + messages)


def in_order(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda one: (one.at, one.place, one.recorded_at, one.event_id))


async def _contacts(
    connection: AsyncConnection, t: Facts, which: ColumnElement[bool], as_of: int | None
) -> list[Entry]:
    i, w, k = t.interactions, t.texts, t.codings
    statement = select(i, w.c.subject, w.c.body).select_from(i.outerjoin(w, w.c.interaction_id == i.c.interaction_id))
    statement = statement.where(which, *_known(i, as_of)).order_by(i.c.occurred_at.desc()).limit(_MOST)
    entries = []
    for row in (await connection.execute(statement)).mappings():
        entry = Entry(
            row["occurred_at"], row["recorded_at"], "interaction.recorded", row["interaction_id"], None, row["interaction_id"],
            _open(row, "kind", "channel", "source", "external_id", "touchpoint", "product", "location", "team", "agent", "supplier",
                  "segment", "language", "case_ref", "declared_motive", "effects", "customer_id"),
        )  # fmt: skip
        for column, name in (("subject", "subject"), ("body", "text")):
            if row[column] is not None:
                entry.sealed[name] = Sealed(row[column], row["customer_id"], row["interaction_id"], name)
        entries.append(entry)
    of_these = select(i.c.interaction_id).where(which)
    coded = (
        select(k)
        .where(k.c.interaction_id.in_(of_these), *_known(k, as_of))
        .order_by(k.c.recorded_at.desc())
        .limit(_MOST)
    )
    decided = (await connection.execute(coded)).mappings()
    return entries + [
        Entry(
            row["occurred_at"],
            row["recorded_at"],
            "interaction.classified",
            row["event_id"],
            None,
            row["interaction_id"],
            _open(row, *_CODING),
            place=1,
        )
        for row in decided
    ]


async def _cases(connection: AsyncConnection, t: Facts, which: ColumnElement[bool], as_of: int | None) -> list[Entry]:
    c, m = t.cases, t.milestones
    entries = []
    for row in (await connection.execute(select(c).where(which, *_known(c, as_of)).limit(_MOST))).mappings():
        facts = _open(row, "kind", "channel", "source", "case_ref", "calendar", "effects", "customer_id")
        facts |= {"due_at": row["due_at"], "acknowledge_by": row["acknowledge_by"], "term": orjson.loads(row["term"])}
        entries.append(
            Entry(
                row["received_at"],
                row["recorded_at"],
                "case.opened",
                row["event_id"],
                row["case_id"],
                row["interaction_id"],
                facts,
                place=2,
            )
        )
    steps = (
        select(m, c.c.customer_id, c.c.interaction_id)
        .select_from(m.join(c, c.c.case_id == m.c.case_id))
        .where(which, *_known(m, as_of), *_known(c, as_of))
        .limit(_MOST)
    )
    for row in (await connection.execute(steps)).mappings():
        entry = Entry(
            row["at"], row["recorded_at"], f"case.{row['what']}", row["event_id"], row["case_id"], row["interaction_id"],
            _open(row, "by", "agent", "team", "outcome", "procedure", "target"), place=3 + row["version"],
        )  # fmt: skip
        if row["body"] is not None:
            name = "text" if row["what"] == "responded" else "reason"
            entry.sealed[name] = Sealed(row["body"], row["customer_id"], row["event_id"], name)
        entries.append(entry)
    return entries


async def _messages(
    connection: AsyncConnection, t: Facts, which: ColumnElement[bool], as_of: int | None
) -> list[Entry]:
    f = t.feedback
    entries = []
    statement = select(f).where(which, *_known(f, as_of)).order_by(f.c.at.desc()).limit(_MOST)
    for row in (await connection.execute(statement)).mappings():
        facts = _open(row, "channel", "purpose", "status", "score", "helped", "request_id")
        if row["new_need"]:
            facts["new_need"] = True
        entry = Entry(
            row["at"],
            row["recorded_at"],
            f"feedback.{row['what']}",
            row["event_id"],
            row["case_id"],
            None,
            facts,
            place=_MESSAGES[row["what"]],
        )
        if row["body"] is not None:
            entry.sealed["comment"] = Sealed(row["body"], row["customer_id"], row["event_id"], "comment")
        entries.append(entry)
    return entries


def words(entries: Sequence[Entry]) -> list[Sealed]:
    """What is sealed in these entries."""
    return [one for entry in entries for one in entry.sealed.values()]
