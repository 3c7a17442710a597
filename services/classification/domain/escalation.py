"""Which level of the house should know of a finding: by its size, its harm and its age (R34).

Rules are one line: levels from low to high, each with its conditions, of which one suffices:
`area: days=7; direction: customers=50, severe=10, days=30; general: customers=200, days=60`.
`customers`: distinct complainants; `severe`: those with a motive of high severity; `days`: since it opened and nothing was done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.events.catalogue.finding_status import Status
from services.classification.domain.finding_state import Finding

CONDITIONS = ("customers", "severe", "days")
WAITING = {Status.OPENED, Status.CONFIRMED, Status.INVESTIGATED}
DEFAULT = "area: days=7; direction: customers=50, severe=20, days=30; general: customers=200, severe=100, days=60"


@dataclass(frozen=True, slots=True)
class Level:
    name: str
    at_least: Mapping[str, float]


class BadRules(ValueError):
    """The rules cannot be read; the text says where."""


def parse(text: str) -> tuple[Level, ...]:
    """The levels, lowest first; none for an empty line. Raises BadRules."""
    found: list[Level] = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, colon, rest = part.partition(":")
        name = name.strip()
        if not colon or not name or any(level.name == name for level in found):
            raise BadRules(f"{part!r} is not 'level: condition=number, …', with each level once")
        at_least: dict[str, float] = {}
        for condition in rest.split(","):
            what, equals, number = (piece.strip() for piece in condition.partition("="))
            if what not in CONDITIONS or not equals:
                raise BadRules(f"{condition.strip()!r} is not one of {', '.join(CONDITIONS)} with a number")
            try:
                at_least[what] = float(number)
            except ValueError:
                raise BadRules(f"{number!r} is no number") from None
            if not at_least[what] > 0:
                raise BadRules(f"{what} has to be above 0")
        found.append(Level(name, at_least))
    return tuple(found)


def idle_days(state: Finding, now: datetime) -> float:
    """Days since it opened and nothing was done: 0 while an action is in hand and not overdue, or is done."""
    action = state.action
    overdue = state.status is Status.PLANNED and action is not None and action.due < now.date()
    if state.status not in WAITING and not overdue:
        return 0.0
    return max(0.0, (now - state.opened_at).total_seconds() / 86_400)


def due(
    state: Finding, levels: Sequence[Level], customers: int, severe: int, now: datetime
) -> list[tuple[str, Mapping[str, float]]]:
    """The levels that should know and were not told, lowest first, each with the conditions that were met.

    Once a level knows, those below it are passed over: whom the direction asks about it has been told by the direction.
    """
    if not state.open:
        return []
    seen = {"customers": float(customers), "severe": float(severe), "days": round(idle_days(state, now), 2)}
    found: list[tuple[str, Mapping[str, float]]] = []
    told = max((place for place, level in enumerate(levels) if level.name in state.levels), default=-1)
    for level in levels[told + 1 :]:
        met = {name: seen[name] for name, least in level.at_least.items() if seen[name] >= least}
        if met:
            found.append((level.name, met))
    return found
