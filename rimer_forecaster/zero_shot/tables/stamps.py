"""Times in text: the forms that people and programs give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeAlias

from .names import month_of

__all__ = ["FORMS", "READINGS", "SHORT_MONTHS", "Form", "Moment", "day_of", "is_time"]

Moment: TypeAlias = tuple[datetime, int | None]
"""What a clock shows, and by how many minutes it is before that of Greenwich, if that is known."""

READINGS = {
    "day, month, year": "with the day first",
    "month, day, year": "with the month first",
    "year, month, day": "with the year first",
}
"""Ways to read three numbers, and how to tell of them."""

_PLAIN = ("",)
_CLOCK = (
    r"(?:(?:T|[ ,]+)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<F>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?)?"
)
_WEEKDAY = r"(?:[A-Za-z]{3,9}\.?,? )?"
_YEAR, _SHORT_YEAR, _NAME = r"(?P<y>\d{4})", r"(?P<y>\d{4}|\d{2})", r"(?P<name>[A-Za-z]{3,9})"
_MONTH, _DAY, _QUARTER = r"(?P<m>\d{1,2})", r"(?P<d>\d{1,2})", r"(?P<q>[1-4])"


@dataclass(frozen=True)
class Form:
    """A form of times in text.

    Attributes
    ----------
    pattern
        Of all of a text.
    readings
        Orders in which its numbers may be read; one that is "" if there is no doubt.
    """

    pattern: re.Pattern[str]
    readings: tuple[str, ...] = _PLAIN

    def moments(self, texts: Sequence[str], reading: str) -> list[Moment | None]:
        """Read texts; None where one is no time of this form."""
        matches = (self.pattern.fullmatch(x) for x in texts)
        return [None if x is None else _moment(x.groupdict(), reading) for x in matches]


SHORT_MONTHS = Form(re.compile(_NAME + r"[-/'](?P<y>\d{2})"))
"""Jan-20: a month as Excel writes it, or a day."""

_ORDERS = tuple(READINGS)
FORMS = (
    Form(re.compile(_YEAR + r"(?P<s>[-/. ])" + _MONTH + r"(?P=s)" + _DAY + _CLOCK)),
    Form(
        re.compile(
            _YEAR + r"(?P<m>\d{2})(?P<d>\d{2})"
            r"(?:[T ]?(?P<H>\d{2}):?(?P<M>\d{2})(?::?(?P<S>\d{2}))?)?Z?"
        )
    ),
    Form(re.compile(_DAY + r"\." + _MONTH + r"\." + _SHORT_YEAR + _CLOCK)),
    Form(
        re.compile(r"(?P<a>\d{1,2})(?P<s>[-/ ])(?P<b>\d{1,2})(?P=s)(?P<c>\d{4})" + _CLOCK),
        _ORDERS[:2],
    ),
    Form(
        re.compile(r"(?P<a>\d{1,2})(?P<s>[-/])(?P<b>\d{1,2})(?P=s)(?P<c>\d{2})" + _CLOCK), _ORDERS
    ),
    Form(re.compile(_WEEKDAY + _DAY + r"[-/. ]?" + _NAME + r"\.?[-/., ]*" + _SHORT_YEAR + _CLOCK)),
    Form(re.compile(_WEEKDAY + _NAME + r"\.? " + _DAY + r",? " + _YEAR + _CLOCK)),
    Form(re.compile(_YEAR + r"[-/. ]?" + _NAME + r"\.?[-/. ]?(?P<d>\d{1,2})?")),
    Form(re.compile(_YEAR + r"[-/ ]?M?" + _MONTH)),
    Form(re.compile(_MONTH + r"[-/ ]" + _YEAR)),
    Form(re.compile(_NAME + r"\.?[-/., ]*" + _YEAR)),
    SHORT_MONTHS,
    Form(re.compile(_YEAR + r"[-/ .]?[Qq]" + _QUARTER)),
    Form(re.compile(r"[Qq]" + _QUARTER + r"[-/ .,']*" + _SHORT_YEAR)),
    Form(re.compile(_QUARTER + r"[Qq][-/ .,']*" + _SHORT_YEAR)),
    Form(re.compile(_YEAR + r"[-/ ]?[Ww](?P<w>\d{1,2})(?:-?(?P<wd>[1-7]))?")),
    Form(re.compile(_YEAR)),
)


def is_time(text: str) -> bool:
    """Whether a text is a time, in one form and reading or another."""
    return any(form.moments([text], x)[0] for form in FORMS for x in form.readings)


def day_of(year: int, month: int, day: int) -> datetime | None:
    """Return a day; None if there is none."""
    try:
        return datetime(year, month, day)
    except ValueError:
        return None


def _moment(part: dict[str, str | None], reading: str) -> Moment | None:
    if reading:
        first, second, third = reading.split(", ")
        given = {first: part["a"], second: part["b"], third: part["c"]}
        year, month, day = (given[x] or "" for x in ("year", "month", "day"))
    else:
        year, month, day = part["y"] or "", part.get("m") or "1", part.get("d") or "1"
    y = int(year)
    if len(year) < 3:
        y += 2000 if y < 69 else 1900
    if not 1500 <= y <= 2500 and y != 9999:  # which stands for no end, and is refused later
        return None
    m = int(month)
    if week := part.get("w"):
        try:
            return datetime.combine(
                date.fromisocalendar(y, int(week), int(part.get("wd") or 1)), datetime.min.time()
            ), None
        except ValueError:
            return None
    if quarter := part.get("q"):
        m = 3 * int(quarter) - 2
    elif name := part.get("name"):
        m = month_of(name)
    found = day_of(y, m, int(day))
    return None if found is None else _with_clock(found, part)


def _with_clock(day: datetime, part: dict[str, str | None]) -> Moment | None:
    hour, minute, second = (int(part.get(x) or 0) for x in "HMS")
    if half := part.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half in "pP")
    if minute > 59 or second > 59 or hour > 24 or (hour == 24 and minute + second):
        return None
    fraction = int((part.get("F") or "0").ljust(6, "0")[:6])
    since = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=fraction)
    if day > datetime.max - since:
        return None
    return day + since, _east(part.get("zone"))


def _east(zone: str | None) -> int | None:
    if zone is None or zone in ("Z", "UTC", "GMT"):
        return None if zone is None else 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if zone[0] == "-" else minutes
