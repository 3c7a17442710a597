"""What is logged says nothing about a person."""

import orjson
import pytest

from libs.service.http.problems import TITLES
from libs.service.logs import clean, redact


def test_every_code_has_a_title_in_both_languages() -> None:
    assert all(english and spanish and english != spanish for english, spanish in TITLES.values())


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("wrote to ana.p+x@mail.example.co today", "ana.p"),
        ("call +57 (300) 123-4567", "300"),
        ("key lz_abcd2345_zzzzzzzzzzzzzzzzz", "zzz"),
        ("token lz1.AbC-_9", "AbC"),
        ("Authorization: Bearer eyJhbGciOi.x.y", "eyJ"),
    ],
)
def test_what_looks_like_a_persons_address_number_or_key_is_not_logged(text: str, hidden: str) -> None:
    assert hidden not in clean(text)


def test_fields_marked_personal_are_not_logged_at_any_depth() -> None:
    event = {
        "event": "x", "text": "me duele", "nested": {"email": "a@b.co", "rows": [{"customer_name": "Ana"}]},
        "count": 3, "request_id": "0123456789abcdef01234567", "raw": b"bytes",
    }  # fmt: skip
    logged = orjson.dumps(redact(None, "info", event)).decode()
    for hidden in ("duele", "a@b.co", "Ana"):
        assert hidden not in logged
    assert '"count":3' in logged
    assert "0123456789abcdef01234567" in logged
    assert "5 bytes" in logged


def test_a_library_s_traceback_is_logged_as_places_without_the_message() -> None:
    try:
        raise RuntimeError("ana@example.com")
    except RuntimeError as error:
        event = redact(None, "error", {"event": "x", "exc_info": (type(error), error, error.__traceback__)})
    assert event["error"] == "RuntimeError"
    assert "test_logs.py" in str(event["places"])
    assert "ana" not in str(event)
