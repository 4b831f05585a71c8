"""Rules for due times: ``weekdays 09:00``, ``every 30m``, ``cron: 0 9 * * 1-5``, a date.

Pure, on aware datetimes; due times are in UTC, since Python compares two of one other zone by
what their clocks show. Times of the day are local times of a zone, so that 09:00 stays 09:00
over a change of the clocks. A local time that does not exist that day (the clocks go forward) is
taken with the offset before the change, as cron and RFC 5545 (3.3.5) do: 02:30 becomes 03:30. One
that comes twice is due the first time. What is due every so many minutes, or in every hour of a
cron line, goes by the time that passes, and takes both.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capture.errors import ConfigError
from capture.units import parse_duration

DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
HOUR_S, DAY_S = 3600, 86_400
MIN_EVERY_S = 10
"""Starting a recorder takes half a second of a core."""
HORIZON_DAYS = 366 * 9
"""29 February may be eight years away (1896 to 1904); what does not come by then never does."""
LONGEST_SHIFT = timedelta(hours=3)
"""No zone has ever changed its clock by more at once, but for whole days at the date line."""

_HINT = 'write "weekdays 09:00", "every 30m", "2026-12-01 20:15" or "cron: 0 9 * * 1-5"'


@dataclass(frozen=True, slots=True)
class When:
    """A rule for due times; from ``parse_when``."""

    text: str
    """The text of the rule."""
    zone: str
    """Name of the time zone, such as Europe/Berlin."""
    once: datetime | None = None
    """The only due time, aware."""
    every_s: float | None = None
    """Seconds of real time between due times."""
    anchor_s: float | None = None
    """Wall time from which those count; ``None``: from full local hours."""
    times_s: tuple[int, ...] = ()
    """Local times of the day, in s since midnight, on the days that fit."""
    weekdays: frozenset[int] = frozenset(range(7))
    """0 is Monday."""
    days: frozenset[int] = frozenset(range(1, 32))
    months: frozenset[int] = frozenset(range(1, 13))
    is_either_day: bool = False
    """Cron's rule: where days of the month and of the week are both given, one is enough."""
    is_hourly: bool = False
    """A cron line for every hour goes by the time that passes."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time after an aware moment, in UTC; ``None``: there is none."""
        moment = moment.astimezone(UTC)
        if self.once is not None:
            return self.once if self.once > moment else None
        zone = ZoneInfo(self.zone)
        if self.every_s is not None:
            return self._next_step(moment, self.every_s, zone)
        found = [self._next_local(moment, zone, fold) for fold in (0, 1)[: 1 + self.is_hourly]]
        return min((due for due in found if due is not None), default=None)

    def oddities(self, moment: datetime, *, days: int = 366) -> list[str]:
        """One sentence for each coming change of the clocks that affects a due time."""
        zone = ZoneInfo(self.zone)
        sentences = []
        day = moment.astimezone(zone).date()
        for _ in range(days):
            day += timedelta(days=1)
            before, after = (
                datetime.combine(each, time(12), zone).utcoffset()
                for each in (day - timedelta(days=1), day)
            )
            if before != after and self.times_s and not self.is_hourly and self._fits(day):
                midnight = datetime.combine(day, time())
                for seconds in self.times_s:
                    odd = _oddity(midnight + timedelta(seconds=seconds), zone)
                    sentences += [odd] if odd else []
        return sentences

    def _fits(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.weekday() in self.weekdays
        return (in_month or in_week) if self.is_either_day else (in_month and in_week)

    def _next_local(self, moment: datetime, zone: ZoneInfo, fold: int) -> datetime | None:
        """The first moment later than another at which the clocks show one of the times.

        Args:
            moment: Aware.
            zone: Whose clocks.
            fold: Which of two is meant where a time comes twice.
        """
        best: datetime | None = None
        best_shown = datetime.max  # noqa: DTZ901 - what the local clock shows then
        start = moment.astimezone(zone).replace(tzinfo=None) - LONGEST_SHIFT
        for days in range(HORIZON_DAYS):
            day = start.date() + timedelta(days=days)
            if day > best_shown.date():
                return best
            for seconds in self.times_s if self._fits(day) else ():
                naive = datetime.combine(day, time()) + timedelta(seconds=seconds)
                if naive < start:
                    continue
                # A time that was moved on may come after one that is later on the clock.
                if naive > best_shown:
                    return best
                due = _resolved(naive, zone, fold)
                shown = _shown(due, zone)
                if self.is_hourly and shown != naive:
                    continue  # it does not exist, and the next full hour does
                if due > moment and (best is None or due < best):
                    best, best_shown = due, shown
        return best

    def _next_step(self, moment: datetime, every_s: float, zone: ZoneInfo) -> datetime:
        if self.anchor_s is not None:
            base_s = self.anchor_s
        else:
            offset = moment.astimezone(zone).utcoffset()
            assert offset is not None
            base_s = -offset.total_seconds()
        # In whole microseconds, so that a due time is the same however it was come by.
        every_us, base_us = round(every_s * 1e6), round(base_s * 1e6)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        since_us = (moment - epoch) // timedelta(microseconds=1) - base_us
        due_us = (since_us // every_us + 1) * every_us + base_us
        return epoch + timedelta(microseconds=due_us)


def parse_when(text: str, zone: str, now: datetime) -> When:
    """The rule for a text such as ``weekdays 09:00``.

    Args:
        text: As people write it.
        zone: Name of the time zone whose clocks are meant.
        now: Aware; what is due only once must lie after it.

    Raises:
        ConfigError: The text is no rule, or a rule that is never due.
    """
    words = " ".join(text.split()).lower()
    zone_of(zone)
    if words.startswith("cron:"):
        when = _parse_cron(words.removeprefix("cron:").strip(), text, zone)
    elif words.startswith("every ") and not words.startswith("every day"):
        when = _parse_every(words.removeprefix("every "), text, zone, now)
    elif found := re.fullmatch(r"(?:every )?([a-z,\- ]+?)(?: at)? ([\d:, ]+)", words):
        days = frozenset(_parse_days(found[1], text))
        when = When(text, zone, times_s=_parse_times(found[2], text), weekdays=days)
    else:
        when = When(text, zone, once=parse_moment(text, zone=zone, now=now))
    if when.next_after(now) is None:
        raise ConfigError(f"{text!r} never comes", hint="look at its day and its month")
    return when


def parse_moment(
    text: str, *, zone: str | None = None, now: datetime | None = None, late_s: float = 0.0
) -> datetime:
    """A moment from ``20:15`` (today or tomorrow), ``2026-12-01 20:15``, or an ISO time; in UTC.

    Args:
        text: As people write it.
        zone: Whose clocks are meant; by default this machine's.
        now: Aware; by default the present.
        late_s: A date so little in the past is taken all the same.

    Raises:
        ConfigError: It is none of these, or a date in the past.
    """
    zone_info = zone_of(zone or local_zone())
    now = now or datetime.now(UTC)
    words = text.strip()
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", words):
        (seconds,) = _parse_times(words, text)
        today = datetime.combine(now.astimezone(zone_info).date(), time())
        naive = today + timedelta(seconds=seconds)
        due = _resolved(naive, zone_info)
        return due if due > now else _resolved(naive + timedelta(days=1), zone_info)
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        moment = None
    if moment is None or not re.match(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d", words):
        raise ConfigError(f"{text!r} is no time", hint=_HINT)
    due = moment if moment.tzinfo else _resolved(moment, zone_info)
    if due <= now - timedelta(seconds=late_s):
        shown = now.astimezone(zone_info)
        raise ConfigError(
            f"{text} is in the past", hint=f"it is {shown:%Y-%m-%d %H:%M} in {zone_info.key} now"
        )
    return due.astimezone(UTC)


def oddity_of(moment_text: str, zone: str) -> str | None:
    """A sentence if a local time is skipped or repeated in a zone; ``None``: it is neither."""
    try:
        naive = datetime.fromisoformat(moment_text.strip())
    except ValueError:
        return None
    return None if naive.tzinfo else _oddity(naive, zone_of(zone))


@lru_cache(maxsize=1)
def local_zone() -> str:
    """Name of this machine's time zone; UTC where it has none."""
    import tzlocal  # noqa: PLC0415 - a schedule whose zone is known does without

    try:
        return tzlocal.get_localzone_name() or "UTC"
    except (ValueError, ZoneInfoNotFoundError):
        return "UTC"


def zone_of(name: str) -> ZoneInfo:
    """The time zone of a name.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"there is no time zone {name!r}", hint="write one such as Europe/Berlin or UTC"
        ) from None


def _resolved(naive: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """The moment of a local time: of two the first; a skipped one is moved on."""
    return naive.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    """Local time at a moment, without its zone."""
    return moment.astimezone(zone).replace(tzinfo=None)


def _oddity(naive: datetime, zone: ZoneInfo) -> str | None:
    due = _resolved(naive, zone)
    day = f"{naive:%Y-%m-%d} in {zone.key}"
    if _shown(due, zone) != naive:
        return f"{naive:%H:%M} doesn't exist on {day}: runs at {_shown(due, zone):%H:%M}"
    if _resolved(naive, zone, fold=1) != due:
        first = due.astimezone(zone).isoformat()[-6:]
        return f"{naive:%H:%M} comes twice on {day}: runs at the first (UTC{first})"
    return None


def _parse_every(words: str, text: str, zone: str, now: datetime) -> When:
    if words in {"hour", "minute"}:
        words = f"1 {words}"
    short = re.sub(r"\s*(hours?|minutes?|seconds?)", lambda unit: unit[1][0], words)
    try:
        every_s = parse_duration(short)
    except ValueError:
        raise ConfigError(f"{text!r} is no interval", hint='write "every 30m"') from None
    if every_s < MIN_EVERY_S:
        raise ConfigError(
            f"{text!r} is due too often", hint=f"a schedule takes {MIN_EVERY_S} s or more"
        )
    if HOUR_S % every_s == 0:
        return When(text, zone, every_s=every_s)
    if every_s % HOUR_S == 0 and DAY_S % every_s == 0:
        return When(text, zone, times_s=tuple(range(0, DAY_S, round(every_s))))
    return When(text, zone, every_s=every_s, anchor_s=now.timestamp())


def _parse_days(words: str, text: str) -> Iterator[int]:
    for word in words.replace(",", " ").split():
        if word in {"daily", "day", "days"}:
            yield from range(7)
        elif word in {"weekdays", "weekday"}:
            yield from range(5)
        elif word in {"weekends", "weekend"}:
            yield from (5, 6)
        else:
            first, _, last = word.partition("-")
            start = _parse_day(first, text)
            end = _parse_day(last, text) if last else start
            yield from ((start + step) % 7 for step in range((end - start) % 7 + 1))


def _parse_day(word: str, text: str) -> int:
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    for number, name in enumerate(days):
        if len(word) >= len("mon") and name.startswith(word.removesuffix("s")):
            return number
    raise ConfigError(f"{text!r} is no time", hint=_HINT)


def _parse_times(words: str, text: str) -> tuple[int, ...]:
    times = set()
    for word in words.replace(",", " ").split():
        try:
            clock = time.fromisoformat(word.zfill(5))
        except ValueError:
            raise ConfigError(f"{word!r} in {text!r} is no time of the day", hint=_HINT) from None
        times.add(clock.hour * HOUR_S + clock.minute * 60 + clock.second)
    return tuple(sorted(times))


# --------------------------------------------------------------------------------------- cron lines

_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, MONTH_NAMES),
    ("weekday", 0, 7, ("sun", *DAY_NAMES)),
)


def _parse_cron(words: str, text: str, zone: str) -> When:
    """The five fields of crontab(5); Sunday is 0 and 7."""
    fields = words.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ConfigError(
            f"a cron line has five fields, and {words!r} has {len(fields)}",
            hint="minute, hour, day, month, weekday, such as 0 9 * * 1-5",
        )
    minutes, hours, days, months, weekdays = (
        frozenset(_parse_cron_field(field, *kind))
        for field, kind in zip(fields, _CRON_FIELDS, strict=True)
    )
    return When(
        text,
        zone,
        times_s=tuple(sorted(h * HOUR_S + m * 60 for h in hours for m in minutes)),
        days=days,
        months=months,
        weekdays=frozenset((day - 1) % 7 for day in weekdays),
        is_either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        is_hourly=fields[1].startswith("*"),
    )


def _parse_cron_field(
    field: str, what: str, low: int, high: int, names: tuple[str, ...]
) -> Iterator[int]:
    def number(word: str) -> int:
        if word in names:
            return low + names.index(word)
        if not re.fullmatch(r"\d+", word) or not low <= int(word) <= high:
            raise ConfigError(
                f"{word!r} is no {what} in a cron line", hint=f"it takes {low} to {high}"
            )
        return int(word)

    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first == "*":
            start, end = low, high
        else:
            start = number(first)
            end = number(last) if last else (high if step else start)
        if step and (not re.fullmatch(r"\d+", step) or int(step) == 0):
            raise ConfigError(f"{part!r} has no step in a cron line", hint="write */15")
        if end < start:
            raise ConfigError(f"{part!r} ends before it begins", hint="write the smaller one first")
        yield from range(start, end + 1, int(step or 1))
