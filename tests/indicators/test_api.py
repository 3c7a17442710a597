"""`/indicators/v1` over HTTP: answers, what is behind them, and what happens to bad questions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from bench import m7
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.indicators.app import build
from tests.indicators.world import START, World, consumed, make, publish

BASE = "/indicators/v1"
ENGLISH, SPANISH = {"Accept-Language": "en"}, {"Accept-Language": "es"}
CONTACTS = 240
RANGE = {"from": "2026-01-05", "to": "2026-03-01", "tz": "UTC"}


@dataclass
class Site:
    """The service over a log with a world in it."""

    running: Running
    world: World
    client: httpx.AsyncClient


pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def opened() -> AsyncIterator[Site]:
    clock = SimulatedClock(START + timedelta(days=50))
    async with running(build, clock=clock) as one:
        people = await one.environment.vault.resolve([{"email": f"p{number}@example.org"} for number in range(12)])
        keys = await one.environment.vault.keys(people)
        world = make(4, contacts=CONTACTS, keys=keys)
        await publish(one.environment.log, world.events)
        await consumed(one.services["indicators"])
        yield Site(one, world, one.client)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site() -> AsyncIterator[Site]:
    """One for all questions: they change nothing."""
    async with opened() as found:
        yield found


async def test_an_indicator_answers_in_the_shape_of_the_contract_R30(site: Site) -> None:
    answer = await site.client.get(f"{BASE}/indicators/complaints_received", params={**RANGE, "granularity": "week"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"indicator", "points"}
    assert body["indicator"]["code"] == "complaints_received"
    assert body["indicator"]["version"] == 1
    for point in body["points"]:
        assert set(point) == {"period", "group", "value", "numerator", "denominator", "low", "high"}
    opened = [event for event in site.world.events if event.type == "lazo.case.opened.v1"]
    assert sum(point["numerator"] for point in body["points"]) == len(opened)
    assert body["points"][0]["period"] == "2026-01-05"


async def test_the_chart_that_the_bench_waits_for_is_one_that_the_service_draws(site: Site) -> None:
    """M7 once asked with a parameter that is not there, and waited ten minutes for numbers that could not come."""
    answer = await site.client.get(m7.CHART)
    assert answer.status_code == 200, answer.text
    assert m7.has_numbers(answer.json())


async def test_lists_over_many_years_are_not_refused_for_periods_they_do_not_have(site: Site) -> None:
    years = {"from": "1990-01-01", "to": "2030-12-31"}
    for path in ("pareto", "touchpoints", "interactions", "export", "charts/pareto"):
        answer = await site.client.get(f"{BASE}/{path}", params=years)
        assert answer.status_code == 200, answer.text
    assert (await site.client.get(f"{BASE}/pareto", params=years)).json()["cases"] > 0
    assert (await site.client.get(f"{BASE}/indicators/csat", params=years)).status_code == 422, "days of forty years"


async def test_the_catalogue_says_what_every_number_is_in_both_languages(site: Site) -> None:
    for language, name in (("es", "Quejas recibidas"), ("en", "Complaints received")):
        body = (await site.client.get(f"{BASE}/indicators", headers={"Accept-Language": language})).json()
        assert body["items"][0]["name"] == name
        assert {item["number"] for item in body["items"]} == {1, 3, 4, 6, 10, 12, 14, 30, 37}
        for item in body["items"]:
            assert item["formula"]
            assert item["counted"]
            assert item["version"] >= 1


async def test_groups_filters_and_several_values_of_one_filter(site: Site) -> None:
    params: list[tuple[str, Any]] = [
        *RANGE.items(),
        ("granularity", "month"),
        ("group_by", "channel,kind"),
        ("where[channel]", "phone"),
        ("where[channel]", "web"),
    ]
    body = (await site.client.get(f"{BASE}/indicators/complaints_received", params=params)).json()
    assert {point["group"]["channel"] for point in body["points"]} == {"phone", "web"}
    assert all(set(point["group"]) == {"channel", "kind"} for point in body["points"])


async def test_every_number_opens_to_its_events_page_by_page_G8(site: Site) -> None:
    params = {**RANGE, "granularity": "month", "where[channel]": "phone"}
    body = (await site.client.get(f"{BASE}/indicators/complaints_received", params=params)).json()
    for point in body["points"]:
        units, cursor = [], None
        while True:
            query = {**params, "period": point["period"], "limit": "11"} | ({"cursor": cursor} if cursor else {})
            answer = await site.client.get(f"{BASE}/indicators/complaints_received/events", params=query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            units += [item["unit"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert len(units) == len(set(units)) == point["numerator"]


async def test_what_was_known_on_a_day_is_asked_by_as_of_G2(site: Site) -> None:
    total = []
    for as_of in ("2026-01-12", "2026-01-25", "2026-02-24"):
        params = {**RANGE, "granularity": "month", "as_of": as_of}
        body = (await site.client.get(f"{BASE}/indicators/complaints_received", params=params)).json()
        total.append(sum(point["numerator"] for point in body["points"]))
    assert total == sorted(total)
    assert total[0] < total[-1]


HOSTILE = [
    ({"from": "yesterday"}, "/query/from"),
    ({"from": "2026-01-05T00:00:00"}, "/query/from"),
    ({"from": "1800-01-01"}, "/query/from"),
    ({"from": "9999-12-31"}, "/query/from"),
    ({"from": "0001-01-01T00:00:00+14:00"}, "/query/from"),
    ({"from": "2026-01-05", "to": "2025-01-01"}, "/query/to"),
    ({"granularity": "fortnight"}, "/query/granularity"),
    ({"granularity": "hour", "from": "2020-01-01"}, "/query/granularity"),
    ({"group_by": "password"}, "/query/group_by"),
    ({"group_by": "kind,channel,motive,cause"}, "/query/group_by"),
    ({"where[colour]": "red"}, "/query/where[colour]"),
    ({"where[kind]": "x" * 300}, "/query/where[kind]"),
    ({"where[kind]": "a\0b"}, "/query/where[kind]"),
    ({"tz": "Mars/Olympus"}, "/query/tz"),
    ({"tz": "../../etc/passwd"}, "/query/tz"),
    ({"rulebook": "two"}, "/query/rulebook"),
    ({"rulebook": "9" * 30}, "/query/rulebook"),
    ({"as_of": "2026-13-01"}, "/query/as_of"),
    ({"form": "2026-01-05"}, "/query/form"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "pointer"), HOSTILE)
async def test_a_bad_parameter_is_named_and_changes_no_number(site: Site, params: dict[str, str], pointer: str) -> None:
    path = f"{BASE}/indicators/complaints_received"
    answer = await site.client.get(path, params=params, headers=ENGLISH)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    spanish = (await site.client.get(path, params=params, headers=SPANISH)).json()
    assert spanish["detail"] not in {"", answer.json()["detail"]}
    assert spanish["errors"][0]["detail"] == spanish["detail"]


async def test_bad_requests_elsewhere_are_problems_too(site: Site) -> None:
    for path, status in (
        ("indicators/nothing", 404), ("customers/cus_nobody/timeline", 404), ("cases/none/timeline", 404), ("charts/nothing", 404),
        ("charts/csat.exe", 404), ("pareto?by=colour", 422), ("export?format=exe", 422), ("interactions?where[verdict]=x", 422),
        ("indicators/csat/events?period=1999-01-01", 422), ("indicators/csat/events?cursor=abc", 400),
        ("indicators/csat/events?part=half", 422), ("interactions?limit=100000", 422), ("customers/x/timeline?days=3", 422),
        ("indicators/csat?from=2026-01-01&from=2026-01-02", 422), ("charts/csat?mark=began:soon", 422), ("charts/csat?mark=x:2026-01-01", 422),
    ):  # fmt: skip
        answer = await site.client.get(f"{BASE}/{path}", headers=ENGLISH)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json", path
        spanish = (await site.client.get(f"{BASE}/{path}", headers=SPANISH)).json()
        assert spanish["detail"] not in {"", answer.json()["detail"]}, path


async def test_without_a_key_nothing_is_read_and_words_need_more_than_a_reading_key(site: Site) -> None:
    paths = [
        "indicators",
        "indicators/csat",
        "interactions",
        "pareto",
        "touchpoints",
        "control-chart",
        "charts/pareto",
        "export",
        "findings",
        "quarantine",
    ]
    for path in paths:
        assert (await site.client.get(f"{BASE}/{path}", headers={"Authorization": ""})).status_code == 401, path
    other = await site.running.key_for("intake:read")
    assert (await site.client.get(f"{BASE}/indicators", headers=other)).status_code == 403

    reader = await site.running.key_for("indicators:read")
    plain = (await site.client.get(f"{BASE}/interactions", params=RANGE, headers=reader)).json()["items"]
    full = (await site.client.get(f"{BASE}/interactions", params=RANGE)).json()["items"]
    assert plain
    assert all("text" not in item for item in plain)
    assert any("factura" in (item["text"] or "") or "bill" in (item["text"] or "") for item in full)


async def test_contacts_come_newest_first_through_all_pages(site: Site) -> None:
    seen, cursor = [], None
    while True:
        params = {**RANGE, "limit": "7"} | ({"cursor": cursor} if cursor else {})
        body = (await site.client.get(f"{BASE}/interactions", params=params)).json()
        seen += body["items"]
        cursor = body["next"]
        if cursor is None:
            break
    assert len({item["interaction_id"] for item in seen}) == len(seen) == CONTACTS
    assert [item["occurred_at"] for item in seen] == sorted((item["occurred_at"] for item in seen), reverse=True)


async def test_a_customers_and_a_cases_history_are_told_in_order_R01_R49(site: Site) -> None:
    case = next(event for event in site.world.events if event.type == "lazo.case.closed.v1").json()
    for path in (f"customers/{case['customer_id']}/timeline", f"cases/{case['case_id']}/timeline"):
        body = (await site.client.get(f"{BASE}/{path}", params={"limit": 500})).json()
        assert [item["at"] for item in body["items"]] == sorted(item["at"] for item in body["items"])
        kinds = {item["what"] for item in body["items"]}
        assert {"interaction.recorded", "interaction.classified", "case.opened", "case.closed"} <= kinds
        assert any(item.get("words", {}).get("text") for item in body["items"])


async def test_an_erased_persons_words_are_gone_and_the_numbers_stay_G5() -> None:
    async with opened() as site:
        await _erase_and_look(site)


async def _erase_and_look(site: Site) -> None:
    person = next(event for event in site.world.events if event.type == "lazo.interaction.recorded.v1").json()[
        "customer_id"
    ]
    before = (await site.client.get(f"{BASE}/indicators/complaints_received", params=RANGE)).json()
    vault = site.running.environment.vault
    await vault.erase(person)
    body = (await site.client.get(f"{BASE}/customers/{person}/timeline", params={"limit": 500})).json()
    words = [text for item in body["items"] for text in item.get("words", {}).values()]
    assert words
    assert set(words) == {None}
    assert (await site.client.get(f"{BASE}/indicators/complaints_received", params=RANGE)).json() == before


async def test_pareto_ranks_and_says_how_few_hold_most_R04_R08_R69(site: Site) -> None:
    """Whoever decides where money goes sees which few causes hold most cases, and how many people each one is (R69)."""
    body = (await site.client.get(f"{BASE}/pareto", params={**RANGE, "by": "cause"})).json()
    cases = [item["cases"] for item in body["items"]]
    assert cases == sorted(cases, reverse=True)
    assert sum(cases) == body["cases"]
    held = body["items"][body["hold_80_percent"] - 1]["cumulative"]
    assert held >= 80
    assert body["items"][0]["name"].startswith("cause ")
    assert all(item["customers"] <= item["cases"] and item["first"] <= item["last"] for item in body["items"])


async def test_the_balance_among_the_six_components_adds_up_to_all_cases_R68(site: Site) -> None:
    body = (await site.client.get(f"{BASE}/pareto", params={**RANGE, "by": "component"})).json()
    names = {item["value"] for item in body["items"]}
    assert names <= {"product", "procedures", "facilities", "systems_and_equipment", "information", "people", "unknown"}
    assert len(names) > 1
    assert sum(item["cases"] for item in body["items"]) == body["cases"]
    assert body["items"][-1]["cumulative"] == pytest.approx(100)
    for item in body["items"]:
        assert item["share"] == pytest.approx(100 * item["cases"] / body["cases"], abs=1e-3)


async def test_contact_points_show_problems_and_satisfaction_R28(site: Site) -> None:
    items = (await site.client.get(f"{BASE}/touchpoints", params=RANGE)).json()["items"]
    assert {item["touchpoint"] for item in items} == {"branch", "shop", "unknown"}
    assert sum(item["contacts"] for item in items) == CONTACTS
    assert any(item["compliments"] for item in items)
    assert any(item["mean_score"] is not None for item in items)


async def test_charts_are_specifications_svg_and_png(site: Site) -> None:
    for name in ("complaints_received", "pareto", "motive_share", "csat", "resolution_time"):
        spec = (
            await site.client.get(f"{BASE}/charts/{name}", params={**RANGE, "lang": "es", "granularity": "month"})
        ).json()
        assert spec["data"]["values"], name
        svg = await site.client.get(
            f"{BASE}/charts/{name}.svg", params={**RANGE, "theme": "dark", "granularity": "month"}
        )
        assert svg.headers["content-type"] == "image/svg+xml"
        assert svg.text.count("<path") > 3, name
    png = await site.client.get(f"{BASE}/charts/pareto.png", params=RANGE)
    assert png.content.startswith(b"\x89PNG")


async def test_a_chart_of_counts_marks_when_something_began_and_when_it_was_acted_upon(site: Site) -> None:
    """The words stand above the bars, one above the other where they would meet; a day outside the chart is not marked."""
    asked = {**RANGE, "granularity": "week", "lang": "es"}
    weeks = [row["period"] for row in (await site.client.get(f"{BASE}/charts/complaints_received", params=asked)).json()["data"]["values"]]  # fmt: skip
    marks = [f"acted:{weeks[2][:10]}", f"began:{weeks[1][:10]}", f"acted:{weeks[-1][:10]}", "began:1999-01-01"]
    spec = (await site.client.get(f"{BASE}/charts/complaints_received", params={**asked, "mark": marks})).json()
    rows = [layer["data"]["values"][0] for layer in spec["layer"][1:]]
    assert [(row["period"], row["word"]) for row in rows[::2]] == [
        (weeks[1], "empezó"),
        (weeks[2], "acción"),
        (weeks[-1], "acción"),
    ]
    assert [layer["encoding"]["y"]["value"] for layer in spec["layer"][2::2]] == [-3, -18, -3]
    drawn = await site.client.get(f"{BASE}/charts/complaints_received.svg", params={**asked, "mark": marks})
    assert ">empezó<" in drawn.text
    assert (await site.client.get(f"{BASE}/charts/csat", params={**asked, "mark": marks})).status_code == 200


async def test_exports_are_csv_and_cannot_become_formulas(site: Site) -> None:
    answer = await site.client.get(f"{BASE}/export", params=RANGE)
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(lines) == CONTACTS + 1
    assert "text" not in lines[0].split(",")
    points = (
        await site.client.get(f"{BASE}/export", params={**RANGE, "of": "csat", "granularity": "month"})
    ).text.splitlines()
    assert points[0] == "period,value,numerator,denominator,low,high"

    from services.indicators.export import line

    assert line(["=1+1", "a,b", None]) == '\'=1+1,"a,b",\r\n'


async def test_findings_show_their_numbers(site: Site) -> None:
    items = (await site.client.get(f"{BASE}/findings")).json()["items"]
    opened = {event.json()["finding_id"] for event in site.world.events if event.type == "lazo.finding.opened.v1"}
    assert {item["finding_id"] for item in items} == opened
    assert all(item["evaluation"]["observed"] == 9 for item in items)
