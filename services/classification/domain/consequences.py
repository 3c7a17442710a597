"""What follows from a motive and a cause by the rulebook: component, severity, the procedure and norm in force, the route."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from libs.events.catalogue.interactions import Kind
from services.classification.domain.rulebook import UNKNOWN, Procedure, Rulebook

DEFAULT_ROUTE = "default"
_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Follows:
    """Named as in `lazo.interaction.classified`. None: the rulebook does not say."""

    component: str | None = None
    factor: str | None = None
    expectation: str | None = None
    act: str | None = None
    severity: str | None = None
    harm: str | None = None
    procedure: str | None = None
    procedure_version: int | None = None
    norm: str | None = None
    policy: str | None = None
    route: str = DEFAULT_ROUTE
    routed_to: str | None = None
    together: tuple[str, ...] = ()


class Consequences:
    """Answers for one rulebook, remembered by motive, cause, day, kind and touchpoint."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._book = rulebook
        self._zone = ZoneInfo(rulebook.time_zone)
        self._known: dict[tuple[str, str, date, Kind, str | None], Follows] = {}

    def day_of(self, moment: datetime) -> date:
        """The day by the rulebook's own calendar: procedures begin at its midnight."""
        return moment.astimezone(self._zone).date()

    def of(self, motive: str, cause: str, occurred_at: datetime, kind: Kind, touchpoint: str | None) -> Follows:
        """Raises KeyError for a code the rulebook does not have."""
        key = (motive, cause, self.day_of(occurred_at), kind, touchpoint)
        found = self._known.get(key)
        if found is None:
            if len(self._known) > _KEPT:
                self._known.clear()
            found = self._known[key] = self._work_out(*key)
        return found

    def _work_out(self, motive: str, cause: str, day: date, kind: Kind, touchpoint: str | None) -> Follows:
        book = self._book
        what = None if motive == UNKNOWN else book.motive_by_code[motive]
        why = None if cause == UNKNOWN else book.cause_by_code[cause]
        held = None if what is None else book.procedure_for(motive, day)
        severity = None if what is None else what.severity
        route = book.route_for(motive, day, cause=cause, kind=kind, severity=severity, touchpoint=touchpoint)
        owners = [book.owner_of(entry) for entry in (None if held is None else held[0], what) if entry is not None]
        return Follows(
            component=None if why is None else why.component,
            factor=None if why is None else why.factor,
            expectation=None if why is None else why.expectation,
            act=None if why is None else why.act,
            severity=severity,
            harm=None if what is None else what.harm,
            procedure=None if held is None else held[0].code,
            procedure_version=None if held is None else held[1].version,
            # R11: where the failure arose. The procedure's own norm comes first; a cause may name one where none answers.
            norm=held[1].norm if held is not None else self._standing_norm(why.norm if why is not None else None, day),
            policy=held[1].policy if held is not None else (why.policy if why is not None else None),
            route=DEFAULT_ROUTE if route is None else route.code,
            routed_to=route.team if route is not None else next((owner for owner in owners if owner), book.owner),
            together=() if route is None else tuple(route.together),
        )

    def _standing_norm(self, code: str | None, day: date) -> str | None:
        found = next((norm for norm in self._book.norms if norm.code == code), None)
        if found is None or not found.stands(day):
            return None
        since = self._book.since_of(found)
        return code if since is None or since <= day else None

    def procedure(self, code: str) -> Procedure | None:
        return next((held for held in self._book.procedures if held.code == code), None)
