"""History coded again under a version with a split and a merge, through the public API of all that take part (G1, G2)."""

from collections import Counter
from typing import Any

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification.app import build as classification
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from tests.classification.test_preview import SECOND, TEXTS
from tests.classification.test_recoding import JOBS, ask, until
from tests.classification.test_service import START, contact, publish, send, source

SPAN = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
COUNTS = "/indicators/v1/indicators/complaints_received"


async def report(run: Running, version: int) -> bytes:
    """Everything that is reported by motive and cause under a version, as it is sent."""
    parts = []
    for by in ("motive", "cause", "component"):
        answer = await run.client.get(COUNTS, params={**SPAN, "group_by": by, "rulebook": version})
        assert answer.status_code == 200, answer.text
        parts.append(answer.content)
    return b"\n".join(parts)


async def counts(run: Running, version: int) -> dict[str, int]:
    answer = await run.client.get(
        COUNTS, params={**SPAN, "group_by": "motive", "rulebook": version, "granularity": "month"}
    )
    points: list[dict[str, Any]] = answer.json()["points"]
    return {point["group"]["motive"]: point["numerator"] for point in points if point["numerator"]}


async def test_after_history_was_coded_again_the_report_under_the_first_version_is_the_same_bytes_and_the_crosswalk_adds_up_G1() -> (
    None
):
    async with running(intake, classification, feedback, indicators, clock=SimulatedClock(START)) as run:
        await source(run)
        assert (await publish(run)).status_code == 201
        await send(run, [contact(number, text) for number, (text, _, _) in enumerate(TEXTS * 4)])
        await run.settle()
        before = await report(run, 1)
        first = await counts(run, 1)
        assert first == dict(Counter(code for _, code, _ in TEXTS * 4))

        assert (await publish(run, SECOND.encode())).status_code == 201
        job = await ask(run)
        await until(run, job["recoding_id"], "previewed")
        assert (await run.client.post(f"{JOBS}/{job['recoding_id']}/start", json={"by": "eva"})).status_code == 202
        done = await until(run, job["recoding_id"], "done")
        await run.settle()
        assert done["changed"] == 16  # the split's eight and the merge's eight

        assert await report(run, 1) == before
        second = await counts(run, 2)
        assert second == dict(Counter(code for _, _, code in TEXTS * 4))
        walk = (
            await run.client.get("/indicators/v1/crosswalk", params={**SPAN, "before": 1, "after": 2, "by": "motive"})
        ).json()
        sides: dict[str, Counter[str]] = {"before": Counter(), "after": Counter()}
        for item in walk["items"]:
            for side, sums in sides.items():
                sums[item[side]] += item["cases"]
        assert (dict(sides["before"]), dict(sides["after"])) == (first, second)
        assert walk["cases"] == walk["decided_under_both"] == len(TEXTS) * 4
        assert walk["moved"] == walk["moved_as_declared"] == 16
