"""Models on the console: fitted, tried in the shadow, put in charge and taken back, over the services as they are."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification.app import build as classification
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from tests.browser.conftest import Window, browsing, listening
from tests.classification.test_service import START, contact, publish, send, source

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MODELS = "/classification/v1/models"
# Words no rulebook has, by the motive people give them; the last are what the shadow is then asked about.
SAID = {
    "device.fault": "El zumbador del aparatico nuevo chilla {} veces y parpadea morado",
    "care.rude": "La señorita de turno {} me gritó feísimo y tiró el auricular",
    "billing.refund": "Llevo {} quincenas detrás de la platica que quedaron de reponerme",
}
WORDS: dict[str, dict[str, Any]] = {
    "es": {"nav": "Modelos", "empty": "Aún no hay modelo: deciden las palabras", "fit": "Ajustar un modelo ahora",
           "candidate": "candidato", "try": "Probar en la sombra", "promote": "Que decida", "yes": "Sí",
           "waits": "Todavía no llega ningún contacto", "few": "Con menos de 30", "examples": "Ejemplos",
           "see": "Ver las palabras"},
    "en": {"nav": "Models", "back": "Roll back", "yes": "Yes", "more": "Data, files and history",
           "history": ["Fitted", "Put in the shadow", "Taken out of the shadow", "Put in charge", "Rolled back"]},
}  # fmt: skip


@pytest.fixture
async def office(chromium: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Window]:
    """The services, with nothing in them yet."""
    for name in ("ENCODER", "FIT_AFTER", "PROMOTE"):
        monkeypatch.setenv(f"LAZO_CLASSIFICATION_{name}", "0")
    async with (
        running(intake, classification, indicators, clock=SimulatedClock(START)) as one,
        listening(one) as address,
        browsing(chromium) as browser,
    ):
        yield Window(one, address, browser, ("feedback",))


async def label(run: Running, ids: list[str], motive: str) -> None:
    body = {"interaction_ids": ids, "motive": motive, "by": "ana"}
    answer = await run.client.post("/classification/v1/interactions/label-many", json=body)
    assert answer.json()["refused"] == 0, answer.text


async def corrected(office: Window, count: int) -> list[str]:
    """So many contacts of each motive, told apart by people; the first motive's."""
    run = office.running
    texts = [(motive, text.format(number)) for motive, text in SAID.items() for number in range(count)]
    ids = await send(run, [contact(number, text) for number, (_, text) in enumerate(texts)])
    await run.settle()
    for motive in SAID:
        some = [identity for identity, (given, _) in zip(ids, texts, strict=True) if given == motive]
        await label(run, some, motive)
    await run.settle()
    return ids[:count]


async def told(office: Window, page: Page) -> dict[str, Any]:
    """What the API says, once the page has asked for it and no fit is at work."""
    end = time.monotonic() + 60
    while True:
        found: dict[str, Any] = (await office.running.client.get(MODELS)).json()
        if not found["fit"] or found["fit"]["state"] == "done":
            break
        assert time.monotonic() < end, found["fit"]
        await asyncio.sleep(0.1)
    await expect(page.locator("#models")).to_have_attribute("aria-busy", "false")
    return found


async def narrow_enough(page: Page) -> None:
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"it scrolls sideways by {wide} px"
    main = await page.locator("main").inner_text()
    assert "{" not in main
    assert "models." not in main


