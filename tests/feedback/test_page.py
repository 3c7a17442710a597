"""The customer's page: shown by GET, answered by POST, in both languages (R48, R50, R51, R52)."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.feedback.app import build as feedback
from services.feedback.domain.reach import LANGUAGES
from services.feedback.pagetexts import TEXTS
from services.feedback.wording import PURPOSES, Wording
from services.intake.app import build as intake
from tests.feedback.test_api import START, House

BROWSER = {"Accept": "text/html", "Authorization": ""}


class Form(HTMLParser):
    """What a page asks: its controls by name, and which of them have a label."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.controls: dict[str, dict[str, str | None]] = {}
        self.labels: set[str] = set()
        self.tags: list[str] = []
        self.lang: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "html":
            self.lang = given.get("lang")
        if tag in {"input", "textarea"} and given.get("type") != "hidden":
            self.controls[given.get("id") or "?"] = given
        if tag == "label" and given.get("for"):
            self.labels.add(str(given["for"]))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = SimulatedClock(START)
    async with running(intake, feedback, clock=clock, public_url="https://lazo.example") as found:
        await found.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        yield House(found, clock)


async def asked(house: House, **more: Any) -> str:
    """The path of the answer page of a complaint that was resolved."""
    await house.contact(**more)
    await house.update("resolved", outcome="upheld", note="Refunded.")
    link: str = (await house.request("answer"))["link"]
    return link.removeprefix("https://lazo.example")


async def post(house: House, path: str, **fields: str) -> httpx.Response:
    return await house.client.post(path, data=fields, headers=BROWSER)


async def written(house: House) -> int:
    store = house.running.services["feedback"].runtime.store
    async with store.reading() as connection:
        count: int = (await connection.execute(select(func.count()).select_from(store.tables.events))).scalar_one()
    return count


async def test_get_and_head_show_the_page_and_record_nothing(house: House) -> None:
    path = await asked(house)
    before = await written(house)
    for _ in range(3):
        page = await house.client.get(path + "?score=4", headers=BROWSER)
        assert page.status_code == 200
        assert 'value="4" checked' in page.text
        assert (await house.client.head(path, headers=BROWSER)).status_code == 200
    assert await written(house) == before
    assert (await house.request("answer"))["status"] == "requested"


async def test_the_policy_lets_nothing_run_and_nothing_leak(house: House) -> None:
    path = await asked(house)
    page = await house.client.get(path, headers=BROWSER)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "noindex" in page.headers["x-robots-tag"]
    assert "script" not in Form(page.text).tags
    assert " style=" not in page.text
    assert "ana@example.org" not in page.text
    style = await house.client.get("/feedback/static/page.css", headers=BROWSER)
    assert style.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("language", ["es", "en"])
async def test_r48_the_page_speaks_the_customer_s_language_with_a_switch(house: House, language: str) -> None:
    path = await asked(house, language=language)
    page = await house.client.get(path, headers=BROWSER | {"Accept-Language": "de"})
    form = Form(page.text)
    assert form.lang == language == page.headers["content-language"]
    assert TEXTS[language]["title"] in page.text
    assert all(control in form.labels for control in form.controls)
    assert len(form.controls) == 3 + 5 + 2
    other = "en" if language == "es" else "es"
    assert f'href="{path}?lang={other}"' in page.text
    switched = await house.client.get(f"{path}?lang={other}", headers=BROWSER)
    assert Form(switched.text).lang == other
    thanks = await post(house, path, helped="same", lang=other)
    assert TEXTS[other]["thanks"] in thanks.text


