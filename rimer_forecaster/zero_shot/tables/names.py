"""What names of columns say."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "hints_at_time",
    "is_blank",
    "is_named_as_counter",
    "is_named_as_part_of_date",
    "is_named_as_series",
    "is_named_as_thing",
    "is_named_as_time",
    "is_strongly_named",
    "month_of",
    "months_of",
]

_STRONG = {
    "ds", "date", "dates", "datetime", "time", "times", "timestamp", "timestamps", "datum", "zeit",
    "zeitstempel", "uhrzeit", "fecha", "tijd", "dato", "data", "epoch", "unixtime",
}  # fmt: skip
_WEAK = {
    "month", "year", "day", "week", "quarter", "hour", "period", "yearmonth", "yyyymm", "yyyymmdd",
    "t", "step", "index", "idx", "obs", "observation", "jahr", "monat", "tag", "woche", "mes", "dt",
    "yr", "mo", "annee", "jour", "mois", "yearmon", "yearqtr",
}  # fmt: skip
_AROUND = {
    "utc", "gmt", "local", "iso", "unix", "s", "ms", "sec", "seconds", "start", "begin", "of",
}  # fmt: skip
_PARTS_OF_DATES = {
    "year", "month", "day", "hour", "minute", "quarter", "week", "weekday", "dayofweek", "dow",
    "day_of_week", "dayofyear", "day_of_year", "weekofyear", "week_of_year", "yr", "mnth", "hr",
}  # fmt: skip
_SERIES = {"unique_id", "item_id", "series_id", "ts_id", "id", "series"}
_THINGS = _SERIES | {"name", "key", "store", "item", "product", "sku", "store_nbr", "location"}
_ROWS = {"no", "row", "rowid", "row_id", "rownames", "#", "n", "obs", "record", "instant"}
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))


def is_named_as_time(name: str) -> bool:
    """Whether a column is called as one of times is, so that its numbers may be times."""
    words = _words(name)
    return bool(words & (_STRONG | _WEAK)) and words <= _STRONG | _WEAK | _AROUND


def is_strongly_named(name: str) -> bool:
    """Whether a column is called as one of times alone is."""
    return is_named_as_time(name) and bool(_words(name) & _STRONG)


def hints_at_time(name: str) -> bool:
    """Whether a name speaks of times, as ``order_date`` does."""
    return bool(_words(name) & (_STRONG - {"data"}))


def is_blank(name: str) -> bool:
    """Whether a column has no name, or that of an index without one."""
    return re.fullmatch(r"(Unnamed: |column )\d+|index", name) is not None


def is_named_as_series(name: str) -> bool:
    """Whether a column is called as one that tells series apart."""
    return name.lower() in _SERIES


def is_named_as_thing(name: str) -> bool:
    """Whether a column is called as one that may tell series apart, even by numbers."""
    return name.lower() in _THINGS or re.search(r"[_ ]id$", name.lower()) is not None


def is_named_as_part_of_date(name: str) -> bool:
    """Whether a column is called as one that repeats what the time of its row says."""
    return name.lower() in _PARTS_OF_DATES


def is_named_as_counter(name: str) -> bool:
    """Whether a column is called as one that numbers rows."""
    return name.lower() in _ROWS


def month_of(name: str) -> int:
    """Return the number of a month by its English name, in full or in short; 0 if it is none."""
    short = name.strip(". ").lower()
    found = [i for i, month in enumerate(_MONTHS, 1) if short in (month, month[:3])]
    return found[0] if found else 9 * (short == "sept")


def months_of(names: Sequence[str]) -> list[int] | None:
    """Numbers of months by their names, or None if these are others."""
    found = [month_of(x) for x in names]
    return found if all(found) else None
