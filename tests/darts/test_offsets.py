"""Offsets of pandas as JSON, and back."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import offsets
from pandas.tseries.holiday import USFederalHolidayCalendar

pytest.importorskip("darts", reason="the darts side needs darts")

from rimer_forecaster.darts.offsets import described_offset, offset_from

BASES = {"BaseOffset", "Tick"}
PLAIN = [getattr(offsets, name)() for name in offsets.__all__ if name not in BASES]
SPECIAL = [
    offsets.CustomBusinessDay(holidays=["2020-01-02"], weekmask="Mon Wed Fri"),
    offsets.CustomBusinessDay(2, calendar=np.busdaycalendar("1110000", ["2020-01-02"])),
    offsets.CustomBusinessDay(calendar=USFederalHolidayCalendar()),
    offsets.CustomBusinessHour(holidays=["2020-01-02"], start="08:00", end="12:30"),
    offsets.CustomBusinessMonthEnd(holidays=["2020-01-31"]),
    offsets.BusinessHour(start=["09:30", "14:00"], end=["12:00", "17:00"]),
    offsets.BusinessDay(offset=datetime.timedelta(hours=3)),
    offsets.DateOffset(months=2, days=3),
    offsets.DateOffset(5),
    offsets.FY5253(weekday=4, startingMonth=2, variation="last"),
    offsets.FY5253Quarter(weekday=4, startingMonth=2, qtr_with_extra_week=3),
    offsets.LastWeekOfMonth(weekday=3),
    offsets.MonthBegin(2, normalize=True),
    offsets.QuarterBegin(startingMonth=2),
    offsets.SemiMonthBegin(day_of_month=10),
    offsets.Week(3, weekday=2),
    offsets.WeekOfMonth(week=1, weekday=3),
    offsets.YearEnd(month=3),
]


def again(offset: Any) -> Any:
    return offset_from(json.loads(json.dumps(described_offset(offset))))


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    assert one == other
    assert described_offset(one) == described_offset(other)
    start = pd.Timestamp("2019-12-30 10:15")
    stamps = [pd.date_range(start, periods=30, freq=freq) for freq in (one, other)]
    assert stamps[0].equals(stamps[1])


@pytest.mark.parametrize("offset", [*PLAIN, *SPECIAL], ids=repr)
def test_every_offset_of_pandas_comes_back(offset: Any) -> None:
    assert_same(again(offset), offset)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 9),
    holidays=st.sets(st.dates(datetime.date(2020, 1, 1), datetime.date(2020, 3, 1)), max_size=9),
    days=st.lists(st.booleans(), min_size=7, max_size=7).filter(any),
)
def test_any_working_days_come_back(n: int, holidays: set[Any], days: list[bool]) -> None:
    week = "".join("1" if day else "0" for day in days)
    offset = offsets.CustomBusinessDay(n, weekmask=week, holidays=sorted(holidays))
    assert_same(again(offset), offset)


def test_an_offset_of_nobody_else_is_refused() -> None:
    class Own(offsets.Week):
        pass

    with pytest.raises(ValueError, match=r"is none of the offsets in pandas\.offsets"):
        described_offset(Own())


@pytest.mark.parametrize("name", ["Own", "annotations", "BaseOffset.__class__", "__doc__"])
def test_a_name_that_is_no_offset_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="pandas has no offset"):
        offset_from({"name": name, "n": 1, "normalize": False, "arguments": {}})
