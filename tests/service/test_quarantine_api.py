"""The same quarantine calls in every service that consumes (I9, G7)."""

from libs.events.catalogue.topics import INTERACTIONS
from libs.events.log import Outgoing
from libs.service.testing import Running, running
from services.feedback.app import build


async def _stranger(site: Running) -> None:
    """A record that is no event, parked by feedback."""
    publisher = site.environment.log.publisher("stranger")
    await publisher.start()
    await publisher.publish([Outgoing(INTERACTIONS, 0, b"someone", b"\xff not an event", (), 1_700_000_000_000)])
    await publisher.close()
    while (await site.client.get("/feedback/v1/status")).json()["parked"] == 0:  # the test's own time limit ends it
        await site.settle()


async def test_what_is_no_event_is_listed_kept_on_replay_and_given_up_with_a_reason() -> None:
    async with running(build) as site:
        await _stranger(site)
        [item] = (await site.client.get("/feedback/v1/quarantine")).json()["items"]
        assert (item["topic"], item["partition"], item["offset"]) == (INTERACTIONS, 0, 0)
        assert "not an event" not in str(item)
        again = (await site.client.post(f"/feedback/v1/quarantine/{item['id']}/replay")).json()
        assert again["state"] == "parked"
        assert again["error"]

        assert (await site.client.delete(f"/feedback/v1/quarantine/{item['id']}")).status_code == 422
        gone = await site.client.delete(f"/feedback/v1/quarantine/{item['id']}", params={"reason": "a stranger's"})
        assert gone.json()["state"] == "discarded"
        assert (await site.client.get("/feedback/v1/status")).json()["parked"] == 0
        assert (await site.client.post(f"/feedback/v1/quarantine/{item['id']}/replay")).status_code == 404


async def test_consumers_that_the_breaker_stopped_go_on_when_they_are_told_to() -> None:
    async with running(build) as site:
        consumer = next(one for one in site.services["feedback"].runtime.consumers if one.spec.group == "feedback")
        assert (await site.client.post("/feedback/v1/consumers/resume")).json() == {"resumed": []}
        consumer.pace.stopped = True
        assert (await site.client.post("/feedback/v1/consumers/resume")).json() == {"resumed": ["feedback"]}
        assert not consumer.pace.stopped
        reader = await site.key_for("feedback:read")
        assert (await site.client.post("/feedback/v1/consumers/resume", headers=reader)).status_code == 403


async def test_each_batch_is_measured() -> None:
    async with running(build) as site:
        await _stranger(site)
        text = (await site.client.get("/metrics")).text
    counted = [line for line in text.splitlines() if line.startswith("lazo_batch_seconds_count")]
    assert len(counted) == 1, counted
    assert float(counted[0].rpartition(" ")[2]) == 1
