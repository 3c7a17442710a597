"""What is said of places that stand out among their peers, and what has to be said anew (R05, R13).

A place that was bad from the beginning is said once. But what it was compared by may come later, or be corrected: contracts and
orders by file, a late complaint, a contact coded otherwise. Then the looks are made again, and what differs is appended as a
revision: other numbers (by rate where shares were compared), or that it stands out no more. The finding behind a verdict that was
taken back is closed by the monitor as long as nobody has confirmed it, and opened again should the verdict return; one that people
took up is theirs, and shows the revision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.findings import Evaluation
from libs.events.envelope import Event
from libs.events.store import Cause, Unit
from services.classification import desk, tables
from services.classification.counting import PEERS
from services.classification.domain import chronic
from services.classification.domain.finding_orders import Restore, Withdraw
from services.classification.domain.peers import Chronic, Peers, Place
from services.classification.verdict_rows import rows_of
from services.classification.waiting import Waiting

MOVED = 0.01
"""Of the expectation: as much as it moves is worth a revision. A complaint somewhere else moves it by a ten-thousandth."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A place of which something new is to be said. `row`: what was said before; `found`: how it stands out now, None: it does not;
    `numbers`: of the look that was said before, as it is now."""

    row: Mapping[str, Any] | None
    found: Chronic | None
    numbers: Chronic | None


async def to_look_at(connection: AsyncConnection, peers: Peers, touched: Iterable[Place]) -> list[Place]:
    """The places touched, and those said to stand out that do not: a restart between a correction and its look forgets what
    was touched, and no correction may be lost by it."""
    table = tables.verdicts
    query = select(table.c.motive, table.c.place).where(table.c.series == PEERS, table.c.withdrawn.is_(False))
    said = {(row.motive, row.place) for row in await connection.execute(query)}
    return sorted(set(touched) | (said - peers.found.keys()))


async def standing(connection: AsyncConnection, peers: Peers, of: Place, waiting: Waiting) -> Standing | None:
    """What is new about a place; None where all was said."""
    found = peers.found.get(of)
    rows = await rows_of(connection, PEERS, *of)
    if not rows:
        return None if found is None else Standing(None, found, None)
    row = rows[-1]
    first: date = row["start"] - timedelta(days=chronic.WINDOW_DAYS + 7)
    if peers.first is None or first < peers.first:
        return None  # older than what is watched: nothing can be said anew
    if found is None:
        return None if row["withdrawn"] else Standing(row, None, peers.at(*of, row["start"]))
    said = Evaluation.model_validate(row["data"]["evaluation"])
    return None if not row["withdrawn"] and same(said, evaluation(found, waiting)) else Standing(row, found, None)


def same(said: Evaluation, now: Evaluation) -> bool:
    """Whether two looks tell the same: window, counts, what was compared, and nearly the same expectation."""
    a, b = said.parameters.get("by_rate"), now.parameters.get("by_rate")
    return (said.window_end, said.observed, a) == (now.window_end, now.observed, b) and abs(
        said.expected - now.expected
    ) <= MOVED * now.expected


def evaluation(found: Chronic, waiting: Waiting) -> Evaluation:
    """The numbers of a look, as a verdict stores them."""
    return Evaluation(
        method=chronic.METHOD,
        window_start=waiting.midnight(found.day - timedelta(days=chronic.WINDOW_DAYS)),
        window_end=waiting.midnight(found.day),
        observed=found.observed,
        expected=round(found.expected, 6),
        upper=round(found.upper, 6),
        score=round(found.z, 4),
        customers=0,
        contacts=0,
        parameters={
            "z": round(found.z, 6),
            "z_limit": chronic.Z_LIMIT,
            "natural_spread": found.spread,
            "p_usual": round(found.usual, 9),
            "by_rate": float(found.by_rate),
            "peers": float(found.peers),
            "window_days": float(chronic.WINDOW_DAYS),
        },
    )


async def take_back(unit: Unit, row: Mapping[str, Any], waiting: Waiting, cause: Event | Cause) -> None:
    """Close the finding that this verdict opened, unless people took it up or another verdict still speaks for it."""
    finding = await _opened_by(unit, row)
    table = tables.verdicts
    others = select(func.count()).where(
        table.c.finding_id == row["finding_id"], table.c.verdict_id != row["verdict_id"], table.c.withdrawn.is_(False)
    )
    if finding and not (await unit.connection.execute(others)).scalar_one():
        await desk.carry_out(unit, row["finding_id"], Withdraw(), waiting, cause=cause)


async def give_back(unit: Unit, row: Mapping[str, Any], waiting: Waiting, cause: Event | Cause) -> None:
    """Open the finding again that was closed when this verdict was taken back."""
    if await _opened_by(unit, row):
        await desk.carry_out(unit, row["finding_id"], Restore(), waiting, cause=cause)


async def _opened_by(unit: Unit, row: Mapping[str, Any]) -> bool:
    finding = await desk.load(unit, row["finding_id"])
    return finding is not None and finding.verdict_id == row["verdict_id"]
