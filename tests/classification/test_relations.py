"""Relations that matter and relations at risk, over the public API."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseOpened, FeedbackAnswered
from libs.events.catalogue.interactions import Channel, Effects, Kind
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification import outcomes
from services.classification.app import build as classification
from services.classification.counting import watched_of
from services.classification.domain.chains import Link, chains
from services.classification.domain.relations import Answer, at_risk
from services.classification.domain.slices import parse
from tests.classification.streams import ORIGIN, WEEK, contact, emit
from tests.classification.test_finding_work import API, NOW, world
from tests.classification.test_monitoring import at, bring_in, projections_equal_their_folds, verdicts

LEAST = timedelta(days=30)


async def answered(run: Any, number: int, interaction_id: str, customer_id: str, at_: datetime, helped: str) -> None:
    """A customer's answer about a contact, as feedback publishes it."""
    who = {"case_id": f"case-{number}", "customer_id": customer_id}
    case = CaseOpened(
        **who, interaction_id=interaction_id, kind=Kind.COMPLAINT, channel=Channel.PHONE, origin="crm", received_at=at_,
        acknowledge_by=at_, due_at=at_, calendar="CO", term={},
    )  # fmt: skip
    answer = FeedbackAnswered(answer_id=f"a{number}", request_id="r", **who, at=at_, helped=helped)
    async with run.services["classification"].runtime.store.unit() as unit:
        await outcomes.put_down(unit, [case, answer])


async def test_customers_who_show_that_they_may_leave_are_listed_with_what_shows_it() -> None:
    """R76, R91: who comes back sooner and sooner, who says it got worse; not who comes once, nor who is content by now."""
    async with world() as (run, _):
        day = {number: ORIGIN + timedelta(days=number) for number in range(20)}
        facts = [
            contact(index, day[d], customer="sooner", segment="critical") for index, d in enumerate((1, 9, 14, 16))
        ]
        facts += [contact(10 + index, day[d], customer="steady") for index, d in enumerate((3, 8, 13, 18))]
        facts += [contact(20 + index, day[d], customer="mended") for index, d in enumerate((2, 5, 8))]
        facts += [contact(30 + index, day[d], customer="harmed") for index, d in enumerate((2, 5, 8))]
        facts += [contact(40, day[4], customer="once"), contact(41, day[4], customer="changed its mind")]
        await emit(run, facts)
        await run.settle()
        await answered(run, 1, "i-22", "mended", at(10), "better")
        await answered(run, 2, "i-32", "harmed", at(10), "worse")
        await answered(run, 3, "i-41", "changed its mind", at(6), "worse")
        await answered(run, 4, "i-41", "changed its mind", at(9), "same")
        page = (await run.client.get(f"{API}/relations-at-risk", params={"limit": 2})).json()
        rest = (await run.client.get(f"{API}/relations-at-risk", params={"limit": 2, "cursor": page["next"]})).json()
        listed = {one["customer_id"]: one for one in [*page["items"], *rest["items"]]}
        assert list(listed) == ["sooner", "harmed", "steady"], "most signals first, then the longest chain"
        assert rest["next"] is None
        assert (page["customers"], page["answered"]) == (3, 3)
        assert page["signals"] == {"harmed": 1, "sooner": 1, "returning": 3}
        sooner, returning = listed["sooner"]["signals"]
        assert (sooner["name"], sooner["before"], sooner["now"]) == ("sooner", 8.0, 2.0)
        assert (returning["name"], returning["contacts"], returning["days"]) == ("returning", 4, 15.0)
        assert returning["interaction_ids"] == ["i-0", "i-1", "i-2", "i-3"]
        assert [one["name"] for one in listed["harmed"]["signals"]] == ["harmed", "returning"]
        assert listed["harmed"]["signals"][0]["case_ids"] == ["case-2"]
        assert [one["name"] for one in listed["steady"]["signals"]] == ["returning"]
        assert sooner["sentence"].startswith("Comes back sooner and sooner over 'Refund")
        spanish = await run.client.get(f"{API}/relations-at-risk", headers={"accept-language": "es"})
        assert "empeoró las cosas" in spanish.text
        marked = (await run.client.get(f"{API}/relations-at-risk", params={"segment": "critical"})).json()
        assert [(one["customer_id"], one["segment"]) for one in marked["items"]] == [("sooner", "critical")]
        assert marked["items"][0]["segment_name"] == "critical", "the rulebook has no name for it"
        # Looked at three months later nobody's chain goes on any more.
        later = {"since": at(0).isoformat(), "until": at(110).isoformat()}
        after = (await run.client.get(f"{API}/relations-at-risk", params=later)).json()
        assert [one["customer_id"] for one in after["items"]] == ["harmed"]
        inverted = {"since": at(5).isoformat(), "until": at(1).isoformat()}
        for path in ("relations-at-risk", "chains"):
            assert (await run.client.get(f"{API}/{path}", params=inverted)).status_code == 422
            first = await run.client.get(f"{API}/{path}", params={"until": "0001-01-02T00:00:00Z"})
            assert (first.status_code, first.json()["errors"][0]["pointer"]) == (422, "/query/until")


