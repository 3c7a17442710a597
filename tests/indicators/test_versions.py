"""Indicators under any version of the rulebook, as known on any date (G1, G2): a split, a merge, a rename and a retirement."""

import random
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.interactions import Channel, InteractionRecorded, Kind
from libs.events.catalogue.rulebook import RulebookPublished
from services.indicators.api import documents
from services.indicators.domain.crosswalk import carried
from services.indicators.domain.fold import Asked, Fold
from services.indicators.domain.periods import instant, micros
from services.indicators.domain.registry import INDICATORS
from services.indicators.views.crosswalk import NoVersion, moves
from services.indicators.views.lists import contacts, pareto
from services.indicators.views.measures import measure
from services.indicators.views.scope import live
from tests.indicators.conftest import Desk
from tests.indicators.test_measures import answered, holidays, question
from tests.indicators.world import START, World, interleaved

CAUSES = [{"code": "c1", "component": "product", "factor": "f1"}, {"code": "c2", "component": "people"}]
FIRST: dict[str, Any] = {
    "time_zone": "America/Bogota",
    "motives": [{"code": code, "severity": "low"} for code in ("bill", "slow", "cut", "rude", "old")],
    "causes": CAUSES,
}
SECOND: dict[str, Any] = {
    "time_zone": "America/Bogota",
    "motives": [
        {"code": "bill", "becomes": [{"code": "bill_amount", "share": 0.7}, {"code": "bill_date"}]},  # split
        {"code": "bill_amount", "severity": "high"},
        {"code": "bill_date"},
        {"code": "slow", "becomes": ["network"]},  # merged
        {"code": "cut", "becomes": ["network"]},
        {"code": "network", "severity": "high"},
        {"code": "rude", "severity": "low"},
        {"code": "old", "until": (START + timedelta(days=10)).date().isoformat(), "successor": "rude"},  # retired
    ],
    "causes": [
        {"code": "c1", "becomes": [{"code": "c3"}]},  # renamed
        {"code": "c3", "component": "systems", "factor": "f3"},
        CAUSES[1],
    ],
}
UNDER_SECOND = {
    "bill": ("bill_amount", "bill_date"),
    "slow": ("network",),
    "cut": ("network",),
    "rude": ("rude",),
    "old": ("rude",),
}
RECODED = START + timedelta(days=50)


def world(seed: int, cases: int = 90) -> World:
    """Cases decided under version 1. `recode` decides them again under version 2."""
    made = World(seed)
    for version, document in ((1, FIRST), (2, SECOND)):
        at = START - timedelta(days=1) if version == 1 else START + timedelta(days=45)
        made.add(
            "rulebook/main",
            RulebookPublished(version=version, name="t", published_at=at, published_by="t", checksum="0", document=document),
            "main", at, at,
        )  # fmt: skip
    for _ in range(cases):
        at = START + timedelta(seconds=made.random.randrange(40 * 86_400))
        interaction, person = made.id(), f"cus_{made.random.randrange(30)}"
        made.add(
            f"interaction/{interaction}",
            InteractionRecorded(
                interaction_id=interaction, external_id=interaction, origin="s1", kind=Kind.COMPLAINT, channel=Channel.WEB,
                occurred_at=at, customer_id=person,
            ),
            person, at, at, interaction,
        )  # fmt: skip
        decide(made, interaction, person, at, made.random.choice(list(UNDER_SECOND)), 1, 1, at + made.late())
        made.add(
            f"case/{interaction}",
            CaseOpened(
                case_id=interaction, interaction_id=interaction, customer_id=person, kind=Kind.COMPLAINT, channel=Channel.WEB,
                origin="s1", received_at=at, acknowledge_by=at, due_at=at, calendar="CO", term={},
            ),
            person, at, at,
        )  # fmt: skip
    return made


def decide(
    made: World, interaction: str, person: str, at: datetime, motive: str, version: int, revision: int, known: datetime
) -> None:
    cause = made.random.choice(["c1", "c2"] if version == 1 else ["c3", "c2"])
    made.add(
        f"coding/{interaction}",
        InteractionClassified(
            interaction_id=interaction, customer_id=person, occurred_at=at, kind=Kind.COMPLAINT, channel=Channel.WEB, motive=motive,
            cause=cause, component="product", factor="f1", severity="low", procedure="p", confidence=0.8, rulebook_version=version,
            model_version="m", revision=revision,
        ),
        person, known, known,
    )  # fmt: skip


