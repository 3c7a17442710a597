"""What a finding's page says of its numbers, for somebody who knows no statistics."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.indicators.console import findings as page
from services.indicators.console.render import Voice
from services.indicators.console.shared import window_of
from services.indicators.domain.findings import Fact, Finding

BOGOTA = ZoneInfo("America/Bogota")


def evaluation(**changed: Any) -> dict[str, Any]:
    return {
        "method": "odds-1", "window_start": "2026-06-20T00:00:00+00:00", "window_end": "2026-06-27T00:00:00+00:00",
        "observed": 44.0, "expected": 6.8, "upper": 19.0, "customers": 44, "contacts": 44, "parameters": {},
    } | changed  # fmt: skip


def visit(language: str) -> Any:
    return SimpleNamespace(voice=Voice(language, BOGOTA))


def said(language: str = "en", **changed: Any) -> str:
    found = Finding("f1", verdict="systemic", evaluation=evaluation(**changed))
    return " ".join(page._plain(visit(language), found))


@pytest.mark.parametrize("language", ["es", "en"])
def test_a_count_within_what_chance_can_bring_is_not_called_out_of_the_ordinary(language: str) -> None:
    """25 were counted where up to 26 would have been ordinary, and yet it was said that chance does not explain it."""
    high, lasting = said(language), said(language, observed=25.0, upper=26.0, customers=25)
    ordinary, goes_on = {
        "es": ("habría sido normal", "lo que no es casualidad es que siga pasando"),
        "en": ("would have been ordinary", "what is not chance is that it goes on"),
    }[language]
    assert (ordinary in high, goes_on in high) == (True, False)
    assert (ordinary in lasting, goes_on in lasting) == (False, True)


def test_more_counted_than_customers_is_explained() -> None:
    assert "whoever comes back after two weeks is counted again" in said(observed=50.0)
    assert "counted again" not in said()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-06-20T00:00:00+00:00", "2026-06-27T00:00:00+00:00"),
        ("2026-06-20T00:00:00-05:00", "2026-06-27T00:00:00-05:00"),
    ],
)
def test_a_window_is_told_by_the_days_it_holds_whoever_parted_them(start: str, end: str) -> None:
    """Seven days of a monitor that parts its days by UTC were told in Bogotá as eight, from the day before."""
    window = window_of(Voice("es", BOGOTA), {"window_start": start, "window_end": end})
    assert window == (date(2026, 6, 20), date(2026, 6, 26))


def _fact(number: int, what: str, day: int, **data: Any) -> Fact:
    at = int(datetime(2026, 6, day, tzinfo=UTC).timestamp() * 1_000_000)
    return Fact(event_id=f"e{number}", finding_id="f1", version=number, what=what, at=at, recorded_at=at, data=data)


def test_history_is_told_as_it_happened_and_the_same_verdict_on_and_on_is_one_line() -> None:
    found = Finding("f1")
    found.history = [
        _fact(1, "finding.opened", 9),
        _fact(2, "verdict.reached", 8, verdict="systemic"),
        _fact(3, "verdict.reached", 10, verdict="systemic"),
        _fact(4, "verdict.reached", 11, verdict="systemic"),
        _fact(5, "finding.confirmed", 12, by="ana"),
    ]
    lines = [(line["what"], line["times"]) for line in page._history(visit("en"), found)]
    assert lines == [("Verdict", 1), ("Finding opened", 1), ("Verdict", 2), ("Confirmed", 1)]


def test_evidence_speaks_in_words_as_loud_as_its_weight() -> None:
    assert [page._strength(weight) for weight in (4.8, 1.0, 0.2, 0.0, -0.2, -3.0)] == [
        "for.strong", "for.clear", "for.weak", "neutral", "against.weak", "against.strong",
    ]  # fmt: skip
