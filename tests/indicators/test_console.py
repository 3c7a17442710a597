"""The console without a browser: words in both languages, links that stay here, pages for hostile addresses."""

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import orjson
import pytest

from libs.events.catalogue.findings import Borrowed, Evaluation, FindingOpened, Verdict, VerdictReached
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.indicators.app import build
from services.indicators.console import render
from services.indicators.console.pages import _local
from tests.indicators.world import START, World, consumed, publish

CONSOLE = Path(render.__file__).parent


def test_both_languages_say_the_same_things_and_nothing_is_unused() -> None:
    assert render.MESSAGES["es"].keys() == render.MESSAGES["en"].keys()
    for key, text in render.MESSAGES["es"].items():
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", render.MESSAGES["en"][key])), key
    source = "".join(path.read_text() for path in [*CONSOLE.glob("*.py"), *CONSOLE.glob("templates/*.html")])
    # What a script of one page says, it says by the rest of the key.
    script = (CONSOLE / "static" / "models.js").read_text()
    said = {f"models.{key}" for key in re.findall(r"""say\("([\w./]+)\"""", script)}
    assert said <= render.MESSAGES["es"].keys(), said - render.MESSAGES["es"].keys()
    source += "".join(f"'{key}'" for key in said)
    # Keys are written out, or put together from one of these and a code.
    built = {
        match[0] for match in re.findall(r"""(?:maybe|t)\(\s*f?['"]([a-z_.]+?)(\.\{|\.?['"]\s*(?:\+|,))""", source)
    }
    built |= {f"models.{family}" for family in re.findall(r"say\(`([\w./]+)\.\$\{", script)}
    unused = [key for key in render.MESSAGES["es"] if f"'{key}'" not in source and f'"{key}"' not in source]
    families = {
        "kind",
        "channel",
        "component",
        "expectation",
        "severity",
        "outcome",
        "act",
        "language",
        "helped",
        "purpose",
        "status",
        "nature",
        "verdict",
        "finding.means",
        "same",  # asked for by finding.js, by the code it was told
    }
    left = [
        key for key in unused if key.rpartition(".")[0] not in built | families and key.partition(".")[0] not in built
    ]
    assert not left, " ".join(left)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/login?next=/",
        "evil",
        None,
    ],
)
def test_after_signing_in_one_stays_here(target: str | None) -> None:
    assert _local(target) == "/"


async def test_pages_answer_hostile_addresses_with_pages_and_a_strict_policy() -> None:
    async with running(build, clock=SimulatedClock(START)) as one:
        assert (await one.client.get("/")).status_code == 303, "a key in a header opens no page"
        answer = await one.client.post(
            "/login",
            content=f"key={one.key}&next=https%3A%2F%2Fevil.example",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        assert "HttpOnly" in answer.headers["set-cookie"]
        one.client.headers.pop("Authorization")
        for path, status in (
            ("/", 200), ("/causes", 200), ("/contacts", 200), ("/findings", 200), ("/customers", 200), ("/quarantine", 200), ("/models", 200), ("/models?by=<script>", 200),
            ("/numbers/nothing", 404), ("/numbers/csat?from=x", 422), ("/numbers/csat?granularity=<script>", 422), ("/findings/<script>", 404),
            ("/customers/cus_none", 404), ("/cases/none", 404), ("/causes?by=password", 422), ("/contacts?after=~~", 200),
            ("/numbers/csat/events?period=1999-01-01", 422), ("/contacts?finding=none", 404), ("/causes?days=-1", 200),
        ):  # fmt: skip
            page = await one.client.get(path)
            assert page.status_code == status, (path, page.text[:300])
            assert page.headers["content-type"].startswith("text/html"), path
            assert "<script>" not in page.text
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'self'")
            assert "unsafe" not in policy
        assert (await one.client.post("/logout", content="csrf=wrong")).status_code == 403
        assert (await one.client.get("/static/x/../pages.py")).status_code == 404
        assert (await one.client.get("/language/xx")).status_code == 404


async def test_an_empty_lazo_says_what_to_do_next() -> None:
    async with running(build, clock=SimulatedClock(START), language="es") as one:
        await one.client.post("/login", content=f"key={one.key}")
        text = (await one.client.get("/")).text
        assert "Todavía no hay quejas" in text
        assert "lazo import" in text


@pytest.mark.parametrize("language", ["es", "en"])
async def test_a_findings_page_says_from_where_a_place_that_opened_took_what_is_usual_and_reads_verdicts_of_before_R09(
    language: str,
) -> None:
    """Evidence for somebody who knows no statistics; events of before know nothing of it."""
    taken = Borrowed(begins=date(2026, 1, 2), level=1.25, weight=2.4, dispersion=1.7, dispersion_weight=60, slices=5, kin=True)  # fmt: skip
    lent: dict[str, Borrowed | None] = {
        "kin": taken,
        "all": taken.model_copy(update={"kin": False, "slices": 31}),
        "none": taken.model_copy(update={"kin": False, "slices": 0}),
        "before": None,
    }
    world = World(1)
    for name, borrowed in lent.items():
        numbers = Evaluation(
            method="odds-1", window_start=START, window_end=START + timedelta(days=7), observed=19, expected=6, upper=12, score=4,
            customers=19, contacts=20, borrowed=borrowed,
        )  # fmt: skip
        where = {"motive": "billing", "touchpoint": name}
        said = VerdictReached(verdict_id=name, finding_id=name, slice=where, verdict=Verdict.SYSTEMIC, evaluation=numbers, since=START, rulebook_version=1)  # fmt: skip
        event = world.add(f"verdict/{name}", said, name, START, START)
        if borrowed is None:
            content = orjson.loads(event.data)
            del content["evaluation"]["borrowed"]
            world.events[-1] = replace(event, data=orjson.dumps(content))
        opened = FindingOpened(finding_id=name, slice=where, verdict_id=name, opened_at=START, since=START)
        world.add(f"finding/{name}", opened, name, START, START)
    async with running(build, clock=SimulatedClock(START), language=language) as one:
        await publish(one.environment.log, world.events)
        await consumed(one.services["indicators"])
        await one.client.post("/login", content=f"key={one.key}")
        pages = {name: (await one.client.get(f"/findings/{name}")).text for name in lent}
    words = {
        "es": {"begins": "Empezó el 2 ene 2026 con algo nuevo", "kin": "quejas parecidas de otras partes (grupos: 5; al día: 1,25), con el peso de 2,4", "all": "de todas las quejas (grupos: 31;", "none": "se supuso 1,25 al día"},
        "en": {"begins": "It began on 2 Jan 2026 with something new", "kin": "similar complaints elsewhere (groups: 5; a day: 1.25), counting as much as 2.4", "all": "from all complaints (groups: 31;", "none": "so 1.25 a day was assumed"},
    }[language]  # fmt: skip
    for name in ("kin", "all", "none"):
        assert words["begins"] in pages[name]
        assert words[name] in pages[name]
        assert "dispersion_weight" in pages[name]
    assert words["begins"] not in pages["before"]
    assert "19" in pages["before"]
