"""Time points that do not follow on one another: the advice keeps every value."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="needs the extra 'sktime'")

from hypothesis import given, settings
from hypothesis import strategies as st

from rimer_forecaster.sktime.uneven import check_grid

STEPS = [
    *("D", "h", "15min", "2h", "3D", "B", "W-SUN", "W-WED", "MS", "ME", "QS", "QE", "QS-FEB"),
    *("QE-JAN", "YS", "YE", "YS-APR", "YE-JUN"),
]


def refusal(index: pd.Index) -> str:
    with pytest.raises(ValueError, match="the time points of y are not") as error:
        check_grid({(): pd.DataFrame({"y": np.arange(len(index))}, index=index)})
    return str(error.value)


@given(st.sampled_from(STEPS), st.sets(st.integers(1, 38), min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_the_step_in_the_advice_keeps_all_values_and_adds_those_absent(
    step: str, absent: set[int], data: st.DataObject
) -> None:
    zone = data.draw(st.sampled_from([None, "UTC", "Europe/Paris"]))
    whole = pd.date_range("2021-03-20", periods=40, freq=step, tz=zone)
    message = refusal(whole.delete(sorted(absent)))
    advice = re.search(r"y\.asfreq\('(.+?)'\)", message)
    assert advice is not None, message
    y = pd.Series(1.0, index=whole.delete(sorted(absent))).asfreq(advice[1])
    pd.testing.assert_index_equal(y.index, whole, check_names=False)
    assert f"{len(absent)} are absent, the first being {whole[min(absent)]}" in message


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-31", periods=40, freq="MS").repeat([1] * 39 + [3]),
        pd.period_range("2020-01", periods=40, freq="M").repeat([1] * 39 + [3]),
        pd.Index([*range(39), 38, 38]),
    ],
)
def test_time_points_that_are_there_twice_are_named_as_such(index: pd.Index) -> None:
    assert f"not unique: {index[-1]} is there 3 times" in refusal(index)


def test_times_in_no_step_get_no_step_as_advice() -> None:
    seconds = np.random.default_rng(0).integers(1, 10**6, 40).cumsum()
    index = pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds, unit="s")
    message = refusal(pd.DatetimeIndex(index))
    assert "in no step with gaps" in message
    assert "asfreq" not in message


def test_steps_of_days_are_found_across_a_day_of_23_hours() -> None:
    whole = pd.date_range("2021-03-20", periods=40, freq="3D", tz="Europe/Paris")
    assert "y.asfreq('3D')" in refusal(whole.delete([1]))
