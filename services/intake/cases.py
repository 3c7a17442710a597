"""The other system's case numbers: which interaction and which person they belong to."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.store import Draft, Store
from services.intake.tables import case_refs

Place = tuple[str, str]
"""(source, case_ref)."""
Remember = Callable[[AsyncConnection, Sequence[Draft]], Awaitable[None]]
"""What is written in the transaction of the facts that were new."""

_MOST = 400  # places per query; two parameters each


async def find(store: Store, places: Collection[Place]) -> dict[Place, tuple[str, str]]:
    """Interaction and customer of each case that is known."""
    wanted = sorted(places)
    found: dict[Place, tuple[str, str]] = {}
    async with store.reading() as connection:
        for start in range(0, len(wanted), _MOST):
            rows = await connection.execute(
                select(case_refs).where(
                    tuple_(case_refs.c.source_id, case_refs.c.case_ref).in_(wanted[start : start + _MOST]),
                    case_refs.c.interaction_id.is_not(None),
                )
            )
            found.update({(row.source_id, row.case_ref): (row.interaction_id, row.customer_id) for row in rows})
    return found


async def remember_interactions(connection: AsyncConnection, drafts: Sequence[Draft]) -> None:
    """Tie the cases named by new interactions to them; the first interaction of a case stays its own."""
    rows: dict[Place, dict[str, Any]] = {}
    for draft in drafts:
        data = cast("InteractionRecorded", draft.data)
        if data.case_ref:
            rows.setdefault(
                (data.origin, data.case_ref),
                {
                    "source_id": data.origin,
                    "case_ref": data.case_ref,
                    "interaction_id": data.interaction_id,
                    "customer_id": data.customer_id,
                },
            )
    if rows:
        await _upsert(connection, list(rows.values()), ("interaction_id", "customer_id"), case_refs.c.interaction_id)


def remember_holders(holders: Mapping[Place, str]) -> Remember:
    """Note who holds the words said about cases that nobody knows yet."""

    async def remember(connection: AsyncConnection, _: Sequence[Draft]) -> None:
        rows = [
            {"source_id": source, "case_ref": case_ref, "holder": holder}
            for (source, case_ref), holder in holders.items()
        ]
        await _upsert(connection, rows, ("holder",), case_refs.c.holder)

    return remember


async def _upsert(
    connection: AsyncConnection, rows: list[dict[str, Any]], columns: tuple[str, ...], unless: Any
) -> None:
    build = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement: Any = build(case_refs)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["source_id", "case_ref"],
            set_={name: statement.excluded[name] for name in columns},
            where=unless.is_(None),
        ),
        # In one order, so that two transactions over the same cases wait for each other instead of locking up.
        sorted(rows, key=lambda row: (row["source_id"], row["case_ref"])),
    )


async def holders_of(connection: AsyncConnection, customer_id: str) -> list[str]:
    """The people made up for this customer's cases."""
    rows = await connection.execute(
        select(case_refs.c.holder)
        .where(case_refs.c.customer_id == customer_id, case_refs.c.holder.is_not(None))
        .distinct()
    )
    return [row.holder for row in rows if row.holder != customer_id]