def recode(made: World, share: float = 1.0) -> int:
    """Decide again under version 2; returns where the new events begin."""
    start = len(made.events)
    for event in made.events[:start]:
        if event.type != InteractionClassified.TYPE or made.random.random() >= share:
            continue
        data = event.json()
        motive = made.random.choice(UNDER_SECOND[data["motive"]])
        at = datetime.fromisoformat(data["occurred_at"])
        decide(made, data["interaction_id"], data["customer_id"], at, motive, 2, 2, RECODED)
    return start


async def bytes_of(desk: Desk, **changes: Any) -> bytes:
    """A whole report as it would be sent: every indicator by motive, and the Pareto."""
    report: list[Any] = []
    async with desk.reading() as connection:
        t = await live(connection)
        for code in ("complaints_received", "complainants", "motive_share", "component_balance"):
            answer = await measure(connection, t, INDICATORS[code], question(group_by=("motive",), **changes), holidays)
            report.append(documents.points(answer))
        for by in ("motive", "cause", "severity"):
            bars, total, vital = await pareto(connection, t, question(**changes).whole(), by)
            report.append([total, vital, [documents.bar(one, {}, "en") for one in bars]])
    return orjson.dumps(report)


async def test_the_report_under_the_first_version_is_the_same_bytes_before_and_after_history_is_coded_again_G1(
    desk: Desk,
) -> None:
    made = world(3)
    await desk.project(made.events)
    before, then = await bytes_of(desk, rulebook=1), await bytes_of(desk, as_of=micros(RECODED) - 1)
    start = recode(made)
    await desk.project(made.events[start:])
    assert await bytes_of(desk, rulebook=1) == before
    assert await bytes_of(desk, rulebook=2) != before
    assert await bytes_of(desk) == await bytes_of(desk, rulebook=2), "what is in force now was decided under the second"
    assert await bytes_of(desk, as_of=micros(RECODED) - 1) == then, "as it was known before (G2)"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
async def test_every_case_is_in_one_row_of_the_crosswalk_and_its_rows_add_up_on_both_sides_G1(
    desk: Desk, share: float
) -> None:
    made = world(4)
    recode(made, share)
    await desk.project(interleaved(made.events, random.Random(2)), batches=random.Random(1))
    whole = question().whole()
    async with desk.reading() as connection:
        t = await live(connection)
        for by in ("motive", "cause"):
            found = await moves(connection, t, whole, by, 1, 2)
            assert sum(one.cases for one in found) == 90
            for version, side in ((1, "before"), (2, "after")):
                asked = question(rulebook=version, carry="none", group_by=(by,)).whole()
                answer = await measure(connection, t, INDICATORS["complaints_received"], asked, holidays, minimum=1)
                counted = {
                    point.group[0]: point.measured.numerator for point in answer.points if point.group != ("unknown",)
                }
                sums: dict[str, int] = {}
                for one in found:
                    code = getattr(one, side)
                    if code is not None:
                        sums[code] = sums.get(code, 0) + one.cases
                assert sums == counted, (by, version)
            backward = await moves(connection, t, whole, by, 2, 1)
            assert {(one.after, one.before, one.cases, one.declared) for one in backward} == {
                (one.before, one.after, one.cases, one.declared) for one in found
            }
        found = await moves(connection, t, whole, "motive", 1, 2)
        assert all(one.declared for one in found if one.before is not None and one.after is not None)
        split = {one.after for one in found if one.before == "bill" and one.after is not None}
        merged = {one.before for one in found if one.after == "network"}
        if share == 1:
            assert (split, merged) == ({"bill_amount", "bill_date"}, {"slow", "cut"})
        with pytest.raises(NoVersion):
            await moves(connection, t, whole, "motive", 1, 7)
        with pytest.raises(NoVersion):  # the second was not known yet then
            await moves(connection, t, question(as_of=micros(START)).whole(), "motive", 1, 2)


