"""Which calls a narrowed route is there for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.narrowing import EVERY_DAY, Narrowing, Window, is_zone

LONDON = "Europe/London"
NINE, HALF_PAST_FIVE, TEN_PM, SIX = 9 * 60, 17 * 60 + 30, 22 * 60, 6 * 60


def at(text: str, zone: str = LONDON, fold: int = 0) -> float:
    """Unix time of a moment on the wall."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


OFFICE = Window(LONDON, (0, 1, 2, 3, 4), NINE, HALF_PAST_FIVE)
FRIDAY_NIGHT = Window(LONDON, (4,), TEN_PM, SIX)
EVENING = Window(LONDON, (4,), TEN_PM, 0)
CHRISTMAS = Window(LONDON, first="2026-12-25", last="2026-12-26")
NEW_YEARS_EVE = Window(LONDON, EVERY_DAY, TEN_PM, SIX, first="2026-12-31", last="2026-12-31")


@pytest.mark.parametrize(
    ("window", "moment", "holds"),
    [
        # Thursday in winter, Thursday in summer: the same on the wall.
        (OFFICE, "2026-01-29T09:00", True),
        (OFFICE, "2026-01-29T08:59:59", False),
        (OFFICE, "2026-01-29T17:29:59", True),
        (OFFICE, "2026-01-29T17:30", False),
        (OFFICE, "2026-07-30T09:00", True),
        (OFFICE, "2026-07-30T08:59:59", False),
        (OFFICE, "2026-07-30T17:30", False),
        (OFFICE, "2026-01-31T12:00", False),
        # Over midnight it belongs to the day on which it begins.
        (FRIDAY_NIGHT, "2026-01-30T21:59", False),
        (FRIDAY_NIGHT, "2026-01-30T22:00", True),
        (FRIDAY_NIGHT, "2026-01-31T00:00", True),
        (FRIDAY_NIGHT, "2026-01-31T05:59:59", True),
        (FRIDAY_NIGHT, "2026-01-31T06:00", False),
        (FRIDAY_NIGHT, "2026-01-30T05:00", False),
        (FRIDAY_NIGHT, "2026-01-31T23:00", False),
        (EVENING, "2026-01-30T23:59:59", True),
        (EVENING, "2026-01-31T00:00", False),
        (CHRISTMAS, "2026-12-24T23:59:59", False),
        (CHRISTMAS, "2026-12-25T00:00", True),
        (CHRISTMAS, "2026-12-26T23:59:59", True),
        (CHRISTMAS, "2026-12-27T00:00", False),
        (NEW_YEARS_EVE, "2027-01-01T05:59", True),
        (NEW_YEARS_EVE, "2027-01-01T22:00", False),
        (NEW_YEARS_EVE, "2026-12-31T05:59", False),
    ],
)
def test_a_window_holds_by_the_clock_on_the_wall(window: Window, moment: str, holds: bool) -> None:
    assert window.holds(at(moment)) is holds


def test_an_hour_that_the_clocks_repeat_comes_twice_and_one_that_they_skip_does_not() -> None:
    window = Window(LONDON, start=60, end=120)
    assert window.holds(at("2026-10-25T01:30", fold=0))
    assert window.holds(at("2026-10-25T01:30", fold=1))
    begin = at("2026-03-29T00:00")
    assert not any(window.holds(begin + minute * 60) for minute in range(23 * 60))


def test_the_zone_decides_not_the_machines_own() -> None:
    moment = at("2026-01-29T03:00", "Asia/Tokyo")
    assert Window("Asia/Tokyo", (3,), 180, 181).holds(moment)
    assert not Window("America/New_York", (3,), 180, 181).holds(moment)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from((LONDON, "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")),
    st.sets(st.sampled_from(EVERY_DAY), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1440),
)
def test_a_window_is_the_minutes_from_its_beginning_to_its_end(
    moment: datetime, zone: str, days: set[int], start: int, end: int
) -> None:
    now = moment.replace(tzinfo=UTC).timestamp()
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    over = 1440 if end <= start else 0
    today = start <= minute < end + over and local.weekday() in days
    yesterday = minute + 1440 < end + over and (local - timedelta(days=1)).weekday() in days
    assert Window(zone, tuple(sorted(days)), start, end).holds(now) == (today or yesterday)


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.dates(date(2020, 1, 1), date(2030, 1, 1)))
def test_dates_are_compared_as_dates(first: date, today: date) -> None:
    now = at(f"{today}T12:00")
    assert Window(LONDON, first=str(first)).holds(now) == (first <= today)
    assert Window(LONDON, last=str(first)).holds(now) == (today <= first)


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Lundun", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 500])
def test_what_is_no_zone_holds_never_and_says_so(name: str) -> None:
    assert not is_zone(name)
    assert not Window(name).holds(0.0)
    assert Narrowing(times=(Window(name),)).mismatch("1", "t", (), 0.0).endswith("is not known on this machine")


NOON = at("2026-01-29T12:00")


@pytest.mark.parametrize(
    ("narrowing", "why"),
    [
        (Narrowing(), ""),
        (Narrowing(callers=("+4420", "10")), ""),
        (Narrowing(callers=("+33", "+49")), "the caller begins with none of +33, +49"),
        (Narrowing(callers=("2", "3", "4", "5", "6")), "the caller begins with none of 2, 3, 4 and 2 more"),
        (Narrowing(trunks=("branch", "office")), ""),
        (Narrowing(trunks=("branch",)), "not for trunk office"),
        (Narrowing(tags=("staff",)), ""),
        (Narrowing(tags=("staff", "gold")), "trunk office has no tag gold"),
        (Narrowing(times=(FRIDAY_NIGHT, OFFICE)), ""),
        (Narrowing(times=(FRIDAY_NIGHT,)), "not at this time: Thu 2026-01-29 12:00 in Europe/London"),
        (Narrowing(("1",), ("office",), ("staff",), (OFFICE,)), ""),
        (Narrowing(("2",), ("office",), ("staff",), (OFFICE,)), "the caller begins with none of 2"),
    ],
)
def test_everything_that_is_said_must_fit(narrowing: Narrowing, why: str) -> None:
    assert narrowing.mismatch("1001", "office", ("staff", "london"), NOON) == why
