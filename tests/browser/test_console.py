"""The console as a person meets it: every page, both languages, both widths, no complaint from the browser."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Console

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HEADINGS = {
    "/?days=90": ("Resumen", "Overview"),
    "/causes?days=90": ("Causas", "Causes"),
    "/causes?days=90&by=cause&where[motive]=billing": ("Causas", "Causes"),
    "/findings?state=all": ("Hallazgos", "Findings"),
    "/contacts?from=2026-01-05": ("Contactos", "Contacts"),
    "/customers": ("Clientes", "Customers"),
    "/models": ("Modelos", "Models"),
    "/quarantine": ("Cuarentena", "Quarantine"),
    "/numbers/complaints_received?from=2026-01-05&granularity=week": ("Quejas recibidas", "Complaints received"),
    "/numbers/motive_share?from=2026-01-05&granularity=month&group_by=channel": ("Participación de cada motivo", "Motive share"),
    "/numbers/resolution_time?from=2026-01-05&granularity=hour&to=2026-01-20": ("Tiempo de solución (mediana)", "Resolution time (median)"),
    "/numbers/csat/events?from=2026-01-05&part=denominator": ("Satisfacción (CSAT)", "Satisfaction (CSAT)"),
}  # fmt: skip


def _first(console: Console, type_name: str) -> dict[str, str]:
    found: dict[str, str] = next(event for event in console.world.events if event.type == type_name).json()
    return found


@pytest.mark.parametrize(
    ("language", "width", "dark"), [("es", 1440, False), ("es", 390, True), ("en", 1440, True), ("en", 390, False)]
)
async def test_every_page_stands_in_both_languages_and_at_both_widths(
    console: Console, language: str, width: int, dark: bool
) -> None:
    page = await console.page(width=width, language=language, dark=dark)
    case = _first(console, "lazo.case.closed.v1")
    finding = _first(console, "lazo.finding.opened.v1")
    paths = {path: names[language == "en"] for path, names in HEADINGS.items()}
    paths |= {
        f"/findings/{finding['finding_id']}": finding["title"][language],  # type: ignore[index] # title is a map
        f"/cases/{case['case_id']}": case["case_id"],
        f"/customers/{case['customer_id']}": case["customer_id"],
    }
    for path, heading in paths.items():
        await console.open(page, path)
        assert await page.locator("html").get_attribute("lang") == language
        assert await page.locator("h1").inner_text() == heading, path
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} scrolls sideways by {wide} px"
    assert console.complaints == []


async def test_charts_are_drawn_and_lead_to_the_data_and_the_words_behind_them_R49_G8(console: Console) -> None:
    page = await console.page()
    await console.open(page, "/?days=90")
    assert await page.locator("[data-drawn] svg").count() == 6
    shown = int((await page.locator(".tile .value").first.inner_text()).split()[0])
    await page.click(".tile >> nth=0")
    rows = page.locator("tbody tr")
    numbers = [int(text) for text in await page.locator("tbody tr td:nth-last-child(3)").all_inner_texts()]
    assert await rows.count() == len(numbers)
    assert sum(numbers) == shown == sum(event.type == "lazo.case.opened.v1" for event in console.world.events)
    await page.locator("tbody a").first.click()
    await expect(page.locator(".contact").first).to_be_visible()
    assert await page.locator("blockquote").count() > 0
    assert console.complaints == []


async def test_the_finding_is_explained_in_words_with_its_numbers_R09(console: Console) -> None:
    page = await console.page(language="es")
    await console.open(page, "/findings?state=all")
    await page.locator(".finding a").first.click()
    text = await page.locator(".plain").inner_text()
    assert "se quejaron 8 clientes distintos en 9 contactos" in text
    assert "4,5 veces lo esperado" in text


async def test_every_chart_of_the_overview_is_drawn_unscrolled_with_its_dates_written_below(console: Console) -> None:
    """Charts of lines had no dates: the interpreter that the content policy asks for reads an axis' numbers another way."""
    page = await console.page(language="en")
    await console.open(page, "/?days=all")
    count = await page.locator("[data-chart]").count()
    assert count >= 6
    await expect(page.locator("[data-chart] svg")).to_have_count(count, timeout=20_000)
    for number in range(count):
        labels = await page.locator("[data-chart]").nth(number).locator(".role-axis-label text").all_text_contents()
        assert any(re.fullmatch(r"\d{1,2} [A-Z][a-z]{2}", text.strip()) for text in labels), (number, labels)


async def test_language_is_switched_in_place_and_remembered(console: Console) -> None:
    page = await console.page(language="en")
    await page.goto(f"{console.address}/findings?state=all")
    await page.get_by_role("link", name="Español").click()
    assert page.url.endswith("/findings?state=all")
    assert await page.locator("h1").inner_text() == "Hallazgos"
    await page.goto(f"{console.address}/customers")
    assert await page.locator("h1").inner_text() == "Clientes"


async def test_a_keyboard_alone_reaches_the_content_and_the_pages(console: Console) -> None:
    page = await console.page()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await page.goto(f"{console.address}/")
    for _ in range(4):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Causes")


async def test_a_wrong_key_is_said_and_nothing_is_seen_without_one(console: Console) -> None:
    context = await console.browser.new_context(locale="es-CO")
    page = await context.new_page()
    await page.goto(f"{console.address}/findings")
    assert "/login" in page.url
    await page.fill("#key", "lz_wrong")
    await page.click("button.primary")
    await expect(page.get_by_role("alert")).to_contain_text("no existe")
    await page.fill("#key", console.running.key)
    await page.click("button.primary")
    await expect(page.locator("h1")).to_have_text("Hallazgos")
    await page.get_by_role("button", name="Salir").click()
    await page.goto(f"{console.address}/")
    assert "/login" in page.url


async def test_a_reading_key_sees_numbers_and_not_what_people_wrote(console: Console) -> None:
    header = (await console.running.key_for("indicators:read"))["Authorization"]
    page = await console.page(key=header.removeprefix("Bearer "))
    await console.open(page, "/contacts?from=2026-01-05")
    assert await page.locator("blockquote").count() == 0
    assert await page.get_by_text("your key does not open").count() > 0
