"""The console in Chromium: a service over a world of events, a real listener, nothing but this machine to talk to."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright

from libs.events.clock import SimulatedClock
from libs.service.combined import Combined
from libs.service.testing import Running, running
from services.indicators.app import build
from tests.indicators.world import START, World, consumed, make, publish

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
DRAWN = (
    "[...document.querySelectorAll('[data-chart]')].every("
    "e => e.dataset.drawn || (e.textContent && e.textContent !== e.dataset.loading))"
)


@dataclass
class Window:
    """A running console and a browser to look at it. `absent`: services that do not run beside it; the pages say so of them."""

    running: Running
    address: str
    browser: Browser
    absent: tuple[str, ...] = ()
    complaints: list[str] = field(default_factory=list)

    async def page(
        self, *, width: int = 1440, language: str = "en", dark: bool = False, key: str | None = None
    ) -> Page:
        """A window in which somebody is signed in. What the browser complains about is collected."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": 900},
            locale="es-CO" if language == "es" else "en-GB",
            color_scheme="dark" if dark else "light",
        )
        page = await context.new_page()

        async def here_only(route: Route) -> None:
            if route.request.url.startswith(self.address):
                await route.continue_()
            else:
                self.complaints.append(f"went out: {route.request.url}")
                await route.abort()

        def heard(message: ConsoleMessage) -> None:
            absent = any(f"/{name}/v1/" in message.location.get("url", "") for name in self.absent)
            if message.type in {"error", "warning"} and not absent:
                self.complaints.append(f"{message.type}: {message.text} ({page.url})")

        await page.route("**/*", here_only)
        page.on("console", heard)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error} ({page.url})"))
        await page.goto(f"{self.address}/login")
        await page.locator("#key").focus()  # it has it by itself, but not always before the first key is pressed here
        await page.keyboard.type(key or self.running.key)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{self.address}/")
        return page

    async def open(self, page: Page, path: str) -> None:
        """Go to a page and wait until everything on it is there, charts below the fold included."""
        await page.goto(self.address + path)
        await page.wait_for_load_state("load")
        for chart in await page.locator("[data-chart]").all():
            await chart.scroll_into_view_if_needed()
        # Not wait_for_function: when its condition does not hold at once it evaluates it again inside the page, which the
        # console's Content Security Policy forbids.
        end = time.monotonic() + 30
        while not await page.evaluate(DRAWN):
            assert time.monotonic() < end, f"a chart of {path} is not drawn"
            await asyncio.sleep(0.05)


@dataclass
class Console(Window):
    """One over a world of events that never happened."""

    world: World = field(kw_only=True)


@asynccontextmanager
async def listening(one: Running) -> AsyncIterator[str]:
    """The services behind a real listener; its address."""
    combined = Combined()
    for service in one.services.values():
        combined.add(service)
    combined.complete()
    server = uvicorn.Server(uvicorn.Config(combined, port=0, log_level="error", lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag only
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def browsing(chromium: str) -> AsyncIterator[Browser]:
    """A browser, until the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def console(chromium: str) -> AsyncIterator[Console]:
    async with running(build, clock=SimulatedClock(START + timedelta(days=45))) as one:
        people = await one.environment.vault.resolve([{"email": f"p{number}@example.org"} for number in range(20)])
        world = make(4, contacts=400, keys=await one.environment.vault.keys(people))
        await publish(one.environment.log, world.events)
        await consumed(one.services["indicators"])
        async with listening(one) as address, browsing(chromium) as browser:
            yield Console(one, address, browser, ("intake", "classification", "feedback"), world=world)