async def test_r51_r52_post_records_the_answer_once(house: House) -> None:
    path = await asked(house)
    first = await post(house, path, helped="worse", score="2", comment="Sigue igual <b>", need="Un plan prepago")
    assert first.status_code == 200
    assert TEXTS["en"]["thanks"] in first.text
    again = await post(house, path, helped="better", score="5")
    assert again.status_code == 200
    assert TEXTS["en"]["already_title"] in again.text
    shown = await house.client.get(path, headers=BROWSER)
    assert TEXTS["en"]["already_title"] in shown.text
    answers = [step["data"] for step in (await house.case())["history"] if step["type"] == "lazo.feedback.answered.v1"]
    [answer] = answers
    assert (answer["helped"], answer["score"], answer["comment"], answer["need"], answer["new_need"]) == (
        "worse", 2, "Sigue igual <b>", "Un plan prepago", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"score": "6"},
        {"score": "0"},
        {"score": "5; drop"},
        {"helped": "very"},
        {"comment": "   "},
        {"comment": "x" * 4001},
        {"score": "٣"},
    ],
)
async def test_an_answer_that_cannot_be_read_is_shown_again_with_what_is_wrong(
    house: House, fields: dict[str, str]
) -> None:
    path = await asked(house)
    before = await written(house)
    page = await post(house, path, **fields)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert TEXTS["en"]["error_title"] in page.text
    assert await written(house) == before


async def test_what_the_customer_wrote_is_shown_again_as_text_and_never_as_markup(house: House) -> None:
    path = await asked(house)
    page = await post(house, path, score="9", comment="</textarea><script>alert(1)</script>")
    assert page.status_code == 422
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text


async def test_a_page_after_its_end_is_gone_and_an_unknown_one_is_not_found(house: House) -> None:
    path = await asked(house)
    await house.advance(timedelta(days=31))
    for answer in (await house.client.get(path, headers=BROWSER), await post(house, path, score="5")):
        assert answer.status_code == 410
        assert TEXTS["en"]["over_title"] in answer.text
    for wrong in ("x", "A" * 32, "%00", "é" * 32, "../" * 4):
        answer = await house.client.get(f"/feedback/s/{wrong}", headers=BROWSER | {"Accept-Language": "es"})
        assert answer.status_code == 404
    unknown = await house.client.get("/feedback/s/" + "A" * 32, headers=BROWSER | {"Accept-Language": "es"})
    assert TEXTS["es"]["unknown_title"] in unknown.text
    assert (await post(house, "/feedback/s/" + "A" * 32, score="5")).status_code == 404


async def test_g5_the_page_of_an_erased_person_is_gone(house: House) -> None:
    path = await asked(house)
    await house.client.delete(f"/intake/v1/customers/{(await house.case())['customer_id']}")
    await house.running.settle()
    assert (await house.client.get(path, headers=BROWSER)).status_code == 410
    assert (await post(house, path, score="5")).status_code == 410


async def test_a_body_that_is_no_form_of_ours_is_refused(house: House) -> None:
    path = await asked(house)
    before = await written(house)
    many = "&".join(f"a{number}=1" for number in range(50))
    bodies = [(many, "application/x-www-form-urlencoded"), ('{"score": 5}', "application/json"), ("", "text/plain")]
    bodies.append(("--x\r\nbroken", "multipart/form-data; boundary=x"))
    for body, kind in bodies:
        answer = await house.client.post(path, content=body, headers=BROWSER | {"Content-Type": kind})
        assert 400 <= answer.status_code < 500
    assert await written(house) == before


def test_r48_r90_every_message_exists_in_both_languages_short_and_respectful() -> None:
    wording = Wording(public_url="https://lazo.example/", contact={"es": "601 555 0000", "en": "601 555 0000"})
    from zoneinfo import ZoneInfo

    for language in LANGUAGES:
        for purpose in PURPOSES:
            text = wording.text(
                purpose, language, number="R-1", kind="claim", due=START, zone=ZoneInfo("America/Bogota"),
                outcome="not_upheld", said="Revisamos el medidor.", token="t" * 32,
            )  # fmt: skip
            assert "R-1" in text
            assert "601 555 0000" in text  # a path to a person
            assert len(text) < 900
            assert not re.search(r"\{[{%]|None|\n\n\n", text)
            assert text.startswith("Hola" if language == "es" else "Hello")


def test_what_people_write_is_never_run_as_a_template() -> None:
    wording = Wording(public_url="https://lazo.example", contact={})
    from zoneinfo import ZoneInfo

    said = "{{ 7 * 7 }} {% for x in y %} {{ ''.__class__ }}"
    text = wording.text("response", "en", number="R-1", kind="claim", due=START, zone=ZoneInfo("UTC"), said=said)
    assert said in text


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["es"].keys() == TEXTS["en"].keys()
    assert all(text.strip() for texts in TEXTS.values() for text in texts.values())
