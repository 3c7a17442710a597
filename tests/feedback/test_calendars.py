"""Deadlines are pure functions of reception, kind, calendar and pack (R21, R90, G9)."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.domain.calendars import Calendar, NoBusinessDays, Term
from services.feedback.domain.regimes import Regime
from services.feedback.regimes import BadRegime, Regimes, holiday_rule, load, parse

PACKS = load()
CO = PACKS["co"]


def bogota(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo("America/Bogota"))  # type: ignore[arg-type, misc]  # year … second only


def calendar(zone: str, *off: date) -> Calendar:
    return Calendar("ZZ", ZoneInfo(zone), frozenset(off).__contains__)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        # Monday 2 March 2026; Monday 23 March is San José: 3-6, 9-13, 16-20 are 14 days, the 15th is Tuesday 24.
        (bogota(2026, 3, 2, 10, 0), bogota(2026, 3, 24, 23, 59, 59)),
        # Friday evening: counting begins on Monday all the same.
        (bogota(2026, 2, 27, 23, 59), bogota(2026, 3, 20, 23, 59, 59)),
        # Saturday and Sunday end where Friday ends: none of the three counts.
        (bogota(2026, 2, 28, 8, 0), bogota(2026, 3, 20, 23, 59, 59)),
        (bogota(2026, 3, 1, 8, 0), bogota(2026, 3, 20, 23, 59, 59)),
        # Holy week 2026: Thursday 2 and Friday 3 April are off, and so is Monday 23 March.
        (bogota(2026, 3, 18, 9, 0), bogota(2026, 4, 13, 23, 59, 59)),
        # Over the year's end: 25 December (Fri), 1 January (Fri) and Monday 11 January (Epiphany) are off.
        (bogota(2026, 12, 21, 9, 0), bogota(2027, 1, 14, 23, 59, 59)),
        # 21:00 on Friday in Bogotá is Saturday in UTC: the local day decides.
        (datetime(2026, 2, 28, 2, 0, tzinfo=UTC), bogota(2026, 3, 20, 23, 59, 59)),
    ],
)
def test_g9_ley_1755_gives_fifteen_working_days_from_the_next_one(received: datetime, due: datetime) -> None:
    assert CO.deadlines(received, "complaint").due_at == due.astimezone(UTC)


def test_g9_the_type_of_petition_sets_the_term() -> None:
    received = bogota(2026, 3, 2, 10, 0)
    assert CO.deadlines(received, "request", "documents").due_at == bogota(2026, 3, 16, 23, 59, 59).astimezone(UTC)
    # 30 working days for a consultation: San José, Maundy Thursday and Good Friday lie in between.
    assert CO.deadlines(received, "inquiry").due_at == bogota(2026, 4, 16, 23, 59, 59).astimezone(UTC)
    assert CO.deadlines(received, "claim").term == {
        "amount": 15, "unit": "business_day", "calendar": "CO", "regime": "co", "checked": "2026-11-22",
    }  # fmt: skip


def test_g9_a_holiday_declared_late_moves_the_deadlines_that_cross_it() -> None:
    late = Calendar("CO", ZoneInfo("America/Bogota"), holiday_rule("CO", None, [date(2026, 3, 10)], []))
    worked = Calendar("CO", ZoneInfo("America/Bogota"), holiday_rule("CO", None, [], [date(2026, 3, 23)]))
    term, received = Term(15, "business_day"), bogota(2026, 3, 2, 10, 0)
    assert term.end(received, late) == bogota(2026, 3, 25, 23, 59, 59).astimezone(UTC)
    assert term.end(received, worked) == bogota(2026, 3, 23, 23, 59, 59).astimezone(UTC)


def test_a_day_ends_once_where_its_last_hour_happens_twice() -> None:
    # Santiago went back from 24:00 to 23:00 on Saturday 4 April 2026: 23:59:59 came twice, the term ends with the second.
    end = Term(1, "calendar_day").end(datetime(2026, 4, 3, 12, tzinfo=UTC), calendar("America/Santiago"))
    assert end == datetime(2026, 4, 5, 3, 59, 59, tzinfo=UTC)
    # Forward from 24:00 to 01:00 on Saturday 5 September 2026: the day ends when the clock jumps.
    end = Term(1, "calendar_day").end(datetime(2026, 9, 4, 12, tzinfo=UTC), calendar("America/Santiago"))
    assert end == datetime(2026, 9, 6, 3, 59, 59, tzinfo=UTC)


def test_hours_are_elapsed_hours_over_a_clock_change() -> None:
    madrid = calendar("Europe/Madrid")
    received = datetime(2026, 3, 28, 12, 0, tzinfo=ZoneInfo("Europe/Madrid"))
    assert Term(24, "hour").end(received, madrid) == received.astimezone(UTC) + timedelta(hours=24)
    # Eight weeks of DISP 1.6 are 56 calendar days, whatever the clocks do in between.
    end = Term(56, "calendar_day").end(received, madrid)
    assert end.astimezone(ZoneInfo("Europe/Madrid")) == datetime(
        2026, 5, 23, 23, 59, 59, tzinfo=ZoneInfo("Europe/Madrid")
    )


def test_a_calendar_term_may_roll_to_the_next_business_day() -> None:
    received = datetime(2026, 3, 2, 12, tzinfo=UTC)  # Monday; five days on is Saturday
    assert Term(5, "calendar_day").end(received, calendar("UTC")).date() == date(2026, 3, 7)
    assert Term(5, "calendar_day", roll=True).end(received, calendar("UTC", date(2026, 3, 9))).date() == date(
        2026, 3, 10
    )


@given(
    received=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),
    amount=st.integers(1, 60),
    zone=st.sampled_from(["America/Bogota", "America/Santiago", "Pacific/Auckland", "Asia/Kolkata", "Atlantic/Azores"]),
)
def test_business_days_agree_with_counting_them_one_by_one(received: datetime, amount: int, zone: str) -> None:
    rule = holiday_rule("CO", None, [], [])
    days = Calendar("CO", ZoneInfo(zone), rule)
    end = Term(amount, "business_day").end(received, days)
    first, last = received.astimezone(ZoneInfo(zone)).date(), end.astimezone(ZoneInfo(zone)).date()
    between = [first + timedelta(days=n) for n in range(1, (last - first).days + 1)]
    assert sum(day.weekday() < 5 and not rule(day) for day in between) == amount
    assert last.weekday() < 5
    assert not rule(last)
    assert (
        Term(amount, "business_day").end(received + timedelta(days=1), days) >= end
    )  # never earlier for a later contact


def test_a_calendar_without_business_days_says_so_instead_of_counting_for_ever() -> None:
    with pytest.raises(NoBusinessDays, match="ZZ"):
        Term(1, "business_day").end(datetime(2026, 1, 1, tzinfo=UTC), Calendar("ZZ", ZoneInfo("UTC"), lambda _: True))


def test_a_term_needs_an_aware_instant() -> None:
    with pytest.raises(ValueError, match="aware"):
        Term(1, "business_day").end(datetime(2026, 1, 1), calendar("UTC"))


def test_every_pack_names_its_source_its_date_and_that_it_is_no_legal_advice() -> None:
    for regime in PACKS.values():
        assert regime.sources
        assert all(source.checked <= date(2026, 12, 31) for source in regime.sources)
        assert "no asesoría legal" in regime.notice["es"]
        assert "not legal advice" in regime.notice["en"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("America/Bogota", "America/Macondo"), "calendar.zone.*Macondo"),
        (("code: CO ", "code: QQ "), "calendar.code"),
        (("amount: 30", "amount: 0"), "kinds.inquiry.resolve.amount"),
        (("unit: business_day}}\nmotives", "unit: fortnight}}\nmotives"), "kinds.inquiry.resolve.unit"),
        (("checked: 2026-11-22\nsources", "checked: soon\nsources"), "checked"),
        (("kinds:", "sorts:"), "sorts"),
        (("code: co", "code: [co"), "not YAML"),
    ],
)
def test_a_wrong_pack_names_its_field(change: tuple[str, str], message: str) -> None:
    from services.feedback.regimes import FOLDER

    text = (FOLDER / "co.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    with pytest.raises(BadRegime, match=message):
        parse(text.replace(*change), "co.yaml")


def test_a_regime_is_chosen_by_source_and_a_missing_one_is_named() -> None:
    regimes = Regimes(PACKS, "default", {"bogota-desk": "co"})
    assert regimes.of("bogota-desk") is CO
    assert isinstance(regimes.of("elsewhere"), Regime)
    assert regimes.of("elsewhere").code == "default"
    with pytest.raises(BadRegime, match="mars"):
        Regimes(PACKS, "mars", {})
