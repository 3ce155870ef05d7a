"""What RimerForecaster makes of time points: indices, gaps between them, and the past."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from rounding import assert_same_but_for_rounding
from sktime.forecasting.base import ForecastingHorizon
from sktime.transformations.detrend import Detrender
from sktime_cases import TINY, caused, panel, wave

from rimer_forecaster import RimerForecaster

DAYS = pd.date_range("2020-01-01", periods=121, freq="D")


def without_freq(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(list(index))


INDICES = {
    "range": pd.RangeIndex(5, 125),
    "integers": pd.Index(np.arange(7, 127)),
    "month ends": pd.date_range("2020-01-31", periods=120, freq="ME"),
    "month ends, no freq": without_freq(pd.date_range("2020-01-31", periods=120, freq="ME")),
    "business days, no freq": without_freq(pd.bdate_range("2020-01-01", periods=120)),
    "days over a clock change": pd.date_range("2020-02-01", periods=120, tz="Europe/Paris"),
    "hours over a clock change, no freq": without_freq(
        pd.date_range("2020-03-27", periods=120, freq="h", tz="Europe/Paris")
    ),
    "hours of UTC": pd.date_range("2020-01-01", periods=120, freq="h", tz="UTC"),
    "periods": pd.period_range("2020-01", periods=120, freq="M"),
    "quarters": pd.period_range("2000Q1", periods=120, freq="Q"),
    "periods of a quarter of an hour": pd.period_range("2020-01-01", periods=120, freq="15min"),
    "periods of two days": pd.period_range("2020-01-01", periods=120, freq="2D"),
}


@pytest.mark.parametrize("together", [False, True], ids=["series", "panel"])
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_any_regular_index(index: pd.Index, together: bool) -> None:
    """Ahead, back, and on after an update."""
    y = wave().set_axis(index)
    if together:
        y = pd.concat({"a": y, "b": y + 1}, names=["shop", "time"])

    def part(rows: slice) -> pd.DataFrame:
        return (
            y.groupby(level=0, group_keys=False).apply(lambda x: x[rows]) if together else y[rows]
        )

    forecaster = RimerForecaster(**TINY).fit(part(slice(-4)), fh=[-2, 1, 3])
    forecaster.update(part(slice(-4, -3)), update_params=False)
    forecast = forecaster.predict()
    labels = forecast.loc["a"].index if together else forecast.index
    expected = index[[-6, -3, -1]]
    pd.testing.assert_index_equal(labels, expected, check_names=False, exact="equiv")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (DAYS[np.cumsum(np.arange(15) % 4)], "of y are not evenly spaced: most are .* apart, but"),
        (DAYS.delete(30), "2020-01-30 00:00:00 is followed by 2020-02-01.*asfreq.'D'"),
        (pd.bdate_range("2020-01-01", periods=50).delete(20), r"are not evenly spaced.* NaN|grid"),
        (
            pd.period_range("2020-01", periods=50, freq="M").delete(7),
            "2020-07 is followed by 2020-09",
        ),
        (pd.RangeIndex(0, 100, 2), "not consecutive: 0 is followed by 2.*number the time points"),
        (pd.Index([*range(30), *range(31, 60)]), "29 is followed by 31"),
    ],
    ids=["uneven", "a day is absent", "a holiday", "a month is absent", "every other", "a number"],
)
@pytest.mark.parametrize("together", [False, True], ids=["series", "panel"])
def test_an_uneven_index_is_named(index: pd.Index, message: str, together: bool) -> None:
    """sktime fails at some without a word, and takes others for a regular one."""
    y = wave(len(index)).set_axis(index)
    if together:
        regular = wave(20).set_axis(pd.RangeIndex(20)) if index.dtype == int else None
        y = pd.concat({"b": y} if regular is None else {"a": regular, "b": y}, names=["s", "t"])
        message = message.replace("of y are", r"of y of series \('b',\) are")
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**TINY).fit(y, fh=[1])


def test_the_remedy_for_an_absent_day_works() -> None:
    y = wave(60).set_axis(DAYS[:60])
    holes = y.drop(DAYS[[30, 41]])
    forecast = RimerForecaster(**TINY).fit(holes.asfreq("D"), fh=[1, 2]).predict()
    marked = y.copy()
    marked.iloc[[30, 41]] = np.nan
    pd.testing.assert_frame_equal(
        forecast, RimerForecaster(**TINY).fit(marked, fh=[1, 2]).predict()
    )


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("index", [DAYS, pd.RangeIndex(121), DAYS.to_period()], ids=repr)
def test_time_that_passes_between_updates_is_missing(index: pd.Index, streaming: bool) -> None:
    """It is not cut out."""
    y = wave(121).set_axis(index)
    settings = {**TINY, "streaming": streaming}
    gaps = y.copy()
    gaps.iloc[100:107] = np.nan
    one, other = (RimerForecaster(**settings).fit(y[:100], fh=[1, 2]) for _ in range(2))
    one.update(y[107:], update_params=False)
    other.update(gaps[100:], update_params=False)
    pd.testing.assert_frame_equal(one.predict(), other.predict())
    cut = RimerForecaster(**settings).fit(y[:100], fh=[1, 2])
    cut.update(y[107:].set_axis(index[100:114]), update_params=False)
    assert not np.allclose(cut.predict(), one.predict())


def test_causes_of_time_that_passed_need_not_be_known() -> None:
    y, X = caused(120)
    forecaster = RimerForecaster(**TINY).fit(y[:100], X=X[:100], fh=[1])
    forecaster.update(y[105:], X=X[105:], update_params=False)
    later = X.set_axis(X.index + 120)
    assert forecaster.predict(X=later).notna().all(axis=None)


def test_what_pandas_took_for_month_ends_may_turn_out_to_be_business_months() -> None:
    index = without_freq(pd.date_range("2020-06-30", periods=20, freq="BME"))
    assert pd.infer_freq(index[:4]) == "ME"
    y = wave(20).set_axis(index)
    forecaster = RimerForecaster(**TINY).fit(y[:4], fh=[1])
    forecaster.update(y[4:12], update_params=False)
    assert forecaster.predict().index[0] == index[12]


def test_a_time_point_beside_the_grid_is_named() -> None:
    y = wave(60).set_axis(DAYS[:60])
    forecaster = RimerForecaster(**TINY).fit(y, fh=[1])
    new = pd.DataFrame({"y0": [0.0]}, index=[pd.Timestamp("2020-03-02 05:00")])
    with pytest.raises(ValueError, match=r"2020-03-02 05:00:00 is not on the grid .* step is D"):
        forecaster.update(new, update_params=False)


@pytest.fixture(scope="module")
def fitted_once() -> RimerForecaster:
    return RimerForecaster(**TINY).fit(wave(), fh=range(1, 7))


@pytest.fixture
def fitted(fitted_once: RimerForecaster) -> RimerForecaster:
    return deepcopy(fitted_once)


def test_a_forecast_of_the_past_is_what_would_have_been_forecast(fitted: RimerForecaster) -> None:
    """One step ahead, by the same weights."""
    y = wave()
    past = fitted.predict(fh=[-40, -7, 0])
    weights = fitted._fitted.weights()
    for step in (-40, -7, 0):
        then = RimerForecaster(**{**TINY, "n_epochs": 0}, pretrained=weights)
        expected = then.fit(y[: len(y) - 1 + step], fh=[1]).predict()
        assert_same_but_for_rounding(past.loc[expected.index], expected)
    disturbed = y.copy()
    disturbed.iloc[80:] += 30
    other = RimerForecaster(**{**TINY, "n_epochs": 0}, pretrained=weights)
    other.fit(disturbed, fh=[-39])
    assert_same_but_for_rounding(other.predict(), fitted.predict(fh=[-39]))


def test_all_of_the_past_but_the_first_point_can_be_forecast(fitted: RimerForecaster) -> None:
    y = wave()
    whole = fitted.predict(fh=ForecastingHorizon(y.index, is_relative=False))
    assert whole.index.equals(y.index)
    assert whole.iloc[0].isna().all(), "nothing was observed before it"
    assert whole.iloc[1:].notna().all(axis=None)
    mixed = fitted.predict(fh=[-119, -2, 0, 1, 4])
    pd.testing.assert_frame_equal(mixed.iloc[:3], whole.iloc[[0, 117, 119]], check_freq=False)
    pd.testing.assert_frame_equal(mixed.iloc[3:], fitted.predict(fh=[1, 4]), check_freq=False)
    quantiles = fitted.predict_quantiles(fh=[-5, 0, 2], alpha=[0.1, 0.5, 0.9])
    assert (np.diff(quantiles, axis=1) >= 0).all()
    with pytest.raises(ValueError, match="reaches back to the time points before 2020-01-01"):
        fitted.predict(fh=[-120])


def test_residuals_and_what_others_build_on_the_past(fitted: RimerForecaster) -> None:
    y = wave()
    residuals = fitted.predict_residuals(y[1:])
    assert residuals.abs().mean().iloc[0] < 0.5
    rest = Detrender(RimerForecaster(**TINY)).fit_transform(y)
    assert len(rest) == len(y)
    assert rest.iloc[1:].abs().mean().iloc[0] < 0.5


def test_the_past_of_a_panel_and_its_causes() -> None:
    y, X = caused(80)
    both = pd.concat({"a": y, "b": 2 * y[:60]}), pd.concat({"a": X, "b": X[:60]})
    settings = {**TINY, "n_epochs": 60, "learning_rate": 3e-3}
    forecaster = RimerForecaster(**settings).fit(*both, fh=[-20, 0])
    forecast = forecaster.predict(X=both[1])
    assert list(forecast.loc["b"].index) == [y.index[39], y.index[59]]
    for name, factor in (("a", 1), ("b", 2)):
        actual = factor * y.loc[forecast.loc[name].index]
        np.testing.assert_allclose(forecast.loc[name], actual, atol=3.0 * factor)


def test_a_window_in_which_nothing_was_observed_gives_no_forecast() -> None:
    y = wave(100)
    y.iloc[20:50] = np.nan  # longer than the look-back of 24
    past = RimerForecaster(**TINY).fit(y, fh=range(-99, 1)).predict()
    missing = past.index[past["y0"].isna()]
    assert list(missing) == [y.index[0], *y.index[44:51]]


@pytest.mark.parametrize("kept", ["update", "pickle", "deepcopy"])
def test_what_is_remembered(kept: str, fitted: RimerForecaster) -> None:
    """A deep copy remembers all, files and updated forecasters the last 24 + 6 time points."""
    before = fitted.predict(fh=range(-8, 1))
    if kept == "update":
        fitted.update(wave(121)[120:], update_params=False)
        now = fitted.predict(fh=range(-5, 0))
        assert_same_but_for_rounding(now, before.iloc[-5:])
        with pytest.raises(ValueError, match="before 2020-04-25, of which y is not remembered"):
            fitted.predict(fh=[-6])
        return
    copy: Any = deepcopy if kept == "deepcopy" else (lambda x: pickle.loads(pickle.dumps(x)))
    other = copy(fitted)
    pd.testing.assert_frame_equal(other.predict(fh=range(-5, 1)), before.iloc[-6:])
    if kept == "deepcopy":
        pd.testing.assert_frame_equal(other.predict(fh=[-90]), fitted.predict(fh=[-90]))
    else:
        with pytest.raises(ValueError, match=r"of which y is not remembered.*fit again"):
            other.predict(fh=[-6])


def test_a_series_shorter_than_what_is_remembered_is_forecast_from_its_first_point_on() -> None:
    y = wave(20)
    forecaster = RimerForecaster(**TINY).fit(y[:18], fh=[1])
    forecaster = pickle.loads(pickle.dumps(forecaster)).update(y[18:], update_params=False)
    assert forecaster.predict(fh=range(-18, 1)).notna().all(axis=None)


def test_panels_of_one_series_and_of_one_column() -> None:
    y = panel({"a": 60})
    forecast = RimerForecaster(**TINY).fit(y, fh=[-1, 1]).predict()
    assert forecast.index.nlevels == 2
