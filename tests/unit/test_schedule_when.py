"""When something is due: the grammar, years of due times, and the changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from capture.errors import ConfigError
from capture.schedule.when import oddity_of, parse_moment, parse_when
from tests.unit.stepped import at, due_times

NOW = at("2026-11-22 17:00")  # a Sunday
BERLIN = "Europe/Berlin"


def shown(text: str, zone: str = BERLIN, *, after: datetime = NOW, count: int = 3) -> list[str]:
    """The next due times as the zone's clocks show them, with the offset."""
    dues = islice(due_times(parse_when(text, zone, NOW), after), count)
    return [f"{due.astimezone(ZoneInfo(zone)):%a %d.%m. %H:%M:%S %z}" for due in dues]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("weekdays 09:00", "Mon 23.11. 09:00:00"),
        ("daily 07:00", "Mon 23.11. 07:00:00"),
        ("every day at 7:00", "Mon 23.11. 07:00:00"),
        ("daily 07:00, 19:00", "Sun 22.11. 19:00:00"),
        ("mon,wed 18:30", "Mon 23.11. 18:30:00"),
        ("tue-thu 10:15", "Tue 24.11. 10:15:00"),
        ("fri-mon 10:15:30", "Mon 23.11. 10:15:30"),
        ("tuesdays 10:15", "Tue 24.11. 10:15:00"),
        ("weekends 11:00", "Sat 28.11. 11:00:00"),
        ("every 30m", "Sun 22.11. 18:30:00"),
        ("every hour", "Sun 22.11. 19:00:00"),
        ("every 2 hours", "Sun 22.11. 20:00:00"),
        ("every 45m", "Sun 22.11. 18:45:00"),
        ("every 10s", "Sun 22.11. 18:00:10"),
        ("20:15", "Sun 22.11. 20:15:00"),
        ("17:59", "Mon 23.11. 17:59:00"),
        ("2026-12-01 20:15", "Tue 01.12. 20:15:00"),
        ("2026-12-01T20:15:30+00:00", "Tue 01.12. 21:15:30"),
        ("cron: 0 9 * * 1-5", "Mon 23.11. 09:00:00"),
        ("cron: 0 9 * * 0", "Sun 29.11. 09:00:00"),
        ("cron: 0 9 * * 7", "Sun 29.11. 09:00:00"),
        ("cron: 0 0 13 * fri", "Fri 27.11. 00:00:00"),
        ("cron: */20 * * dec *", "Tue 01.12. 00:00:00"),
        ("cron: 30 6 29 2 *", "Tue 29.02. 06:30:00"),
    ],
)
def test_what_can_be_written(text: str, first: str) -> None:
    assert shown(text, count=1)[0].startswith(first)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "9",
        "daily",
        "daily 7",
        "weekdays 24:00",
        "moonday 10:00",
        "2026-11-01 09:00",
        "2026-11-22 16:59:59+00:00",
        "2026-13-01 09:00",
        "every 2s",
        "every now and then",
        "cron: 61 * * * *",
        "cron: 0 9 * *",
        "cron: 0 0 30 2 *",
        "cron: 5-1 * * * *",
        "cron: */0 * * * *",
    ],
)
def test_what_makes_no_sense_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_when(text, BERLIN, NOW)
    assert "\n" not in error.value.message
    assert error.value.hint


def test_an_unknown_zone() -> None:
    for zone in ("Europe/Atlantis", "../etc/passwd", ""):
        with pytest.raises(ConfigError, match="no time zone"):
            parse_when("daily 07:00", zone, NOW)


@pytest.mark.parametrize("zone", [BERLIN, "America/New_York"])
def test_a_year_of_weekdays_has_the_right_local_times(zone: str) -> None:
    rule = parse_when("weekdays 09:00", zone, NOW)
    dues = [due for due in islice(due_times(rule, NOW), 400) if due < NOW + timedelta(days=365)]
    local = [due.astimezone(ZoneInfo(zone)) for due in dues]
    assert {(due.hour, due.minute, due.weekday() < 5) for due in local} == {(9, 0, True)}
    assert len(dues) == 261
    assert len({due.utcoffset() for due in local}) == 2
    assert {(b - a) / timedelta(hours=1) for a, b in pairwise(dues)} == {24, 72, 71, 73}


def test_a_time_that_does_not_exist_and_one_that_comes_twice() -> None:
    spring, autumn = at("2027-03-27 12:00"), at("2027-10-30 12:00")
    assert shown("daily 02:30", after=spring) == [
        "Sun 28.03. 03:30:00 +0200",
        "Mon 29.03. 02:30:00 +0200",
        "Tue 30.03. 02:30:00 +0200",
    ]
    assert shown("daily 02:30", after=autumn, count=2) == [
        "Sun 31.10. 02:30:00 +0200",
        "Mon 01.11. 02:30:00 +0100",
    ]
    # Moved on, it must neither come before one that is earlier now nor swallow it.
    assert shown("daily 02:30, 03:00, 03:30", after=spring) == [
        "Sun 28.03. 03:00:00 +0200",
        "Sun 28.03. 03:30:00 +0200",
        "Mon 29.03. 02:30:00 +0200",
    ]


@pytest.mark.parametrize("text", ["every 20m", "cron: */20 * * * *"])
@pytest.mark.parametrize("day", ["2027-03-27 20:00", "2027-10-30 20:00"])
def test_what_comes_by_the_minute_goes_by_the_time_that_passes(text: str, day: str) -> None:
    dues = list(islice(due_times(parse_when(text, BERLIN, NOW), at(day)), 30))
    assert {b - a for a, b in pairwise(dues)} == {timedelta(minutes=20)}


def test_the_days_of_the_changes_are_named() -> None:
    rule = parse_when("daily 02:30", BERLIN, NOW)
    assert rule.oddities(NOW) == [
        "02:30 doesn't exist on 2027-03-28 in Europe/Berlin: runs at 03:30",
        "02:30 comes twice on 2027-10-31 in Europe/Berlin: runs at the first (UTC+02:00)",
    ]
    assert parse_when("daily 09:00", BERLIN, NOW).oddities(NOW) == []
    assert "runs at 03:30" in (oddity_of("2027-03-28 02:30", BERLIN) or "")
    assert oddity_of("2027-03-28 09:30", BERLIN) is None


def test_a_recorder_that_comes_up_late_for_its_time_records_at_once() -> None:
    assert parse_moment("2026-11-22 16:59:30+00:00", now=NOW, late_s=60) < NOW
    with pytest.raises(ConfigError, match="in the past"):
        parse_moment("2026-11-22 16:58:30+00:00", now=NOW, late_s=60)


TEXTS = st.sampled_from(
    ["weekdays 09:00", "daily 02:30", "every 15m", "every 2h", "cron: 7 * * * *", "every 50m"]
)
ZONES = st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])


@given(TEXTS, ZONES, st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)))  # noqa: DTZ001 - UTC is put on
def test_due_times_do_not_depend_on_when_they_are_asked_for(
    text: str, zone: str, moment: datetime
) -> None:
    rule = parse_when(text, zone, at("2026-01-01"))
    first, second = islice(due_times(rule, moment.replace(tzinfo=UTC)), 2)
    assert moment.replace(tzinfo=UTC) < first < second
    assert rule.next_after(first - timedelta(microseconds=1)) == first
    assert rule.next_after(first + (second - first) / 2) == second
