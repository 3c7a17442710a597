"""Findings over the public API: from the first contact to a closed finding, with everything people do in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select

from libs.events.catalogue import decode
from libs.events.catalogue.findings import FindingJoined, FindingOpened, ThresholdTaught
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import desk, tables, teaching
from services.classification.app import build as classification
from services.classification.desk import finding_row
from services.classification.domain.findings import fold as fold_finding
from services.classification.joining import fold_links, fold_particulars
from services.feedback.app import build as feedback
from services.intake.app import build as intake
from tests.classification.streams import ORIGIN, contact, emit
from tests.classification.test_monitoring import at
from tests.classification.test_service import publish

NOW = at(20, 12)
API = "/classification/v1"
TREE: list[dict[str, Any]] = [
    {"node_id": "1", "text": "Customers wait weeks for a refund", "component": "procedures"},
    {
        "node_id": "2",
        "parent": "1",
        "text": "A paper form is asked for",
        "cause": "refund_needs_paper_form",
        "root": True,
    },
]
PLAN = {"description": "No paper", "owner": "ana", "due": "2025-02-20", "expected_ratio": 0.5, "window_days": 28}


async def opened(run: Running, finding_id: str = "f1", where: dict[str, str] | None = None, **more: Any) -> None:
    """A finding as the monitor opens it."""
    where = where or {"motive": "billing.refund", "touchpoint": "store"}
    title = {"es": "Devoluciones en la tienda", "en": "Refunds at the store"}
    given: dict[str, Any] = {"since": at(2), "verdict_id": f"v-{finding_id}", "title": title} | more
    async with run.services["classification"].runtime.store.unit() as unit:
        data = FindingOpened(finding_id=finding_id, slice=where, opened_at=unit.now, **given)
        await desk.open_finding(unit, data, None)


@asynccontextmanager
async def world() -> AsyncIterator[tuple[Running, SimulatedClock]]:
    clock = SimulatedClock(NOW)
    async with running(classification, clock=clock) as run:
        await publish(run)
        yield run, clock


async def do(
    run: Running, command: str, body: dict[str, Any] | None = None, finding: str = "f1", **headers: str
) -> Any:
    return await run.client.post(f"{API}/findings/{finding}/{command}", json=body or {}, headers=headers)


async def equal_to_their_folds(run: Running) -> None:
    """Findings, links, particulars and lessons are what their events alone make of them."""
    store = run.services["classification"].runtime.store
    async with store.reading() as connection:
        events = store.tables.events
        rows = (await connection.execute(select(events).order_by(events.c.position))).all()
        findings = {row.finding_id: dict(row._mapping) for row in await connection.execute(select(tables.findings))}
        links = {(row.finding_id, row.interaction_id) for row in await connection.execute(select(tables.links))}
        lessons = {row.finding_id: dict(row._mapping) for row in await connection.execute(select(tables.thresholds))}
        particulars = {row.interaction_id: dict(row._mapping) for row in await connection.execute(select(tables.particulars))}  # fmt: skip
    by_stream: dict[str, list[Any]] = {}
    async with store.unit() as unit:
        for stream in {row.stream for row in rows}:
            by_stream[stream] = [decode(event) for event in await unit.stream(stream)]
    told = [data for facts in by_stream.values() for data in facts]
    assert links == fold_links([data for data in told if isinstance(data, FindingJoined)])
    assert lessons == teaching.fold([data for data in told if isinstance(data, ThresholdTaught)])
    for finding_id, row in findings.items():
        state = fold_finding(by_stream[f"finding/{finding_id}"])
        assert state is not None
        assert row == finding_row(state)
    coded = [data for stream, facts in by_stream.items() if stream.startswith("classification/") for data in facts]
    assert particulars == fold_particulars(coded)


async def test_a_finding_is_investigated_planned_done_and_its_rules_proposed_to_change_R11_R23_R94_R95() -> None:
    """R11, R23, R94, R95: the causes as data; a norm proposed to change; an action with an owner, a date and a test."""
    async with world() as (run, clock):
        await opened(run)
        assert (await do(run, "investigate", {"nodes": TREE})).status_code == 409
        await do(run, "confirm", {"by": "ana", "nature": "procedure"})
        found = await do(run, "investigate", {"nodes": TREE, "conclusion": "The form adds nothing"})
        assert found.json()["status"] == "investigated"
        assert [node["text"] for node in found.json()["investigation"]["nodes"]] == [node["text"] for node in TREE]
        again = await do(run, "investigate", {"nodes": TREE, "conclusion": "The form adds nothing"})
        assert again.json()["version"] == found.json()["version"]
        proposal = {
            "subject": "norm",
            "code": "n-users",
            "text": "Let refunds be asked for without a form",
            "owner": "legal",
        }
        made = (await do(run, "proposals", proposal)).json()["proposals"]
        assert [(one["state"], one["code"]) for one in made] == [("open", "n-users")]
        assert (await do(run, "proposals", proposal | {"code": "gone"})).json()["errors"][0]["pointer"] == "/code"
        path = f"proposals/{made[0]['proposal_id']}/settle"
        assert (await do(run, path, {"outcome": "rejected"})).json()["errors"][0]["code"] == "reason-needed"
        assert (await do(run, path, {"outcome": "accepted"})).json()["proposals"][0]["state"] == "accepted"
        assert (await do(run, path, {"outcome": "rejected", "reason": "no"})).status_code == 409
        assert (await do(run, path, {"outcome": "enacted", "rulebook_version": 2})).json()["proposals"][0][
            "state"
        ] == "enacted"
        assert (await do(run, "plan-action", PLAN)).json()["status"] == "action_planned"
        assert (await do(run, "cancel-action", {"reason": "too dear"})).json()["status"] == "investigated"
        assert (await do(run, "plan-action", PLAN | {"metric": "rate"})).json()["actions"][-1]["metric"] == "rate"
        clock.advance(clock.now() + timedelta(hours=1))
        assert (await do(run, "implement-action")).json()["status"] == "implemented"
        await equal_to_their_folds(run)


async def test_a_success_test_written_after_the_fact_is_refused_G4() -> None:
    """G4"""
    async with world() as (run, clock):
        await opened(run)
        await do(run, "confirm")
        early = await do(run, "implement-action", {"implemented_at": NOW.isoformat()})
        assert (early.status_code, early.json()["errors"][0]["code"]) == (409, "no-action")
        clock.advance(NOW + timedelta(hours=1))
        await do(run, "plan-action", PLAN)
        before = await do(run, "implement-action", {"implemented_at": NOW.isoformat()})
        assert (before.status_code, before.json()["errors"][0]["code"]) == (422, "test-after-the-fact")
        assert (await do(run, "implement-action")).status_code == 200
        easier = await do(run, "plan-action", PLAN | {"expected_ratio": 0.95})
        assert (easier.status_code, easier.json()["errors"][0]["code"]) == (409, "already-implemented")
        elsewhere = PLAN | {"slice": {"motive": "care.rude"}}
        await opened(run, "f2", {"motive": "care.rude", "touchpoint": "store"})
        await do(run, "confirm", finding="f2")
        refused = await do(run, "plan-action", elsewhere, "f2")
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/slice")


async def test_of_two_people_who_confirm_at_once_one_wins_and_the_other_is_told() -> None:
    """Said otherwise: 409 that names the first; said the same: the same answer; an old version: 412."""
    async with world() as (run, _):
        await opened(run)
        answers = await asyncio.gather(
            do(run, "confirm", {"by": "ana", "nature": "procedure"}),
            do(run, "confirm", {"by": "luis", "nature": "norm"}),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        lost = next(answer for answer in answers if answer.status_code == 409).json()
        won = next(answer for answer in answers if answer.status_code == 200).json()
        assert lost["errors"][0]["code"] == "confirmed-otherwise"
        assert won["confirmed_by"] in lost["detail"]
        same = await do(run, "confirm", {"by": "eva", "nature": won["nature"]})
        assert (same.status_code, same.json()["version"]) == (200, won["version"])
        assert (await do(run, "dismiss", {"reason": "no"}, **{"if-match": '"1"'})).status_code == 412
        wrong = await do(run, "correct", {"by": "eva", "nature": "human"})
        assert wrong.json()["errors"][0]["code"] == "reason-needed"
        right = await do(run, "correct", {"by": "eva", "nature": "human", "reason": "one agent alone"})
        assert right.json()["nature"] == "human"
        once = {"idempotency-key": "k"}
        first = await do(run, "assign", {"owner": "ana"}, **once)
        await do(run, "assign", {"owner": "luis"})
        assert (await do(run, "assign", {"owner": "ana"}, **once)).json() == first.json()


async def test_what_was_dismissed_unconfirmed_and_reopened_is_still_to_be_confirmed_and_the_conflict_names_somebody() -> (
    None
):
    """Nobody had confirmed it, and yet whoever did was told that "" had confirmed it otherwise."""
    async with world() as (run, _):
        await opened(run)
        await do(run, "dismiss", {"by": "ana", "reason": "no"})
        await do(run, "reopen", {"by": "ana", "reason": "it was real"})
        first = await do(run, "confirm", {"by": "luis", "nature": "norm"})
        assert (first.status_code, first.json()["confirmed_by"], first.json()["nature"]) == (200, "luis", "norm")
        assert first.json()["status"] == "confirmed"
        second = await do(run, "confirm", {"by": "eva", "nature": "human"})
        assert (second.status_code, "luis" in second.json()["detail"]) == (409, True)
        await equal_to_their_folds(run)


WRONG: list[tuple[list[dict[str, Any]], str, str, str]] = [
        ([], "five_whys", "/nodes", "tree-empty"),
        ([{"node_id": "1", "text": "a", "parent": "9"}], "five_whys", "/nodes/0/parent", "tree-parent"),
        ([{"node_id": "1", "text": "a"}, {"node_id": "1", "text": "b"}], "five_whys", "/nodes/1/node_id", "tree-twice"),
        ([{"node_id": "1", "text": "a", "parent": "2"}, {"node_id": "2", "text": "b", "parent": "1"}], "five_whys", "/nodes/0/parent", "tree-cycle"),
        ([{"node_id": "1", "text": "a", "component": "weather"}], "five_whys", "/nodes/0/component", "tree-component"),
        ([{"node_id": "1", "text": "a"}], "ishikawa", "/nodes/0/component", "tree-branch"),
        ([{"node_id": "1", "text": "a", "cause": "gone"}], "five_whys", "/nodes/0/cause", "unknown-code"),
        ([{"node_id": "1", "text": "a"}], "guessing", "/method", "unknown-method"),
]  # fmt: skip


async def test_what_is_no_tree_of_causes_is_refused_at_its_place() -> None:
    async with world() as (run, _):
        await opened(run)
        await do(run, "confirm")
        for nodes, method, pointer, code in WRONG:
            answer = await do(run, "investigate", {"nodes": nodes, "method": method})
            error = answer.json()["errors"][0]
            assert (answer.status_code, error["pointer"], error["code"]) == (422, pointer, code)


async def test_contacts_join_their_finding_when_it_opens_and_as_they_come_and_leave_when_coded_otherwise() -> None:
    async with world() as (run, clock):
        days = [ORIGIN + timedelta(days=index) for index in range(10)]
        await emit(run, [contact(index, day) for index, day in enumerate(days)])
        await run.settle()
        await opened(run)
        await run.settle()
        behind = (await run.client.get(f"{API}/findings/f1/interactions")).json()["items"]
        assert [item["interaction_id"] for item in behind] == [f"i-{index}" for index in range(9, 1, -1)]  # since day 2
        await emit(
            run,
            [
                contact(20, days[9]),
                contact(21, days[9], motive="care.rude"),
                contact(9, days[9], motive="care.wait", revision=2),
            ],
        )
        await run.settle()
        page = (await run.client.get(f"{API}/findings/f1/interactions", params={"limit": 3})).json()
        assert [item["interaction_id"] for item in page["items"]] == ["i-20", "i-8", "i-7"]
        rest = (
            await run.client.get(f"{API}/findings/f1/interactions", params={"limit": 9, "cursor": page["next"]})
        ).json()
        assert len(rest["items"]) == 5
        await do(run, "confirm")
        parts = [{"motive": "billing.refund", "touchpoint": "store", "location": "pasto"}]
        await emit(run, [contact(30, days[9], location="pasto")])
        await run.settle()
        split = (await do(run, "split", {"parts": parts})).json()
        await run.settle()
        part = next(iter(split["parts"]))
        assert [
            item["interaction_id"]
            for item in (await run.client.get(f"{API}/findings/{part}/interactions")).json()["items"]
        ] == ["i-30"]
        assert "i-30" not in (await run.client.get(f"{API}/findings/f1/interactions")).text
        assert (await do(run, "split", {"parts": [{"motive": "x"}]})).status_code == 422
        joined = await do(run, "group", {"into": "f1"}, finding=part)
        assert joined.json()["part_of"] == "f1"
        assert (await do(run, "group", {"into": part})).json()["errors"][0]["code"] == "group-nested"
        clock.advance(clock.now() + timedelta(minutes=1))
        await equal_to_their_folds(run)


async def test_a_dismissal_raises_the_slices_threshold_visibly_and_reopening_takes_it_back() -> None:
    async with world() as (run, _):
        await opened(run)
        await do(run, "dismiss", {"by": "ana", "reason": "a campaign"})
        lessons = (await run.client.get(f"{API}/thresholds")).json()["items"]
        assert [(one["finding_id"], one["factor"], one["by"], one["withdrawn"]) for one in lessons] == [
            ("f1", 0.1, "ana", False)
        ]
        store = run.services["classification"].runtime.store
        where = {"motive": "billing.refund", "touchpoint": "store"}
        async with store.reading() as connection:
            assert (await teaching.lesson_of(connection, where)) == teaching.Lesson(0.1, ("f1",))
        assert (await do(run, "reopen")).json()["errors"][0]["code"] == "reason-needed"
        assert (await do(run, "reopen", {"reason": "it was real"})).json()["status"] == "confirmed"
        async with store.reading() as connection:
            assert (await teaching.lesson_of(connection, where)) == teaching.Lesson()
        await do(run, "dismiss", {"reason": "still a campaign"})
        taken = await run.client.post(f"{API}/thresholds/f1/withdraw", json={"by": "eva", "reason": "trying"})
        assert taken.json()["withdrawn"]
        assert (await run.client.post(f"{API}/thresholds/zz/withdraw", json={})).status_code == 404
        await equal_to_their_folds(run)


async def test_a_finding_nobody_acts_on_is_told_to_higher_levels_by_size_harm_and_age_R05_R34() -> None:
    """R05, R34, R94: what it has come to decides who is told, and so does that nobody acts."""
    clock = SimulatedClock(NOW)
    async with running(classification, clock=clock) as run:
        await publish(run)

        async def levels(finding: str) -> Any:
            return (await run.client.get(f"{API}/findings/{finding}")).json()["levels"]

        await emit(run, [contact(index, ORIGIN + timedelta(days=5)) for index in range(55)])
        await emit(run, [contact(100 + index, ORIGIN + timedelta(days=5), motive="care.rude") for index in range(5)])
        await run.settle()
        await opened(run)
        await opened(run, "f2", {"motive": "care.rude", "touchpoint": "store"})
        await run.settle()
        assert (await levels("f1"), await levels("f2")) == (["direction"], [])  # 55 customers; 5
        for _ in range(8):
            clock.advance(clock.now() + timedelta(days=1))
            await run.settle()
        # Nobody did anything for a week: the area is told, where nobody above it was.
        assert (await levels("f1"), await levels("f2")) == (["direction"], ["area"])
        await emit(run, [contact(200 + index, ORIGIN + timedelta(days=6), motive="care.rude") for index in range(50)])
        await run.settle()
        clock.advance(clock.now() + timedelta(days=1))
        await run.settle()
        assert await levels("f2") == ["area", "direction"]
        await equal_to_their_folds(run)


async def test_open_cases_of_a_systemic_cause_are_told_so_whichever_comes_first() -> None:
    """G12 in its joining part, DISP 1.3.3R: the case that was open, the one opened later, and not the one that was settled."""
    clock = SimulatedClock(NOW)
    async with running(intake, classification, feedback, clock=clock) as run:
        await run.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        await publish(run)

        def case(number: int) -> dict[str, Any]:
            return {
                "source": "crm", "external_id": f"c-{number}", "occurred_at": clock.now().isoformat(), "kind": "claim",
                "channel": "phone", "touchpoint": "store", "customer": {"id": f"k-{number}"}, "case_ref": f"R-{number}",
                "text": "La devolución de mi dinero se demora, llevo semanas esperando el reembolso",
            }  # fmt: skip

        await run.client.post("/intake/v1/interactions", json=[case(1), case(2)])
        await run.settle()
        done = {"source": "crm", "external_id": "u-2", "case_ref": "R-2", "status": "resolved", "outcome": "upheld"}
        await run.client.post("/intake/v1/case-updates", json=[done | {"occurred_at": clock.now().isoformat()}])
        await run.settle()
        await opened(run, since=NOW - timedelta(days=1))
        await run.settle()
        await run.client.post("/intake/v1/interactions", json=[case(3)])
        await run.settle()
        cases = (await run.client.get("/feedback/v1/cases")).json()["items"]
        assert {item["case_ref"]: item["findings"] for item in cases} == {"R-1": ["f1"], "R-2": [], "R-3": ["f1"]}
        one = next(item for item in cases if item["case_ref"] == "R-1")
        history = (await run.client.get(f"/feedback/v1/cases/{one['case_id']}")).json()["history"]
        assert [event["type"] for event in history].count("lazo.case.linked.v1") == 1
        behind = (await run.client.get(f"{API}/findings/f1/interactions")).json()["items"]
        assert {item["outcome"] for item in behind} == {None, "upheld"}
        await equal_to_their_folds(run)


async def test_the_new_finding_is_shown_what_was_done_before_and_whether_it_worked_R96() -> None:
    async with world() as (run, clock):
        await opened(run, "march")
        await do(run, "confirm", {"nature": "procedure"}, "march")
        await do(run, "close", {"reason": "settled"}, "march")
        await opened(run, "rude", {"motive": "care.rude", "touchpoint": "call_centre"})
        clock.advance(clock.now() + timedelta(days=40))
        await opened(run, "now", {"motive": "billing.refund", "location": "pasto"}, nature="procedure")
        found = (await run.client.get(f"{API}/findings/now/precedents")).json()["items"]
        assert [item["finding_id"] for item in found] == ["march"]
        assert {"motive", "nature"} <= set(found[0]["same"])
        assert found[0]["worked"] is None
        assert (await run.client.get(f"{API}/findings/none/precedents")).status_code == 404


async def test_one_customer_who_comes_back_over_one_problem_is_one_chain_R91() -> None:
    """R91, R76: who, over what, how often and by which doors; and what share of all contacts that is."""
    async with world() as (run, _):
        start = ORIGIN
        found = [
            contact(index, start + timedelta(days=index * 3), customer="k", touchpoint=place)
            for index, place in enumerate(["store", "store", "call_centre", "chat"])
        ]
        found += [contact(10 + index, start + timedelta(days=index), customer=f"o{index}") for index in range(5)]
        found += [contact(20, start, customer="o1", motive="care.rude")]
        found += [
            contact(30 + index, start + timedelta(days=index), customer="u", motive="unknown") for index in range(4)
        ]
        await emit(run, found)
        await run.settle()
        page = (await run.client.get(f"{API}/chains")).json()
        assert (page["chains"], page["customers"], page["contacts_in_chains"], page["longest"]) == (1, 1, 4, 4)
        assert page["items"][0]["days"] == 9.0
        assert page["items"][0]["touchpoints"] == ["store", "call_centre", "chat"]
        assert page["items"][0]["interaction_ids"] == ["i-0", "i-1", "i-2", "i-3"]
        assert page["median_days"] == 9.0
        none = (await run.client.get(f"{API}/chains", params={"least": 5})).json()
        assert (none["items"], none["chains"], none["median_days"]) == ([], 0, None)


async def test_a_single_complaint_is_judged_on_request_with_what_would_decide_G3() -> None:
    """G3, R12: of a single complaint too, not enough evidence is an answer, with what would decide."""
    async with world() as (run, _):
        await emit(
            run,
            [
                contact(1, ORIGIN + timedelta(days=15), cause="refund_needs_paper_form"),
                contact(2, date(2025, 1, 20), motive="care.rude", effects=Effects.LIVE),
            ],
        )
        await run.settle()
        path = f"{API}/interactions/i-1/verdict"
        young = (await run.client.get(path)).json()
        assert (young["verdict"], young["because"], young["nature"]) == ("not_enough_evidence", "young", "procedure")
        await opened(run)
        await run.settle()
        found = (await run.client.get(path, headers={"accept-language": "es"})).json()
        assert (found["verdict"], found["because"], found["finding_id"]) == ("systemic", "finding", "f1")
        assert "Otros clientes" in found["sentence"]
        assert (await run.client.get(f"{API}/interactions/none/verdict")).status_code == 404


def test_the_day_of_the_tests_is_after_the_contacts() -> None:
    assert datetime.combine(ORIGIN, datetime.min.time(), NOW.tzinfo) < NOW
