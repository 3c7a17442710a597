"""What the complaints behind a finding have in common, as they are coded now: how large it is (R04), acts and omissions (R16),
needless demands (R19), the suppliers and what they agreed to (R32), and which levels its size has come to (R05, R34).

A verdict tells the numbers it was reached with and stays as it is; this is counted anew whenever it is asked for.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.classification import inputs, tables
from services.classification.domain.agreements import PER_10_000, UNITS, Checked, check, days_of
from services.classification.domain.escalation import Level, idle_days
from services.classification.domain.rulebook import Agreement, Rulebook
from services.classification.finding_views import state_of
from services.classification.waiting import Waiting

WHOM = ("segment", "location", "touchpoint", "channel", "product", "team")
"""By what it is told whom a problem touches. No single agent and no single customer stands among them."""
MOST = 5
LATELY = timedelta(days=7)


async def dossier(
    connection: AsyncConnection, finding_id: str, book: Rulebook | None, levels: Sequence[Level], waiting: Waiting, now: datetime
) -> dict[str, Any] | None:  # fmt: skip
    """All of it about one finding; None for no such finding. Numbers of customers are of distinct ones."""
    table, p, links = tables.findings, tables.particulars, tables.links
    finding = (await connection.execute(select(table).where(table.c.finding_id == finding_id))).one_or_none()
    if finding is None:
        return None
    behind = p.c.interaction_id.in_(select(links.c.interaction_id).where(links.c.finding_id == finding_id))
    size = await _size(connection, behind, now)
    whom = {
        name: await _most(connection, behind, name, size["customers"]) for name in WHOM if name not in finding.slice
    }
    return {
        "finding_id": finding_id,
        "slice": finding.slice,
        "since": finding.since,
        "size": size,
        "whom": {name: found for name, found in whom.items() if found},
        "acts": await _acts(connection, behind, book),
        "demands": await _demands(connection, behind, book, waiting, now),
        "suppliers": await _suppliers(connection, behind, book, waiting, size["last_at"]),
        "levels": _levels(finding, levels, size, now),
    }  # fmt: skip


async def _size(connection: AsyncConnection, behind: ColumnElement[bool], now: datetime) -> dict[str, Any]:
    """How many and since when; `severe`: customers with a grave motive; `lately`: customers of the last seven days."""
    p = tables.particulars
    who = p.c.customer_id
    query = select(
        func.count(who.distinct()).label("customers"),
        func.count().label("contacts"),
        func.min(p.c.occurred_at).label("first_at"),
        func.max(p.c.occurred_at).label("last_at"),
        func.count(case((p.c.severity == "high", who)).distinct()).label("severe"),
        func.count(case((p.c.occurred_at > now - LATELY, who)).distinct()).label("lately"),
    ).where(behind)
    return dict((await connection.execute(query)).one()._mapping)  # noqa: SLF001  # the public way to a row's names


async def _most(
    connection: AsyncConnection, behind: ColumnElement[bool], name: str, customers: int
) -> list[dict[str, Any]]:
    """The values with the most customers. Shares may add up to more than one: a customer may have come by two doors."""
    p = tables.particulars
    count = func.count(p.c.customer_id.distinct())
    query = (
        select(p.c[name], count)
        .where(behind, func.coalesce(p.c[name], "") != "")
        .group_by(p.c[name])
        .order_by(count.desc(), p.c[name])
        .limit(MOST)
    )
    rows = await connection.execute(query)
    return [{"value": value, "customers": n, "share": round(n / customers, 4)} for value, n in rows]


async def _acts(connection: AsyncConnection, behind: ColumnElement[bool], book: Rulebook | None) -> dict[str, Any]:
    """Contacts by whether something was done or left undone; shares are of those of which it is known."""
    p = tables.particulars
    query = select(p.c.act, p.c.cause, func.count()).where(behind).group_by(p.c.act, p.c.cause)
    found = {"act": 0, "omission": 0, "unknown": 0}
    for act, cause, count in await connection.execute(query):
        entry = None if book is None else book.cause_by_code.get(cause)
        found[act or (entry.act if entry is not None else None) or "unknown"] += count
    known = found["act"] + found["omission"]
    shares = {f"{name}_share": round(found[name] / known, 4) if known else None for name in ("act", "omission")}
    return {**found, **shares}


async def _demands(
    connection: AsyncConnection, behind: ColumnElement[bool], book: Rulebook | None, waiting: Waiting, now: datetime
) -> dict[str, Any]:
    """Customers who were asked for something that adds nothing for them, by cause; and what the procedures in force ask for."""
    p = tables.particulars
    found: dict[str, Any] = {"customers": 0, "causes": [], "asked_for": []}
    if book is None:
        return found
    needless = [cause.code for cause in book.causes if cause.needless_demand]
    if needless:
        count = func.count(p.c.customer_id.distinct())
        inside = and_(behind, p.c.cause.in_(needless))
        found["customers"] = (await connection.execute(select(count).where(inside))).scalar_one()
        query = select(p.c.cause, count).where(inside).group_by(p.c.cause).order_by(count.desc(), p.c.cause)
        found["causes"] = [
            {"cause": code, "name": dict(book.cause_by_code[code].name), "customers": n}
            for code, n in await connection.execute(query)
        ]
    used = set((await connection.execute(select(p.c.procedure).where(behind).distinct())).scalars())
    today = now.astimezone(waiting.zone).date()
    for procedure in book.procedures:
        version = procedure.in_force(today) if procedure.code in used else None
        if version is not None and version.demands:
            asked = {"procedure": procedure.code, "version": version.version, "name": dict(procedure.name)}
            found["asked_for"].append(asked | {"demands": [dict(texts) for texts in version.demands]})
    return found


async def _suppliers(
    connection: AsyncConnection, behind: ColumnElement[bool], book: Rulebook | None, waiting: Waiting, last_at: datetime | None
) -> list[dict[str, Any]]:  # fmt: skip
    """Whose work is behind the contacts, and how each agreement stands on the day of the finding's newest contact."""
    p = tables.particulars
    count = func.count(p.c.customer_id.distinct())
    query = (
        select(p.c.supplier, count, func.count())
        .where(behind, func.coalesce(p.c.supplier, "") != "")
        .group_by(p.c.supplier)
        .order_by(count.desc(), p.c.supplier)
        .limit(MOST)
    )
    known = {} if book is None else {supplier.code: supplier for supplier in book.suppliers}
    found: list[dict[str, Any]] = []
    for code, customers, contacts in (await connection.execute(query)).all():
        assert last_at is not None
        last = last_at.astimezone(waiting.zone).date()
        entry = known.get(code)
        agreements = [] if entry is None else [one for _, one in entry.all_agreements()]
        found.append(
            {
                "supplier": code,
                "name": {} if entry is None else dict(entry.name),
                "customers": customers,
                "contacts": contacts,
                "agreements": [await _checked(connection, code, one, last, waiting) for one in agreements],
            }
        )
    return found