async def test_a_model_is_fitted_tried_in_the_shadow_put_in_charge_and_taken_back_on_the_console_R07_G11(
    office: Window,
) -> None:
    words, run = WORDS["es"], office.running
    page = await office.page(language="es")
    await page.goto(f"{office.address}/models")
    await expect(page.locator("#deciding")).to_contain_text("no se ha publicado un libro de reglas")
    assert not await page.locator("#fit").is_visible(), "there is nothing to fit yet"
    await source(run)
    await publish(run)
    await page.reload()
    await expect(page.locator("#nothing-title")).to_have_text(words["empty"])
    await expect(page.locator("#deciding")).to_have_text("Las palabras del libro de reglas.")
    await narrow_enough(page)
    buzzing = await corrected(office, 20)

    await page.get_by_role("button", name=words["fit"]).press("Enter")
    card = page.locator("article.model")
    await expect(card).to_have_attribute("data-state", "candidate", timeout=60_000)
    found = await told(office, page)
    (model,) = found["models"]
    assert model["state"] == "candidate"
    shown = await card.inner_text()
    assert words["candidate"] in shown
    assert words["few"] in shown
    assert f"{model['corrections']} correcciones" in shown
    assert model["measures"].keys() >= {"accuracy", "live_accuracy", "ece", "coverage_at_95", "precision", "kept"}

    await page.get_by_role("button", name=words["try"]).click()
    await expect(card).to_have_attribute("data-state", "shadow")
    await expect(card.locator(".beside")).to_contain_text(words["waits"])
    # People have changed their minds since it was fitted: the learner knows, the model does not.
    await label(run, buzzing, "digital.app")
    await run.settle()
    await send(run, [contact(900 + number, text.format("mil")) for number, text in enumerate(SAID.values())])
    await send(run, [contact(910, "No tengo internet"), contact(911, "Me cobraron de más en la factura")])
    await run.settle()
    await page.reload()
    report = (await run.client.get(f"{MODELS}/{model['model_id']}/shadow")).json()
    assert report["texts"] == 5
    assert report["moved"], "no difference, nothing to show"
    await expect(card.locator(".beside tbody >> nth=0").locator("tr")).to_have_count(len(report["moved"]))
    await card.get_by_text(words["examples"], exact=True).click()
    await card.get_by_role("button", name=words["see"]).first.click()
    await expect(card.locator("blockquote")).to_have_count(1)
    await narrow_enough(page)

    # A question first, and no by default; then yes.
    await page.get_by_role("button", name=words["promote"]).click()
    await page.keyboard.press("Escape")
    assert (await told(office, page))["promoted"] is None
    await page.get_by_role("button", name=words["promote"]).click()
    await page.get_by_role("button", name=words["yes"], exact=True).click()
    await expect(card).to_have_attribute("data-state", "live")
    await expect(page.locator("#deciding")).to_contain_text(
        f"Desde el próximo contacto, también el modelo {model['model_id'][:12]}"
    )
    await send(run, [contact(920, "No tengo internet")])
    await run.settle()
    await page.reload()
    await expect(page.locator("#deciding")).to_contain_text(f"y el modelo {model['model_id'][:12]}.")
    assert (await told(office, page))["promoted"] == model["model_id"]

    english, words = await office.page(width=390, language="en"), WORDS["en"]
    await english.get_by_role("link", name=words["nav"], exact=True).click()
    card = english.locator("article.model")
    await expect(card).to_have_attribute("data-state", "live")
    await narrow_enough(english)
    await english.get_by_role("button", name=words["back"]).click()
    await expect(english.locator("#sure-text")).to_contain_text("what there was without a model")
    await english.get_by_role("button", name=words["yes"], exact=True).click()
    await expect(card).to_have_attribute("data-state", "retired")
    await card.get_by_text(words["more"]).click()
    await expect(card.locator(".steps li")).to_have_count(len(words["history"]))
    assert [await line.inner_text() for line in await card.locator(".steps strong").all()] == words["history"]
    await expect(card.locator(".more")).to_contain_text(model["data"])
    # Somebody else was quicker: the page says so and shows how it is.
    await page.get_by_role("button", name="Volver al anterior").click()
    await page.get_by_role("button", name="Sí", exact=True).click()
    await expect(page.locator("#told")).to_contain_text("no decide ahora")
    await expect(page.locator("article.model")).to_have_attribute("data-state", "retired")
    await narrow_enough(english)

    # Who may only read sees them and no button; who may not is told which scope it takes.
    for scopes, seen in (
        (("indicators:read", "classification:read"), True),
        (("indicators:read",), False),
    ):
        key = (await run.key_for(*scopes))["Authorization"].removeprefix("Bearer ")
        other = await office.page(language="es", key=key)
        await other.goto(f"{office.address}/models")
        await expect(other.locator("#models")).to_have_attribute("aria-busy", "false")
        assert await other.locator("article.model").count() == int(seen)
        assert await other.locator("main button:visible").count() == 0
        if not seen:
            await expect(other.locator("#deciding")).to_contain_text("classification:read")
    expected = ("404", "403", "409")  # without a rulebook, without the scope, and of two who were at it
    assert [line for line in office.complaints if not any(code in line for code in expected)] == []
