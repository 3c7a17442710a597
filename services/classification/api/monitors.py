"""The slices under watch: what was counted on the last judged day, what was expected, where the limit lies."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from libs.events.offload import offload
from libs.service.http import Paging, paging
from services.classification import views
from services.classification.api.context import Context, Reader
from services.classification.domain.borrowing import told
from services.classification.domain.judges import METHOD, ORDINARY
from services.classification.domain.localisation.windows import OTHER
from services.classification.domain.lots import LEARNT, WINDOWS, YOUNG
from services.classification.domain.numeric import upper_limit
from services.classification.domain.slices import named, series_at, stored
from services.classification.domain.watch import Watch
from services.classification.verdict_numbers import borrowed_of


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["monitors"])

    @routes.get("/monitors", summary="Slices under watch with counts and limits, strongest evidence first")
    async def monitors(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        motive: Annotated[str | None, Query(max_length=64)] = None,
        touchpoint: Annotated[str | None, Query(max_length=200)] = None,
        series: Annotated[str | None, Query(max_length=64)] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            said = await views.verdicts(connection)
            async with context.monitor.reading(connection) as (watch, _, mark):
                rows = await offload(slices_of, watch)
                until = context.monitor.until
                under_way = None
                if until is not None or watch.underway:
                    under_way = {"through": watch.through, "until": until or (None if mark is None else mark.through)}
        for row in rows:
            row["verdict"] = said.get(row.pop("key"))
        chosen = [
            row
            for row in rows
            if (series is None or row["series"] == series)
            and (motive is None or row["slice"].get("motive") == motive)
            and (touchpoint is None or row["slice"].get("touchpoint") == touchpoint)
        ]
        start = int(paged.position or 0)
        page = paged.page(chosen[start : start + paged.limit + 1], start + paged.limit)
        return {
            **page,
            "method": METHOD,
            "judged_through": mark.through if mark is not None else None,
            # Of years of history, or after a fact of long ago: how far the days are judged, and up to which they will be.
            "judging": under_way,
            "slices": len(rows),
            "bounded": any(OTHER in row["slice"].values() for row in rows),
            "false_alarms_per_month": context.settings.false_alarms_per_month,
            "minimum_customers": context.settings.minimum_customers,
        }

    return routes


def slices_of(watch: Watch) -> list[dict[str, Any]]:
    """Every slice under watch on the last judged day, strongest evidence first."""
    if watch.origin is None or watch.through is None:
        return []
    column = (watch.through - watch.origin).days
    if column < 0 or (watch.underway and not watch.told(column)):
        return []  # years are being read: nothing is known of that day yet, and it is not for a reader to wait for it
    rows, fresh, repeats = watch.lanes(column)
    found = []
    for number, row in enumerate(rows):
        key = watch.keys[row]
        known, borrowed = bool(fresh.known[number]), told(fresh.borrowed[number])
        entry: dict[str, Any] = {
            "slice": named(key),
            "series": "*".join(name for name, _ in key),
            "key": (series_at(key).name, *stored(key)),
            "day": watch.through,
            "judged": known,
            "borrowed": None if borrowed is None else borrowed_of(borrowed).model_dump(mode="json"),
        }
        if known:
            expected, variance = float(fresh.expected[number]), float(fresh.variance[number])
            upper = upper_limit(expected, variance, ORDINARY / len(WINDOWS))
            enough = upper_limit(expected, variance, float(fresh.level[number]) / len(WINDOWS))
            entry |= {
                "window_days": int(fresh.window[number]),
                "customers": float(fresh.observed[number]),
                "expected": round(expected, 4),
                "upper": upper,
                "p": float(fresh.p[number]),
                "p_going_on": float(fresh.going_on[number]),
                "p_isolated": round(float(fresh.isolated[number]), 6),
                "repeats": float(repeats.observed[number]),
                "p_repeats": float(repeats.p[number]),
                "rate_per_day": round(float(fresh.rate[number]), 4),
                "dispersion": round(float(fresh.dispersion[number]), 4),
                # What would make the same window alone as rare as an alarm has to be.
                "more_customers": max(0, max(enough, watch.rules.minimum_customers) - int(fresh.observed[number])),
            }
        else:
            days = column + 1 if borrowed is None else column - watch.column_of(borrowed.begin)
            entry |= {"p": 1.0, "more_days": max(1, (YOUNG if borrowed is None else LEARNT) - days)}
        found.append(entry)
    found.sort(key=lambda entry: (entry["p"], *entry["key"]))
    return found
