"""When an action is judged: once its declared window has passed, and again while it is undecided. Pure.

An undecided judgement says how many weeks more would decide if things go on as they went. When they have passed the action is
judged again, over the declared window and the weeks since. Each wait is at least twice the shortest before (2, 4, 8, 16, 32 weeks)
and `LONGEST` times that at most, for what would need a year as things stand may be plain after two months; all of them together are
`MOST_WEEKS` at most. So an action is judged six times and no more: whoever looks every week finds something by chance one day
(Armitage, McPherson & Rowe 1969). Measured with all looks (bench D5): see docs/explanation/did-it-work.md.
"""

from datetime import datetime, timedelta

from services.classification.domain.effect import MOST_WEEKS
from services.classification.domain.finding_state import Action

LONGEST = 4


def window(action: Action) -> int | None:
    """Days after the action that the next judgement looks at; None where there is no next one."""
    if action.implemented_at is None or action.cancelled:
        return None
    if action.judgement is None:
        return action.window_days
    if action.again_at is None:
        return None
    return (action.again_at - action.implemented_at).days


def due(action: Action, lateness: timedelta) -> datetime | None:
    """When those days have passed and their last facts are in."""
    days = window(action)
    if days is None or action.implemented_at is None:
        return None
    return action.implemented_at + timedelta(days=days) + lateness


def least_weeks(action: Action) -> int:
    """The shortest wait after the judgement that is made now."""
    return int(2 ** (action.looks + 1))


def again_at(action: Action, days: int, needed: int | None) -> datetime | None:
    """When it is judged again after an undecided judgement of so many days that needs so many weeks more; None: never."""
    left = (action.window_days + 7 * MOST_WEEKS - days) // 7
    if needed is None or left <= 0 or action.implemented_at is None:
        return None
    weeks = min(needed, LONGEST * least_weeks(action), left)
    return action.implemented_at + timedelta(days=days + 7 * weeks)