PAST = st.lists(st.integers(0, 80), min_size=1, max_size=8)


@given(st.dictionaries(st.sampled_from("abc"), PAST), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 80), st.sampled_from(["better", "same", "worse"])), max_size=6))  # fmt: skip
def test_whoever_is_listed_has_evidence_that_can_be_looked_up_whatever_the_order(
    days: dict[str, list[int]], said: list[tuple[str, int, str]]
) -> None:
    """R76: nobody without a contact or an answer behind it, and the same list from the same facts in another order."""
    links = [Link(who, "m", f"{who}{n}", at(day)) for who, own in days.items() for n, day in enumerate(own)]
    answers = [Answer(who, f"case-{n}", at(day), helped) for n, (who, day, helped) in enumerate(said)]
    found = at_risk(chains(links, LEAST, 3), answers, at(81), LEAST)
    assert found == at_risk(chains(links[::-1], LEAST, 3), answers[::-1], at(81), LEAST)
    for one in found:
        assert one.signals
        for signal in one.signals:
            assert signal.interaction_ids or signal.case_ids
            assert signal.at <= at(81)


async def test_relations_marked_as_critical_are_watched_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """R57: three complaints a day of critical customers among forty grow to nine, spread over 24 motives and three contact
    points; asked to watch segments, the monitor finds it there and names it so."""
    monkeypatch.setenv("LAZO_CLASSIFICATION_SERIES", "motive, segment")
    rng = np.random.default_rng(11)
    facts: list[InteractionClassified] = []
    for day in range(145):
        for segment, level in (("homes", 37.0), ("critical", 9.0 if day >= 126 else 3.0)):
            for _ in range(rng.poisson(level * WEEK[day % 7])):
                motive, place = f"m{rng.integers(24)}", f"t{rng.integers(3)}"
                one = contact(len(facts), ORIGIN + timedelta(days=day), motive=motive, touchpoint=place, segment=segment, effects=Effects.HISTORY)  # fmt: skip
                facts.append(one)
    clock = SimulatedClock(at(150))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, facts)
        found = (await run.client.get(f"{API}/findings")).json()["items"]
        assert [item["slice"] for item in found] == [{"segment": "critical"}]
        watched = (await run.client.get(f"{API}/monitors", params={"series": "segment"})).json()["items"]
        assert {item["slice"]["segment"] for item in watched} == {"critical", "homes"}
        own = next(item for item in await verdicts(run) if item["slice"] == {"segment": "critical"})
        assert own["evaluation"]["window_end"] <= at(126 + 21).isoformat()
        await projections_equal_their_folds(run, watched_of(parse("motive, segment")))


def test_the_day_looked_from_is_the_clocks() -> None:
    assert at(20, 12) == NOW
