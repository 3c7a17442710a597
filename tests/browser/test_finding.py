"""A finding in a browser, from the words that explain it to an action that is done, over the services as they are."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Page, expect

from libs.events.catalogue.findings import Evaluation, FindingOpened, Nature, NatureTerm, Verdict, VerdictReached
from libs.events.clock import SimulatedClock
from libs.events.store import Draft
from libs.service.testing import running
from services.classification import desk
from services.classification.app import build as classification
from services.classification.domain.effect import Effect
from services.classification.domain.findings import Judge
from services.classification.titles import title
from services.classification.waiting import Waiting
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from tests.browser.conftest import Window, browsing, listening
from tests.classification.test_service import START, contact, publish, send, source

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

WHERE = {"motive": "billing.refund", "touchpoint": "store"}
TEXT = "La devolución de mi dinero se demora, llevo semanas esperando el reembolso"
TITLE = {"es": "Devoluciones en la tienda", "en": "Refunds at the store"}
REASONS = [
    NatureTerm(evidence="causes", value=0.9, of=12.4, weights={"procedure": 3.1, "human": -2.0}, detail="procedure"),
    NatureTerm(evidence="followed", value=1, of=8, weights={"procedure": 0.9}),
    NatureTerm(evidence="known", value=0.5, of=8, weights={}),
    NatureTerm(evidence="explained", value=0.1, of=8, weights={"explanation": -1.4}),
    NatureTerm(evidence="upheld", value=0.9, of=8, weights={"procedure": 0.2}),
    NatureTerm(evidence="concentrated", value=0.1, of=12, weights={"procedure": 0.4}, detail="agent-7"),
    NatureTerm(evidence="supplier", value=0, of=12, weights={"supplier": -2.0}),
    NatureTerm(evidence="supplier", value=0.2, of=12, weights={"supplier": -1.0}, detail="instalatec"),
    NatureTerm(evidence="change", value=-1, of=1, weights={"procedure": 2.5}, detail="Formulario impreso", ref="c1"),
    NatureTerm(
        evidence="change", value=4, of=1, weights={"system": 1.6, "procedure": -0.2}, detail="App 5.1", ref="c2"
    ),
]
SAID: dict[str, dict[str, Any]] = {
    "es": {"why": "De 12 clientes por encima de lo habitual, el 90 % tiene causas", "with": "Empezó a la vez que un cambio: Formulario impreso",
           "confirm": "Confirmar", "Confirmed": "Confirmado", "investigate": "Guardar la investigación", "Investigated": "Investigado",
           "plan": "Planear la acción", "Planned": "Acción planeada", "do": "La acción está hecha", "Done": "Acción hecha", "no": "No se pudo",
           "others": {"joint": ["internet: más clientes de lo habitual en pasto", "Por su propia historia"], "chronic": ["otros 11 lugares", "No empezó un día"], "gone": ["lo que se dijo antes se retiró", "No se sabe cuántos clientes"]},
           "again": "hacen falta unas 4 semanas más", "undecided": "Sin decidir", "none": "Ningún cliente ha vuelto", "size": "Clientes: 3. Contactos: 3", "calm": "Ningún cliente da señales", "risk": "Ha vuelto por «Devolución", "chance": "menos de una vez en 1.000.000", "loud": "muy a favor", "ended": "Entre el", "began": "empezó"},
    "en": {"why": "Of 12 customers above the usual number, 90 % have causes", "with": "It began together with a change: Formulario impreso",
           "confirm": "Confirm", "Confirmed": "Confirmed", "investigate": "Save the investigation", "Investigated": "Investigated",
           "plan": "Plan the action", "Planned": "Action planned", "do": "The action is done", "Done": "Action done", "no": "Not possible",
           "others": {"joint": ["internet: more customers than usual in pasto", "Its own history"], "chronic": ["at 11 other places", "It did not begin one day"], "gone": ["what was said before was taken back", "is not known"]},
           "again": "about 4 more weeks are needed", "undecided": "Undecided", "none": "No customer has come back", "size": "Customers: 3. Contacts: 3", "calm": "No customer shows it", "risk": "Came back over 'Refund", "chance": "less than once in 1,000,000", "loud": "strongly for", "ended": "Between", "began": "began"},
}  # fmt: skip


OTHERS = [
    ("joint", {"location": "pasto", "product": "internet"}, "sweep-1", {"p": 1e-9}),
    ("chronic", {"motive": "billing.refund", "location": "pasto"}, "funnel-3", {"by_rate": 1.0, "peers": 11.0}),
    (
        "gone",
        {"motive": "billing.refund", "location": "pasto"},
        "funnel-3",
        {"by_rate": 0.0, "peers": 11.0, "withdrawn": 1.0},
    ),
]
"""Findings without a motive, or without a past to compare with: their slice, and how they were judged."""


@pytest.fixture
async def house(chromium: str) -> AsyncIterator[Window]:
    """Services with three complaints and the finding behind them."""
    async with running(intake, classification, indicators, clock=SimulatedClock(START)) as one:
        await source(one)
        await publish(one)
        await send(
            one,
            [contact(number, TEXT, touchpoint="store", location="pasto", product="internet") for number in range(3)],
        )
        evaluation = Evaluation(
            method="window-scan-1", window_start=START - timedelta(days=7), window_end=START, observed=17, expected=3.2,
            upper=11, score=6.2, customers=17, contacts=19, parameters={"p": 6e-7},
        )  # fmt: skip
        async with one.services["classification"].runtime.store.unit() as unit:
            since = START - timedelta(days=7)
            verdict = VerdictReached(
                verdict_id="v1", finding_id="f1", slice=WHERE, verdict=Verdict.SYSTEMIC, nature=Nature.PROCEDURE, since=since,
                evaluation=evaluation, rulebook_version=1, reasons=REASONS, natures={"procedure": 0.97, "human": 0.02, "system": 0.01},
            )  # fmt: skip
            unit.emit(Draft(stream="verdict/v1", data=verdict, key="f1", time=unit.now))
            opened = FindingOpened(
                finding_id="f1",
                slice=WHERE,
                nature=Nature.PROCEDURE,
                verdict_id="v1",
                opened_at=unit.now,
                since=since,
                title=TITLE,
            )
            await desk.open_finding(unit, opened, None)
            for name, where, method, given in OTHERS:
                numbers = evaluation.model_copy(update={"method": method, "parameters": given})
                said = verdict.model_copy(update={"verdict_id": f"v-{name}", "finding_id": name, "slice": where, "evaluation": numbers})  # fmt: skip
                unit.emit(Draft(stream=f"verdict/v-{name}", data=said, key=name, time=unit.now))
                titled = title(where, None, chronic=method.startswith("funnel"))
                also = opened.model_copy(update={"finding_id": name, "verdict_id": f"v-{name}", "slice": where, "title": titled})  # fmt: skip
                await desk.open_finding(unit, also, None)
        await one.settle()
        async with listening(one) as address, browsing(chromium) as browser:
            yield Window(one, address, browser, ("feedback",))


async def do(page: Page, command: str, **fields: Any) -> None:
    form = page.locator(f'form[data-do="{command}"]')
    if not await form.is_visible():
        await page.locator("details.do", has=form).locator("summary").click()
    for name, value in fields.items():
        await form.locator(f'[name="{name}"]').fill(value)
    await form.locator("button").click()


@pytest.mark.parametrize(("language", "width"), [("es", 1440), ("en", 390)])
async def test_a_finding_is_read_decided_and_acted_on_without_any_statistics_R09_R94(
    house: Window, language: str, width: int
) -> None:
    """R04, R09, R76, R91, R94: from the words to an action that is done; its size in words; who keeps coming back."""
    words = SAID[language]
    page = await house.page(width=width, language=language)
    late = await house.page(width=width, language=language)
    for one in (page, late):
        await house.open(one, "/findings/f1")
    assert words["chance"] in await page.locator(".plain").inner_text()
    reasons = await page.locator(".reasons").inner_text()
    assert words["why"] in reasons
    assert words["with"] in reasons
    assert "{" not in await page.locator("main").inner_text()
    assert words["loud"] in reasons
    assert words["ended"] in await page.locator(".plain").inner_text()
    assert words["began"] in await page.locator("figure.chart").inner_text()
    await expect(page.locator("#dossier")).to_contain_text(words["size"])  # R04
    assert await page.locator(".contact blockquote").count() == 3
    stage = page.locator('.stages [aria-current="step"]')

    await do(page, "confirm", reason="sí")
    await expect(stage).to_have_text(words["Confirmed"])
    await late.locator('form[data-do="confirm"] select').select_option("norm")
    await do(late, "confirm")
    await expect(late.locator("#told")).to_contain_text(words["no"])
    await do(page, "investigate", why1="Se espera un papel", why2="Nadie lo quitó", conclusion="Sobra")
    await expect(stage).to_have_text(words["Investigated"])
    assert "Nadie lo quitó" in await page.locator(".tree .depth1").inner_text()
    await do(page, "plan-action", description="Quitarlo", owner="ana", due="2027-01-31")
    await expect(stage).to_have_text(words["Planned"])
    await do(page, "implement-action")
    await expect(stage).to_have_text(words["Done"])
    found = (await house.running.client.get("/classification/v1/findings/f1")).json()
    assert (found["actions"][0]["expected_ratio"], found["actions"][0]["window_days"]) == (0.6, 28)
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0

    for name, told in words["others"].items():
        await house.open(page, f"/findings/{name}")
        text = await page.locator("main").inner_text()
        assert [each for each in told if each not in text] == []
        assert "{" not in text
        assert await page.locator(".contact blockquote").count() == 3
        assert await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    async with house.running.services["classification"].runtime.store.unit() as unit:
        action = found["actions"][0]["action_id"]
        undecided = Effect("undecided", 0.8, 0.4, 1.6, 9, 7, weeks_needed=4)
        await desk.carry_out(unit, "f1", Judge(action, undecided), Waiting())
    await house.running.settle()
    await house.open(page, "/findings/f1")
    assert words["again"] in await page.locator(".action").first.inner_text()
    assert words["undecided"] in await page.locator(".steps li").last.inner_text()

    await page.locator(".plain a").click()
    assert await page.locator(".contact").count() == 3
    await house.open(page, "/chains")
    await expect(page.locator("#told")).to_contain_text(words["none"])
    await expect(page.locator("#risked")).to_contain_text(words["calm"])
    again = [
        contact(10 + days, TEXT, touchpoint="store", customer={"id": "k"}, occurred_at=(START - timedelta(days=days)).isoformat())
        for days in range(1, 4)
    ]  # fmt: skip
    await send(house.running, again)
    await house.running.settle()
    await house.open(page, "/chains")
    await expect(page.locator("#risk-rows tr")).to_contain_text(words["risk"])  # R76, R91
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    assert [line for line in house.complaints if "409" not in line] == []
