"""The timer that judges a corrective action once the window after it has passed (G4)."""

from collections.abc import Sequence
from datetime import timedelta

from libs.events.store import Unit
from libs.events.timers import Timer
from services.classification import desk
from services.classification.domain.effect import Effect, judge
from services.classification.domain.findings import Action, Finding, Judge
from services.classification.domain.peers import Peers
from services.classification.domain.watch import Watch
from services.classification.monitoring import Monitor
from services.classification.waiting import Waiting

BEFORE_AT_LEAST = 28
COMMON_PRIOR = 60.0


class Judging:
    def __init__(self, monitor: Monitor, waiting: Waiting) -> None:
        self._monitor, self._waiting = monitor, waiting

    async def due(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: compare before and after; whatever is not better reopens the finding."""
        for timer in timers:
            finding = await desk.load(unit, timer.data["finding"])
            action = None if finding is None else finding.action
            if finding is None or action is None or action.implemented_at is None or action.action_id != timer.key:
                continue
            async with self._monitor.reading(unit.connection) as (watch, peers, _):
                effect = self._effect(finding, action, watch, peers)
            command = Judge(action_id=action.action_id, effect=effect)
            await desk.carry_out(unit, finding.finding_id, command, self._waiting, cause=timer)

    def _effect(self, finding: Finding, action: Action, watch: Watch, peers: Peers) -> Effect:
        """The declared window after the action against at least four weeks before it; the day of the action in neither."""
        assert action.implemented_at is not None
        day = action.implemented_at.astimezone(self._waiting.zone).date()
        before_days = max(action.window_days, BEFORE_AT_LEAST)
        before = (day - timedelta(days=before_days), day - timedelta(days=1))
        after = (day + timedelta(days=1), day + timedelta(days=action.window_days))
        motive = finding.slice["motive"]
        own_before, own_after, dispersion = 0, 0, 1.0
        if "location" in finding.slice:
            place = finding.slice["location"]
            own_before, own_after = peers.total(motive, place, *before), peers.total(motive, place, *after)
        else:
            key = (motive, finding.slice.get("touchpoint", ""))
            own_before, own_after = watch.total(key, *before), watch.total(key, *after)
            dispersion = watch.dispersion(key, day)
        others_before = watch.total(None, *before) - own_before
        others_after = watch.total(None, *after) - own_after
        shares = _moves(others_before, before_days, others_after, action.window_days)
        return judge(
            before=own_before,
            before_exposure=before_days * shares[0],
            after=own_after,
            after_exposure=action.window_days * shares[1],
            dispersion=dispersion,
            expected_ratio=action.expected_ratio,
        )


def _moves(before: int, before_days: int, after: int, after_days: int) -> tuple[float, float]:
    """How far the other slices were from their common mean in each period: the season both periods have to be freed of."""
    mean = (before + after) / (before_days + after_days)
    return (
        (before + COMMON_PRIOR) / (mean * before_days + COMMON_PRIOR),
        (after + COMMON_PRIOR) / (mean * after_days + COMMON_PRIOR),
    )
