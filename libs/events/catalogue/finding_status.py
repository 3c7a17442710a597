"""Where a finding stands after an event about it: one fold, which the service that decides and every reader share.

opened → confirmed → investigated → action_planned → implemented → judged → closed; dismissed before an action is planned.
Reopened, or with its action cancelled, it is again as far as it was understood: investigated where that was done, else confirmed.
"""

from enum import StrEnum


class Status(StrEnum):
    OPENED = "opened"
    CONFIRMED = "confirmed"
    INVESTIGATED = "investigated"
    DISMISSED = "dismissed"
    PLANNED = "action_planned"
    IMPLEMENTED = "implemented"
    JUDGED = "judged"
    CLOSED = "closed"


OVER = frozenset({Status.DISMISSED, Status.CLOSED})
_SET = {
    "finding.opened": Status.OPENED,
    "finding.dismissed": Status.DISMISSED,
    "finding.closed": Status.CLOSED,
    "action.planned": Status.PLANNED,
    "action.implemented": Status.IMPLEMENTED,
    "action.judged": Status.JUDGED,
}
_BACK = {"finding.reopened", "action.cancelled"}


WITHDRAWN, RESTORED = "evidence_withdrawn", "evidence_again"
"""Reasons for which the monitor closes a finding that nobody has taken up, and opens it again."""


def after(status: Status, what: str, *, investigated: bool, reason: str | None = None) -> Status:
    """The status after an event. `what`: its type without `lazo.` and version; `investigated`: whether that was ever done,
    this event left out; `reason`: given with it. What says nothing about it leaves it as it is."""
    if what == "finding.reopened" and reason == RESTORED:
        return Status.OPENED  # nobody has confirmed it yet
    if what == "action.judged" and status in OVER:
        return status  # an undecided action is judged again after its finding was closed; only reopening opens it
    if what in _SET:
        return _SET[what]
    if what in _BACK:
        return Status.INVESTIGATED if investigated else Status.CONFIRMED
    if what in {"finding.confirmed", "finding.corrected"}:
        return Status.CONFIRMED if status is Status.OPENED else status
    if what == "finding.investigated":
        return Status.INVESTIGATED if status is Status.CONFIRMED else status
    return status
