"""What a series is but its values, as JSON and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("darts", reason="the darts side needs darts")

from darts import TimeSeries

from rimer_forecaster.darts.schemas import described, series_from

DAYS = pd.date_range("2020-01-01", periods=5, freq="D")


def series(times: Any = DAYS, *, dtype: Any = np.float64, **schema: Any) -> TimeSeries:
    return TimeSeries(
        times=times, values=np.zeros((len(times), 2), dtype), components=["a", "b"], **schema
    )


def again(one: TimeSeries) -> TimeSeries:
    return series_from(json.loads(json.dumps(described(one))))


def assert_same(found: TimeSeries, one: TimeSeries) -> None:
    assert found.end_time() == one.end_time()
    assert found.time_index.dtype == one.time_index.dtype
    assert found.freq == one.freq
    assert found.dtype == one.dtype
    schemas = [x.schema() for x in (found, one)]
    frames = [schema.pop("static_covariates") for schema in schemas]
    assert [list(schema.pop("columns")) for schema in schemas] == [["a", "b"]] * 2
    assert schemas[0] == schemas[1]
    if frames[1] is None:
        assert frames[0] is None
    else:
        pd.testing.assert_frame_equal(*frames, check_exact=True)


@pytest.mark.parametrize(
    "one",
    [
        series(),
        series(dtype=np.float32),
        series(DAYS.rename("day")),
        series(pd.RangeIndex(3, 18, 3)),
        series(pd.RangeIndex(-15, 0, 3, name="step")),
        *(
            series(pd.DatetimeIndex(DAYS.as_unit(unit), freq="D"))
            for unit in ("s", "ms", "us", "ns")
        ),
        series(pd.date_range("2020-01-01 00:00:00.000000001", periods=5, freq="7ns", unit="ns")),
        series(pd.date_range("2020-01-01", periods=5, freq=pd.DateOffset(months=2))),
        series(hierarchy={"b": ["a"]}, metadata={"place": "Oslo", "at": [59.9, 10.7], "n": None}),
    ],
    ids=lambda one: f"{one.freq_str if one.has_datetime_index else one.freq} {one.dtype}",
)
def test_what_a_series_is_comes_back(one: TimeSeries) -> None:
    assert_same(again(one), one)


VALUES = st.one_of(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=2, max_size=2),
    st.lists(st.sampled_from(["001", "1.0", "1e3", "nan", "True", ""]), min_size=2, max_size=2),
    st.lists(st.floats(allow_infinity=False), min_size=2, max_size=2),
    st.lists(st.integers(-(2**53), 2**53), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=2, max_size=2),
)


@settings(max_examples=100, deadline=None)
@given(columns=st.lists(VALUES, min_size=1, max_size=3), dtype=st.sampled_from(["f4", "f8"]))
def test_any_static_covariates_come_back(columns: list[list[Any]], dtype: str) -> None:
    static = pd.DataFrame({f"c{i}": column for i, column in enumerate(columns)})
    one = series(dtype=np.dtype(dtype), static_covariates=static)
    assert_same(again(one), one)


def test_static_covariates_of_any_dtype_come_back() -> None:
    static = pd.DataFrame(
        {
            "kind": pd.Categorical(["x", "y"], categories=["y", "x", "z"], ordered=True),
            "code": pd.Series(["001", "002"], dtype=object),
            "since": pd.to_datetime(["2020-01-01 00:00", "2021-06-30 12:30"]),
        }
    )
    assert_same(again(series(static_covariates=static)), series(static_covariates=static))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"metadata": {"at": (1, 2)}}, "the metadata of a series .* becomes"),
        ({"metadata": {1: "one"}}, "the metadata of a series"),
        ({"metadata": {"f": print}}, "the schema of a series .*not JSON serializable"),
        (
            {"static_covariates": pd.DataFrame({"x": [(1, 2), None]})},
            "the static_covariates of a series .* their values or dtypes change",
        ),
    ],
)
def test_what_would_not_come_back_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        described(series(**schema))


def test_an_offset_of_nobody_else_is_named() -> None:
    class Own(pd.offsets.Week):
        pass

    with pytest.raises(ValueError, match=r"the freq of a series .* is none of the offsets"):
        described(series(pd.date_range("2020-01-01", periods=5, freq=Own())))