async def _checked(
    connection: AsyncConnection, supplier: str, agreement: Agreement, last: date, waiting: Waiting
) -> dict[str, Any]:
    """An agreement against all complaints of the supplier's work, not those of the finding alone: that is what was agreed on."""
    p = tables.particulars
    first, _ = days_of(agreement, last)
    inside = (
        p.c.counted,
        p.c.supplier == supplier,
        p.c.occurred_at >= waiting.midnight(first),
        p.c.occurred_at < waiting.midnight(last + timedelta(days=1)),
    )
    who = select(func.count(p.c.customer_id.distinct())).where(*inside)
    complainants: int = (await connection.execute(who)).scalar_one()
    exposure = None
    if agreement.measure == PER_10_000 and agreement.unit in UNITS and first <= last:
        exposure = await _exposure(connection, agreement.unit, supplier, first, last)
    checked: Checked = check(agreement, last, complainants, exposure)
    return {
        "name": dict(agreement.name),
        "measure": agreement.measure,
        "at_most": agreement.at_most,
        "at_least": agreement.at_least,
        "unit": agreement.unit,
        "days": agreement.days,
        "standing": checked.standing.value,
        "measured": checked.measured,
        "complainants": complainants if checked.measured is not None else None,
        "exposure": exposure if checked.measured is not None else None,
        "first": checked.first,
        "last": checked.last,
        "until": agreement.until,
    }


async def _exposure(connection: AsyncConnection, unit: str, supplier: str, first: date, last: date) -> float | None:
    """The supplier's own figures, else the house's; None where a day is missing: a rate that was agreed on is not guessed."""
    known = await inputs.exposed(connection, unit, first, last)
    for where in ({"supplier": supplier}, dict[str, str]()):
        total, missing = known.over(where, first, last)
        if not missing:
            return total / ((last - first).days + 1) if unit in inputs.LEVELS else total
    return None


def _levels(finding: Any, levels: Sequence[Level], size: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Which levels were told, and from what on the others are: the size of a problem decides who has to deal with it."""
    told = set(finding.levels)
    return {
        "seen": {"customers": size["customers"], "severe": size["severe"], "days": round(idle_days(state_of(finding), now), 2)},
        "levels": [{"level": one.name, "told": one.name in told, "at_least": dict(one.at_least)} for one in levels],
    }  # fmt: skip
