"""Of what nature three failures are, from the complaints to the verdicts and what is done about a rule that harms."""

from datetime import timedelta

import numpy as np

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseOpened, CaseResolved
from libs.events.catalogue.interactions import Channel, Effects, Kind
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification import outcomes
from services.classification.app import build as classification
from tests.classification.streams import ORIGIN, WEEK, contact
from tests.classification.test_finding_work import API, do
from tests.classification.test_monitoring import at, bring_in, verdicts
from tests.classification.test_service import publish

DAYS = 112
FAILURES = {
    # motive and contact point: cause, its first day, what most cases came to, the nature
    ("billing.refund", "store"): ("refund_needs_paper_form", 80, "upheld", "procedure"),
    ("contract.offer", "call_centre"): ("norm_permanence_unfair", 87, "not_upheld", "norm"),
    ("digital.app", "app"): ("invoice_layout_unclear", 94, "explained", "explanation"),
}


def story() -> list[InteractionClassified]:
    """Two complaints a day in each slice grow by five, of one cause, from its day on."""
    rng = np.random.default_rng(3)
    found: list[InteractionClassified] = []
    for day in range(DAYS):
        for (motive, touchpoint), (cause, begins, _, _) in FAILURES.items():
            usual, more = rng.poisson(2 * WEEK[day % 7]), rng.poisson(5) if day >= begins else 0
            for number in range(usual + more):
                why = "unknown" if number < usual else cause
                found.append(
                    contact(len(found), ORIGIN + timedelta(days=day), motive=motive, touchpoint=touchpoint, cause=why, effects=Effects.HISTORY)
                )  # fmt: skip
    return found


async def test_a_bad_procedure_a_norm_that_harms_and_a_missing_explanation_are_told_apart_and_the_norm_is_put_up_for_change() -> (
    None
):
    """R13, R14, R15, R11, R23: verdicts with their reasons; the norm's finding leads to a proposal about that norm."""
    clock = SimulatedClock(at(DAYS + 3))
    async with running(classification, clock=clock) as run:
        await publish(run)
        facts = story()
        results = {cause: outcome for cause, _, outcome, _ in FAILURES.values()}
        async with run.services["classification"].runtime.store.unit() as unit:
            for number, one in enumerate([fact for fact in facts if fact.cause in results]):
                who = {"case_id": f"case-{number}", "customer_id": one.customer_id}
                case = CaseOpened(
                    **who, interaction_id=one.interaction_id, kind=Kind.COMPLAINT, channel=Channel.PHONE, origin="crm",
                    received_at=one.occurred_at, acknowledge_by=one.occurred_at, due_at=one.occurred_at, calendar="CO", term={},
                )  # fmt: skip
                done = CaseResolved(**who, at=one.occurred_at, by="ana", outcome=results[one.cause])
                await outcomes.put_down(unit, [case, done])
        await bring_in(run, clock, facts)
        found = {
            (item["slice"]["motive"], item["slice"]["touchpoint"]): item
            for item in (await run.client.get(f"{API}/findings")).json()["items"]
        }
        assert {place: item["nature"] for place, item in found.items()} == {
            place: nature for place, (_, _, _, nature) in FAILURES.items()
        }
        said = {item["finding_id"]: item for item in await verdicts(run) if item["verdict"] == "systemic"}
        for place, (_, begins, _, nature) in FAILURES.items():
            verdict = said[found[place]["finding_id"]]
            assert verdict["natures"][nature] > 0.5
            assert {"causes", "upheld"} <= {term["evidence"] for term in verdict["reasons"]}
            assert verdict["evaluation"]["window_end"] <= at(begins + 14).isoformat()
        norm = found["contract.offer", "call_centre"]["finding_id"]
        await do(run, "confirm", {"by": "ana"}, norm)
        proposal = {"subject": "norm", "code": "n-permanence", "text": "No stay without a benefit", "owner": "legal"}
        proposed = (await do(run, "proposals", proposal, norm)).json()["proposals"]
        assert [(one["subject"], one["code"], one["state"]) for one in proposed] == [("norm", "n-permanence", "open")]
