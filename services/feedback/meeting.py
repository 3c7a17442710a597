"""Who opens a case and who brings something about it, in two transactions that cannot see each other."""

from collections.abc import Iterable

from sqlalchemy import text

from libs.events.store import Unit


async def meet(unit: Unit, refs: Iterable[tuple[str, str | None]], interactions: Iterable[str]) -> None:
    """Make transactions about the same references conflict where they would not see each other."""
    if unit.connection.dialect.name == "sqlite":
        return
    places = sorted({*(f"{origin}\x1f{case_ref}" for origin, case_ref in refs), *interactions})
    if places:
        statement = text(
            "INSERT INTO meetings (place, touched) SELECT unnest(CAST(:places AS text[])), 1"
            " ON CONFLICT (place) DO UPDATE SET touched = meetings.touched + 1"
        )
        await unit.connection.execute(statement, {"places": places})
