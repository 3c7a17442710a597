"""The customer's page as a phone and a desk see it (R48): nothing to scroll sideways, nothing refused by the policy."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, async_playwright

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.feedback.app import build as feedback
from services.feedback.pagetexts import TEXTS
from services.intake.app import build as intake
from tests.feedback.test_api import START, House

KEPT = {"content-type", "content-security-policy", "referrer-policy"}


@pytest.mark.parametrize(("width", "language"), [(390, "es"), (390, "en"), (1440, "es")])
async def test_r48_the_page_is_filled_in_and_sent_without_a_mouse_or_a_script(
    chromium: Any, tmp_path: Path, width: int, language: str
) -> None:
    clock = SimulatedClock(START)
    async with running(intake, feedback, clock=clock, public_url="http://lazo.test") as found:
        await found.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        house = House(found, clock)
        await house.contact(language=language)
        await house.update("resolved", outcome="upheld")
        link = (await house.request("answer"))["link"]

        async def serve(route: Route) -> None:
            asked = route.request
            answer = await found.client.request(
                asked.method, asked.url, content=asked.post_data_buffer, headers={**asked.headers, "authorization": ""}
            )
            headers = {name: value for name, value in answer.headers.items() if name in KEPT}
            await route.fulfill(status=answer.status_code, headers=headers, body=answer.content)

        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
            context = await browser.new_context(viewport={"width": width, "height": 844}, java_script_enabled=True)
            page = await context.new_page()
            troubles: list[str] = []
            page.on("console", lambda message: troubles.append(message.text))
            page.on("pageerror", lambda error: troubles.append(str(error)))
            await page.route("**/*", serve)
            await page.goto(link)
            texts = TEXTS[language]
            assert await page.title() == texts["title"]
            assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            small = await page.evaluate(
                "[...document.querySelectorAll('.choices span, button')].filter(e => e.offsetHeight < 44 || e.offsetWidth < 44).length"
            )
            assert small == 0  # fingers
            await page.screenshot(path=tmp_path / f"question-{width}-{language}.png", full_page=True)
            await page.get_by_role("radio", name=texts["worse"]).focus()
            await page.keyboard.press("Space")
            await page.get_by_role("radio", name=texts["score_5"]).focus()
            await page.keyboard.press("Space")
            await page.get_by_label(texts["need"]).fill("Un plan prepago")
            await page.get_by_role("button", name=texts["send"]).press("Enter")
            await page.get_by_role("heading", name=texts["thanks_title"]).wait_for()
            await page.screenshot(path=tmp_path / f"thanks-{width}-{language}.png")
            await browser.close()
        assert troubles == []
        answered = next(
            step["data"] for step in (await house.case())["history"] if step["type"] == "lazo.feedback.answered.v1"
        )
        assert (answered["helped"], answered["score"], answered["need"]) == ("worse", 5, "Un plan prepago")
