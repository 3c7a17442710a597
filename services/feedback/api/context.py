"""What the routes are made with, and what they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from starlette.responses import Response

from libs.events.clock import Clock
from libs.events.errors import ConcurrencyConflict
from libs.events.store import Store
from libs.events.vault import Vault
from libs.service.http import FieldError, Problem, Words
from services.feedback.desk import Desk, Task
from services.feedback.domain.calendars import Calendar
from services.feedback.domain.refusals import Refused
from services.feedback.hub import Hub
from services.feedback.wording import Wording

ATTEMPTS = 4
"""Two writers of one case: the second reads again and decides again. Four in a row is a quarrel to be told."""


@dataclass(frozen=True)
class Context:
    store: Store
    vault: Vault
    clock: Clock
    desk: Desk
    wording: Wording
    hub: Hub
    organisation: str
    calendar: Callable[[str], Calendar]

    async def do(self, tasks: Sequence[Task]) -> dict[int, Refused]:
        """Carry out tasks in one transaction; those that were refused, by place. Raises ConcurrencyConflict."""
        for attempt in range(ATTEMPTS):
            refusals: dict[int, Refused] = {}
            try:
                async with self.store.unit() as unit:
                    await self.desk.apply(unit, tasks, refusals=refusals)
                return refusals
            except ConcurrencyConflict:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


def problem_of(refused: Refused) -> Problem:
    """The refusal as a problem document: 422 for a wrong command, 409 for a wrong moment."""
    text = Words(refused.text("en"), refused.text("es"))
    if refused.code in {"unknown_case", "unknown_request"}:
        return Problem(404, "not-found", text)
    code = refused.code.replace("_", "-")
    errors = (FieldError(refused.pointer or "", code, text),)
    return Problem(422 if refused.invalid else 409, "invalid" if refused.invalid else "conflict", text, errors)


def not_ahead(at: datetime | None, now: datetime) -> datetime:
    """When something happened: as told, else now. Refused where it lies ahead."""
    if at is None:
        return now
    if at > now:
        raise Refused("in_the_future")
    return at


def case_answer(found: dict[str, Any]) -> Response:
    """A case with its version as ETag, which `If-Match` takes."""
    return JSONResponse(jsonable_encoder(found), headers={"ETag": f'"{found["version"]}"'})