QUESTIONS: list[dict[str, Any]] = [
    {"rulebook": 2, "group_by": ("motive",)},
    {"rulebook": 2, "group_by": ("cause", "component"), "where": {"motive": ("network", "unknown", "rude")}},
    {"rulebook": 2, "group_by": ("severity", "factor", "procedure")},
    {"rulebook": 2, "group_by": ("motive",), "as_of": micros(START + timedelta(days=46))},
    {"rulebook": 2, "group_by": ("motive",), "carry": "none"},
    {"rulebook": 1, "group_by": ("motive", "cause"), "carry": "both"},
    {"rulebook": 1, "group_by": ("motive",)},
    {"rulebook": 7, "group_by": ("motive",)},
]  # fmt: skip


@pytest.mark.parametrize("code", ["complaints_received", "complainants"])
async def test_what_is_carried_over_by_the_crosswalk_equals_a_plain_fold_G1_G2_G8(desk: Desk, code: str) -> None:
    made = world(5, cases=120)
    recode(made, 0.4)
    for number in range(10):  # decided under the second version alone
        at = START + timedelta(days=20, hours=number)
        interaction = f"late-{number}"
        decide(made, interaction, "cus_1", at, ["network", "bill_date", "rude"][number % 3], 2, 1, RECODED)
        made.add(
            f"case/{interaction}",
            CaseOpened(
                case_id=interaction, interaction_id=interaction, customer_id="cus_1", kind=Kind.CLAIM, channel=Channel.WEB,
                origin="s1", received_at=at, acknowledge_by=at, due_at=at, calendar="CO", term={},
            ),
            "cus_1", at, at,
        )  # fmt: skip
    await desk.project(interleaved(made.events, random.Random(6)), batches=random.Random(7))
    for changes in QUESTIONS:
        query = question(**changes)
        fold = Fold(
            made.facts(), as_of=None if query.as_of is None else instant(query.as_of), rulebook=query.rulebook, carry=query.carry
        )  # fmt: skip
        edges = [instant(edge) for edge in query.periods.edges]
        asked = Asked(
            fold, list(zip(query.periods.labels, edges, edges[1:], strict=False)), query.group_by, dict(query.where)
        )
        wanted = asked.received() if code == "complaints_received" else asked.complainants()
        found = {place: value[0] for place, value in (await answered(desk, code, query)).items()}
        assert found == {place: number for place, number in wanted.items() if number}, changes
        assert wanted, changes


def test_a_merge_and_a_rename_are_carried_over_a_split_is_not_and_a_retirement_from_its_day_on_G1() -> None:
    forward = {(one.dimension, one.code): one for one in carried({1: FIRST, 2: SECOND}, 2)}
    assert {key: one.target for key, one in forward.items()} == {
        ("motive", "bill"): "unknown", ("motive", "slow"): "network", ("motive", "cut"): "network", ("motive", "old"): "rude",
        ("cause", "c1"): "c3",
    }  # fmt: skip
    assert forward["cause", "c1"].component == "systems"
    assert forward["motive", "slow"].severity == "high"
    assert instant(forward["motive", "old"].after) == START + timedelta(days=11, hours=5), (
        "Bogota's midnight after the last day"
    )
    backward = {(one.dimension, one.code): one.target for one in carried({1: FIRST, 2: SECOND}, 1)}
    assert backward["motive", "bill_amount"] == backward["motive", "bill_date"] == "bill"
    assert backward["motive", "network"] == "unknown", "nobody can say which of the two it was"
    assert backward["cause", "c3"] == "c1"
    assert carried({1: FIRST}, 2) == []


async def test_contacts_are_listed_with_the_codes_of_the_version_asked_about_G1(desk: Desk) -> None:
    made = world(8, cases=20)
    await desk.project(made.events)
    async with desk.reading() as connection:
        t = await live(connection)
        found = await contacts(connection, t, question(rulebook=2).whole(), limit=100)
    said = {
        event.json()["interaction_id"]: event.json()["motive"]
        for event in made.events
        if event.type == InteractionClassified.TYPE
    }
    called = {"bill": "unknown", "slow": "network", "cut": "network", "rude": "rude"}
    shown = {row["interaction_id"]: row["motive"] for row in found}
    assert len(shown) == 20
    for interaction, motive in said.items():
        if motive != "old":
            assert shown[interaction] == called[motive]
