"""The review queue in a browser, by keyboard alone, over intake, classification and the console as they are."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification.app import build as classification
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from tests.browser.conftest import Window, browsing, listening
from tests.classification.test_service import START, contact, publish, send, source

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# Words that no rulebook has, and words against what the contact centre declared: both are for a person to decide.
TEXTS = {
    "Los zapatos verdes no combinan con las cortinas": {},
    "Los zapatos verdes no combinan con las cortinas azules": {},
    "El asesor fue grosero, me trató mal y me colgó": {"declared_motive": "billing.roaming"},
    "The agent was very rude, insulted me and hung up on me": {"declared_motive": "care.wait"},
    "Una hora esperando en la fila, mucha espera": {"declared_motive": "billing.refund"},
}
SAID = {
    "es": {"nav": "Revisión", "done": "Decidido:", "empty": "No queda nada por revisar", "help": "Teclas", "none": "Sin código",
           "many": "Decididos 2", "second": "Segunda codificación", "differ": "Donde difieren"},
    "en": {"nav": "Review", "done": "Decided:", "empty": "Nothing is left to review", "help": "Keys", "none": "No code",
           "many": "Decided 2", "second": "Second coding", "differ": "Where they differ"},
}  # fmt: skip


@pytest.fixture
async def office(chromium: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Window]:
    """Services with five contacts in doubt."""
    monkeypatch.setenv("LAZO_CLASSIFICATION_SECOND_SHARE", "1")
    async with running(intake, classification, indicators, clock=SimulatedClock(START)) as one:
        await source(one)
        assert (await publish(one)).status_code == 201
        await send(one, [contact(number, text, **more) for number, (text, more) in enumerate(TEXTS.items())])
        await one.settle()
        async with listening(one) as address, browsing(chromium) as browser:
            yield Window(one, address, browser, ("feedback",))


async def shown(page: Page) -> str:
    """The words on the page, once they are there and keys are taken."""
    await expect(page.locator("#review")).to_have_attribute("aria-busy", "false")
    return await page.locator("#text").inner_text()


async def queue(office: Window) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await office.running.client.get("/classification/v1/review-queue")).json()["items"]
    return found


async def left_with(office: Window, page: Page, count: int) -> None:
    """Wait until so many are left, and the next one is shown."""
    end = time.monotonic() + 10
    while len(await queue(office)) != count:
        assert time.monotonic() < end, await page.locator("#told").inner_text()
        await asyncio.sleep(0.05)
    await shown(page)


@pytest.mark.parametrize(("language", "width", "dark"), [("es", 1440, False), ("en", 390, True)])
async def test_the_queue_is_worked_through_by_keyboard_alone_in_both_languages(
    office: Window, language: str, width: int, dark: bool
) -> None:
    words = SAID[language]
    page = await office.page(width=width, language=language, dark=dark)
    at_first = await queue(office)
    assert len(at_first) == len(TEXTS)

    await to_review(page, office, language)
    first = await shown(page)
    assert first in TEXTS
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0

    # Help opens and closes; while it is open no key decides.
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    assert words["help"] in await page.locator("#help").inner_text()
    await page.keyboard.press("u")
    await page.keyboard.press("Escape")
    await expect(page.locator("#help")).to_be_hidden()
    assert len(await queue(office)) == len(at_first)

    # Passing over shows another one.
    await page.keyboard.press("s")
    await expect(page.locator("#text")).not_to_have_text(first)
    second = await shown(page)

    # Search: a motive, then a cause.
    await page.keyboard.press("/")
    await page.keyboard.type("rude" if language == "en" else "mal trato")
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#told")).to_contain_text(words["done"])
    await shown(page)
    left = await queue(office)
    assert len(left) == len(at_first) - 1
    decided = next(
        one["interaction_id"]
        for one in at_first
        if one["interaction_id"] not in {item["interaction_id"] for item in left}
    )
    found = (await office.running.client.get(f"/classification/v1/interactions/{decided}")).json()
    assert (found["motive"], found["cause"], found["revision"]) == ("care.rude", "agent_rude", 2)

    # Back to it, and another answer: the later one counts.
    await page.keyboard.press("z")
    await expect(page.locator("#text")).to_have_text(second)
    await page.keyboard.press("u")
    await expect(page.locator("#told")).to_contain_text(words["none"])
    await shown(page)
    found = (await office.running.client.get(f"/classification/v1/interactions/{decided}")).json()
    assert (found["motive"], found["revision"]) == ("unknown", 3)

    # The rest with one key each, by the best code where there is one.
    for _ in range(10):
        if await page.locator("#nothing").is_visible():
            break
        before = len(await queue(office))
        await page.keyboard.press("1" if await page.locator("#best button").count() else "u")
        await left_with(office, page, before - 1)
    await expect(page.locator("#nothing-title")).to_have_text(words["empty"])
    # What was passed over comes again when one looks again, to whoever looks.
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == "again":
            break
    await page.keyboard.press("Enter")
    assert await shown(page) == first
    assert office.complaints == []


async def to_review(page: Page, office: Window, language: str) -> None:
    """To the queue by its link, with Tab and Enter."""
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == SAID[language]["nav"]:
            break
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{office.address}/review")


async def passed_until(page: Page, found: Callable[[], Awaitable[bool]]) -> None:
    """Pass over what is shown until it is what is looked for."""
    for _ in range(8):
        text = await shown(page)
        if await found():
            return
        await page.keyboard.press("s")
        await expect(page.locator("#text")).not_to_have_text(text)
    raise AssertionError("it is not in the queue")


@pytest.mark.parametrize("language", ["es", "en"])
async def test_alike_contacts_are_decided_together_and_a_second_person_codes_blind_by_keyboard_alone_R07(
    office: Window, language: str
) -> None:
    words = SAID[language]
    page = await office.page(language=language)
    await to_review(page, office, language)

    async def shoes() -> bool:
        return (await page.locator("#text").inner_text()).startswith("Los zapatos")

    await passed_until(page, shoes)
    before = len(await queue(office))
    # The others are shown, left again by the same key, and one can be taken out by Space.
    await page.keyboard.press("b")
    await expect(page.locator("#alike-list input")).to_have_count(1)
    await page.keyboard.press("b")
    await expect(page.locator("#alike")).to_be_hidden()
    await page.keyboard.press("b")
    await expect(page.locator("#alike-list input")).to_have_count(1)
    await expect(page.locator("#alike-list input")).to_be_focused()
    await page.keyboard.press("Space")
    assert not await page.locator("#alike-list input").is_checked()
    await page.keyboard.press("Space")
    await page.keyboard.press("u")
    await expect(page.locator("#told")).to_contain_text(words["many"])
    await shown(page)
    assert len(await queue(office)) == before - 2

    key = (await office.running.key_for("classification:write", "indicators:read"))["Authorization"].removeprefix(
        "Bearer "
    )
    await office.running.client.post("/classification/v1/review-queue/release", json={"by": "test admin"})
    other = await office.page(language=language, key=key)
    await to_review(other, office, language)

    async def second() -> bool:
        return await other.locator("#about").get_by_text(words["second"]).count() > 0

    await passed_until(other, second)
    assert "test admin" not in await other.locator("#item").inner_text()
    await other.keyboard.press("/")
    await other.keyboard.type("rude")
    await other.keyboard.press("Enter")
    await other.keyboard.press("Enter")
    await expect(other.locator("#told")).to_contain_text(words["done"])
    told = (await office.running.client.get("/classification/v1/agreement")).json()
    assert (told["pairs"], told["disagreements"]) == (1, 1)
    await other.reload()
    await expect(other.locator("#kappas")).to_contain_text(words["differ"])
    assert office.complaints == []


async def test_who_may_not_review_is_told_so_and_single_keys_can_be_turned_off(office: Window) -> None:
    key = (await office.running.key_for("indicators:read", "classification:read"))["Authorization"].removeprefix(
        "Bearer "
    )
    page = await office.page(language="es", key=key)
    await page.goto(f"{office.address}/review")
    await expect(page.locator("#nothing-title")).to_contain_text("classification:write")
    mine = await office.page(language="es")
    await mine.goto(f"{office.address}/review")
    await shown(mine)
    await mine.keyboard.press("?")
    await mine.locator("#single").focus()
    await mine.keyboard.press("Space")
    await mine.keyboard.press("Escape")
    before = len(await queue(office))
    await mine.keyboard.press("u")
    await mine.wait_for_timeout(300)
    assert len(await queue(office)) == before
    await mine.locator("#choices [data-key=u]").focus()
    await mine.keyboard.press("Enter")
    await expect(mine.locator("#told")).to_contain_text("Decidido")
    assert len(await queue(office)) == before - 1
