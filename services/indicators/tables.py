"""The read model: facts as they were learnt, in two slots of which one is live while the other may be built.

Every row is one event's fact, inserted once and never changed, and carries both times (when it happened, when it was known),
so that any state can be read as it was known at any instant. Nothing depends on the order in which topics arrive. Times are
microseconds since 1970 (integers divide into periods on both databases). Personal text stays in its sealed form.
"""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from libs.events.tables import machinery

metadata = MetaData()
machine = machinery(metadata)

PROJECTION = "facts"
VERSION = 1
"""Rises when a table or the way it is filled changes; the other slot is then built at this version and switched to."""
SLOTS: tuple[str, str] = ("a", "b")

# Codes and ids compare as bytes; a database's locale would make the same index three times slower.
_Code = Text().with_variant(Text(collation="C"), "postgresql")


def _text(name: str, **options: Any) -> Column[Any]:
    return Column(name, _Code, nullable=options.pop("nullable", True), **options)


def _time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=nullable)


@dataclass(frozen=True, slots=True)
class Facts:
    """The tables of one slot."""

    interactions: Table
    texts: Table
    codings: Table
    cases: Table
    milestones: Table
    feedback: Table
    findings: Table
    rulebooks: Table
    sources: Table
    erasures: Table

    def all(self) -> tuple[Table, ...]:
        return tuple(getattr(self, one.name) for one in fields(self))


def _build(slot: str) -> Facts:
    def table(name: str, *parts: Any) -> Table:
        return Table(f"{name}_{slot}", metadata, *parts)

    def index(table: str, *columns: str) -> Index:
        return Index(f"{table}_{slot}_{'_'.join(columns)}", *columns)

    def required(name: str) -> Column[Any]:
        return _text(name, nullable=False)

    interactions = table(
        "interactions",
        _text("interaction_id", primary_key=True, nullable=False),
        required("customer_id"),
        _time("occurred_at"),
        _time("recorded_at"),
        required("kind"),
        required("channel"),
        required("source"),
        required("external_id"),
        _text("touchpoint"),
        _text("product"),
        _text("location"),
        _text("team"),
        _text("agent"),
        _text("supplier"),
        _text("segment"),
        _text("language"),
        _text("case_ref"),
        _text("declared_motive"),
        Column("internal", SmallInteger, nullable=False),
        required("effects"),
        index("interactions", "occurred_at"),
        index("interactions", "customer_id", "occurred_at"),
    )
    # Apart from the facts, so that counting does not read past people's words.
    texts = table(
        "texts",
        _text("interaction_id", primary_key=True, nullable=False),
        _text("subject"),
        _text("body"),
    )
    codings = table(
        "codings",
        required("interaction_id"),
        Column("revision", Integer, nullable=False),
        required("event_id"),
        _time("recorded_at"),
        _time("occurred_at"),
        required("motive"),
        required("cause"),
        _text("component"),
        _text("factor"),
        _text("expectation"),
        _text("severity"),
        _text("procedure"),
        _text("norm"),
        _text("act"),
        Column("rulebook_version", Integer, nullable=False),
        Column("confidence", Double, nullable=False),
        Column("review", SmallInteger, nullable=False),
        PrimaryKeyConstraint("interaction_id", "revision", "event_id"),
    )
    cases = table(
        "cases",
        _text("case_id", primary_key=True, nullable=False),
        required("event_id"),
        required("interaction_id"),
        required("customer_id"),
        _time("received_at"),
        _time("recorded_at"),
        required("kind"),
        required("channel"),
        required("source"),
        _text("case_ref"),
        _time("acknowledge_by"),
        _time("due_at"),
        required("calendar"),
        required("term"),
        required("effects"),
        index("cases", "received_at"),
        index("cases", "interaction_id"),
        index("cases", "customer_id"),
    )
    milestones = table(
        "milestones",
        required("case_id"),
        required("event_id"),
        required(
            "what"
        ),  # acknowledged, unacknowledged, assigned, responded, resolved, reopened, closed, referred, overdue
        Column("version", Integer, nullable=False),  # place in the case's stream
        _time("at"),
        _time("recorded_at"),
        required("by"),
        _text("agent"),
        _text("team"),
        _text("outcome"),
        _text("procedure"),
        _text("target"),  # whom the case was referred to
        _text("body"),  # sealed: what was answered, or why
        PrimaryKeyConstraint("case_id", "event_id"),
        index("milestones", "what", "at"),
    )
    feedback = table(
        "feedback",
        _text("event_id", primary_key=True, nullable=False),
        required("what"),  # requested, reported, answered, expired
        required("request_id"),
        _text("case_id"),
        required("customer_id"),
        _time("at"),
        _time("recorded_at"),
        _text("channel"),
        _text("purpose"),
        _text("status"),
        Column("score", SmallInteger),
        _text("helped"),
        Column("new_need", SmallInteger),
        _text("body"),  # sealed: the customer's comment
        index("feedback", "what", "at"),
        index("feedback", "case_id"),
        index("feedback", "customer_id"),
    )
    findings = table(
        "findings",
        _text("event_id", primary_key=True, nullable=False),
        required("finding_id"),
        required("what"),
        Column("version", BigInteger, nullable=False),  # place in its owner's store, which orders all of them
        _time("at"),
        _time("recorded_at"),
        required("data"),
        index("findings", "finding_id"),
    )
    rulebooks = table(
        "rulebooks",
        Column("version", Integer, primary_key=True, autoincrement=False),
        required("event_id"),
        required("name"),
        required("published_by"),
        _time("published_at"),
        _time("recorded_at"),
        required("document"),
    )
    sources = table(
        "sources",
        required("source_id"),
        Column("version", Integer, nullable=False),
        required("event_id"),
        required("name"),
        required("form"),
        Column("active", SmallInteger, nullable=False),
        _time("recorded_at"),
        PrimaryKeyConstraint("source_id", "version", "event_id"),
    )
    erasures = table(
        "erasures",
        _text("event_id", primary_key=True, nullable=False),
        required("customer_id"),
        _time("erased_at"),
        _time("recorded_at"),
        index("erasures", "customer_id"),
    )
    return Facts(interactions, texts, codings, cases, milestones, feedback, findings, rulebooks, sources, erasures)


_slots = {slot: _build(slot) for slot in SLOTS}


def facts(slot: str) -> Facts:
    """The tables of a slot, "a" or "b"."""
    return _slots[slot]
