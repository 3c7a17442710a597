"""Takes the pictures of docs/images again: `make pictures` plays the generated year and looks at its overview.

Not a test: it writes files of the repository, and a year takes some minutes.
"""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import async_playwright

from tests.browser.conftest import ARGUMENTS, DRAWN
from tests.engines.browser import browser_missing, find_chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZE = {"width": 1280, "height": 900}
LOCALES = {"es": "es-CO", "en": "en-GB"}


async def take(address: str, key: str, folder: Path = IMAGES) -> list[Path]:
    """Sign in in each language and take the overview when it is whole."""
    taken = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        for language, locale in LOCALES.items():
            context = await browser.new_context(viewport=SIZE, locale=locale)  # type: ignore[arg-type]  # a plain dict
            page = await context.new_page()
            await page.goto(f"{address}/login")
            await page.fill("#key", key)
            await page.click("button.primary")
            await page.wait_for_url(f"{address}/")
            async with asyncio.timeout(60):
                while not await page.evaluate(DRAWN):  # noqa: ASYNC110 - the page's policy forbids waiting inside it
                    await asyncio.sleep(0.1)
            path = folder / f"overview-{language}.png"
            await page.screenshot(path=path)
            taken.append(path)
            await context.close()
        await browser.close()
    return taken


def main(arguments: list[str]) -> int:
    """`[ADDRESS KEY]`: of a console that runs; without them a year is played for it, in a directory that goes afterwards."""
    if why := browser_missing():
        sys.stderr.write(f"{why}\n")
        return 1
    if arguments:
        address, key = arguments
        _say(asyncio.run(take(address, key)))
        return 0
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "services", "demo", "--no-stay", "--port", "0", "--data", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
            assert demo.stdout is not None
            try:
                address, key = "", ""
                for line in demo.stdout:
                    sys.stdout.write(line)
                    if found := re.search(r"(http\S+).*(lz_\w+)", line):
                        address, key = found[1], found[2]
                    if "complet" in line:  # complete, completo: the year is over
                        _say(asyncio.run(take(address, key)))
                        return 0
            finally:
                demo.terminate()
    return 1


def _say(taken: list[Path]) -> None:
    sys.stdout.write("".join(f"{path}\n" for path in taken))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
