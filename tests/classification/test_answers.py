"""What customers say of an action: who is asked, and that each has one voice."""

from datetime import UTC, datetime, timedelta

from libs.events.catalogue.feedback import CaseOpened, FeedbackAnswered
from libs.events.catalogue.interactions import Channel, Kind
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification import outcomes
from services.classification.app import build as classification
from tests.classification.streams import ORIGIN, contact, emit

DONE = datetime(2025, 1, 10, tzinfo=UTC)


async def test_customers_whose_contact_came_after_the_action_have_one_voice_each_the_newest_R51() -> None:
    clock = SimulatedClock(datetime(2025, 3, 1, tzinfo=UTC))
    async with running(classification, clock=clock) as run:
        contacts = [
            contact(1, ORIGIN + timedelta(days=1), customer="before"),
            contact(2, ORIGIN + timedelta(days=8), customer="helped"),
            contact(3, ORIGIN + timedelta(days=9), customer="harmed"),
            contact(4, ORIGIN + timedelta(days=10), customer="harmed"),
            contact(5, ORIGIN + timedelta(days=9), customer="elsewhere", touchpoint="app"),
            contact(6, ORIGIN + timedelta(days=40), customer="later"),
        ]
        await emit(run, contacts)
        await run.settle()
        said = ["better", "better", "better", "worse", "worse", "worse"]
        async with run.services["classification"].runtime.store.unit() as unit:
            for number, (one, helped) in enumerate(zip(contacts, said, strict=True)):
                who = {"case_id": f"case-{number}", "customer_id": one.customer_id}
                opened = CaseOpened(
                    **who, interaction_id=one.interaction_id, kind=Kind.COMPLAINT, channel=Channel.PHONE, origin="crm",
                    received_at=DONE, acknowledge_by=DONE, due_at=DONE, calendar="CO", term={},
                )  # fmt: skip
                at = clock.now() + timedelta(hours=number)
                answer = FeedbackAnswered(answer_id=f"a{number}", request_id="r", **who, at=at, helped=helped)
                await outcomes.put_down(unit, [opened, answer])
            where = {"motive": "billing.refund", "touchpoint": "store"}
            assert await outcomes.helped(unit.connection, where, DONE, DONE + timedelta(days=28)) == (1, 1)
            everywhere = {"motive": "billing.refund"}
            assert await outcomes.helped(unit.connection, everywhere, DONE, DONE + timedelta(days=28)) == (1, 2)
