"""The generated year: the same from the same seed, noisy as people write, and true to what it says of itself."""

from collections import Counter
from datetime import UTC, datetime

import yaml

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification.app import build as classification
from services.demo import cli, house
from services.demo.driver import Operation
from services.demo.people_around import PROCEDURES, work
from services.demo.plan import BASE, PLANTED
from services.demo.year import SOURCE, generate
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake

START = datetime(2025, 11, 24, tzinfo=UTC)


def test_the_same_seed_gives_the_same_year_and_another_seed_another() -> None:
    first, again, other = generate(7, START, 20), generate(7, START, 20), generate(8, START, 20)
    assert first.days == again.days
    assert first.days != other.days


def test_the_year_has_its_size_its_week_and_every_planted_failure_in_its_days() -> None:
    year = generate(7, START)
    contacts = [contact for day in year.days for contact in day]
    assert 27_000 < len(contacts) < 33_000
    assert len({contact.body["external_id"] for contact in contacts}) == len(contacts)
    by_weekday = Counter(contact.at.weekday() for contact in contacts if contact.planted is None)
    assert by_weekday[0] > 1.5 * by_weekday[6]
    for planted in PLANTED:
        days = [(contact.at - START).days for contact in contacts if contact.planted == planted.name]
        assert days, planted.name
        assert planted.first_day <= min(days) <= max(days) <= planted.last_day
    angry = [contact.body["customer"]["id"] for contact in contacts if contact.planted == "angry_customer"]
    assert len(angry) == 40
    assert len(set(angry)) == 1
    outage = [contact.body["customer"]["id"] for contact in contacts if contact.planted == "supplier_outage"]
    assert len(set(outage)) > 50


def test_customers_write_one_motive_in_many_ways_and_two_languages() -> None:
    contacts = [contact for day in generate(7, START, 120).days for contact in day]
    for motive in BASE:
        if motive.rulebook == "unknown":
            continue
        texts = [contact.body["text"] for contact in contacts if contact.motive == motive.rulebook]
        assert len(set(texts)) > 0.8 * len(texts), motive.code
    assert {contact.body["language"] for contact in contacts} == {"es", "en"}


def test_a_case_goes_through_its_steps_in_order_and_the_same_way_each_time() -> None:
    contact = next(contact for contact in generate(7, START, 3).days[0] if contact.case)
    updates = work(7, contact)
    assert updates == work(7, contact)
    assert [update.at for update in updates] == sorted(update.at for update in updates)
    statuses = [update.body["status"] for update in updates]
    assert statuses[0] == "assigned"
    assert statuses[-1] == "closed"


async def test_a_week_played_through_the_real_flow_is_counted_to_the_last_contact() -> None:
    """R01, R02, R51: what the year sends is what the indicators tell; nobody is left behind."""
    year = generate(7, START, 7)
    clock = SimulatedClock(START)
    async with running(intake, classification, feedback, indicators, clock=clock) as site:
        await cli._prepare(site.client, SOURCE)
        operation = Operation(site.client, clock, year, site.settle)
        days: list[int] = []
        await operation.play(0, lambda day, sent: days.append(day))
        await site.settle()
        contacts = [contact for day in year.days for contact in day]
        assert days == list(range(1, 8))
        assert operation.sent == len(contacts)
        answer = await site.client.get("/indicators/v1/indicators/1", params={"granularity": "month"})
        counted = sum(point["numerator"] for point in answer.json()["points"])
        assert counted == sum(contact.case for contact in contacts)
        for name, service in site.services.items():
            status = await service.runtime.status()
            assert (status.behind, status.pending, status.parked) == (0, 0, 0), name


def test_what_the_house_does_names_only_what_the_bundled_rulebook_has() -> None:
    book = yaml.safe_load(cli.RULEBOOK.read_bytes())
    codes = {section: {item["code"] for item in book[section]} for section in ("norms", "procedures", "suppliers", "causes", "motives")}  # fmt: skip
    for change in house.CHANGES:
        section = {"norm": "norms", "procedure": "procedures", "supplier": "suppliers"}.get(change.kind)
        assert change.code is None or change.code in codes[section or ""], change
    assert {code for code, _ in house.SIGNED} <= codes["procedures"]
    assert set(PROCEDURES) <= codes["motives"]
    assert set(PROCEDURES.values()) <= codes["procedures"]
    for planted in PLANTED:
        if planted.verdict != "systemic":
            continue
        tree = house.investigation(planted)["nodes"]
        assert {node["cause"] for node in tree if "cause" in node} <= codes["causes"]
        assert [node["root"] for node in tree].count(True) == 1
    for name, proposal in house.PROPOSALS.items():
        assert proposal["code"] in codes[f"{proposal['subject']}s"], name
    year = [figure for day in range(366) for figure in house.figures(START, day)]
    assert {figure["unit"] for figure in year} == {"contracts"}
    assert len(year) == 7 * 13
