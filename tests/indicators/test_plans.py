"""How SQLite finds the rows behind the indicators: what is looked up for each case is looked up by its case."""

from collections.abc import Awaitable, Callable

from sqlalchemy import select, text
from sqlalchemy.dialects import sqlite

from services.indicators.tables import facts
from services.indicators.views import facts_of
from tests.indicators.conftest import Desk
from tests.indicators.test_measures import question


async def test_acknowledgements_and_closings_are_looked_up_by_case_and_not_read_whole_for_each(
    desks: Callable[[str], Awaitable[Desk]],
) -> None:
    """A year of 17,000 cases took 44 s a question, and the overview asks eight: (what, at) looked as good as the key."""
    desk, query = await desks("plans"), question()
    t = facts("a")
    first = facts_of._first(t, query, by_case=True).subquery("first")
    acknowledged = select(t.cases.c.case_id, first.c.at).join_from(
        t.cases, first, first.c.case_id == t.cases.c.case_id, isouter=True
    )
    async with desk.reading() as connection:
        for statement in (acknowledged, facts_of._first(t, query), facts_of._last_closing(t, query)):
            told = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
            plan = [row[3] for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {told}"))]
            inner = [
                step for step in plan if step.startswith("SEARCH") and ("LEFT-JOIN" in step or "case_id=?" in step)
            ]
            assert inner, plan
            of_milestones = [step for step in plan if "milestones_a_what_at" in step]
            assert all("LEFT-JOIN" not in step for step in of_milestones), plan
            assert len(of_milestones) <= 1, plan  # the outermost, chosen by what it is
