"""What RimerForecaster remembers: updates, the series of a panel, missing values."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from rounding import assert_same_but_for_rounding
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import SlidingWindowSplitter
from sktime_cases import TINY, caused, panel, wave, with_gaps

from rimer_forecaster import RimerForecaster


def test_update_without_parameters_moves_the_context_only() -> None:
    y = wave()
    forecaster = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
    weights = deepcopy(forecaster.network_.state_dict())
    before = forecaster.predict()
    forecaster.update(y[100:], update_params=False)
    after = forecaster.predict()
    assert forecaster.cutoff == y.index[-1:]
    assert after.index[0] == y.index[-1] + 1
    assert not np.allclose(after, before)
    for name, weight in forecaster.network_.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("update_params", [False, True])
def test_windows_that_overlap_what_is_known_change_nothing(update_params: bool) -> None:
    y = wave()
    forecasts = []
    for new in (y[100:], y[60:], y):
        forecaster = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
        forecasts.append(forecaster.update(new, update_params=update_params).predict())
    pd.testing.assert_frame_equal(forecasts[1], forecasts[0])
    pd.testing.assert_frame_equal(forecasts[2], forecasts[0])


def test_one_value_at_a_time_is_as_good_as_all_at_once() -> None:
    y = wave()
    at_once = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
    at_once.update(y[100:], update_params=False)
    one_by_one = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
    for i in range(100, 120):
        one_by_one.update(y[i : i + 1], update_params=False)
    pd.testing.assert_frame_equal(one_by_one.predict(), at_once.predict())


def test_update_with_parameters_trains_on_what_is_new() -> None:
    """The season changes from four to five steps, and the forecaster follows."""
    rng = np.random.default_rng(0)
    pulses = np.concatenate([np.arange(200) % 4 == 0, np.arange(200) % 5 == 0])
    y = pd.Series(pulses + 0.01 * rng.normal(size=400))
    settings = {**TINY, "n_epochs": 50, "learning_rate": 1e-2, "output_chunk_length": 5}
    errors = {}
    for update_params in (False, True):
        forecaster = RimerForecaster(**settings).fit(y[:200], fh=range(1, 6))
        for start in range(200, 380, 20):
            forecaster.update(y[start : start + 20], update_params=update_params)
        errors[update_params] = MeanAbsoluteError()(y[380:385], forecaster.predict())
    assert errors[True] < 0.7 * errors[False]


def test_update_predict_looks_at_nothing_after_the_cutoff() -> None:
    y = wave()
    forecaster = RimerForecaster(**TINY).fit(y[:80], fh=[1])
    cv = SlidingWindowSplitter(fh=[1], window_length=30, step_length=1)
    changed = y.copy()
    changed.iloc[100:] += 50
    moving = forecaster.update_predict(y[50:], cv=cv, update_params=False)
    disturbed = forecaster.update_predict(changed[50:], cv=cv, update_params=False)
    known = moving.index <= y.index[100]
    np.testing.assert_array_equal(moving[known], disturbed[known])
    assert not np.allclose(moving[~known], disturbed[~known])


def test_a_panel_trains_one_model_and_each_series_goes_on_from_its_own_end() -> None:
    y = panel({"a": 120, "b": 60, "c": 90})
    forecaster = RimerForecaster(**TINY).fit(y, fh=range(1, 4))
    assert not hasattr(forecaster, "forecasters_"), "one model, not one a series"
    forecast = forecaster.predict()
    assert forecast.index.names == ["shop", "day"]
    for i, name in enumerate("abc"):
        end = y.loc[name].index[-1]
        assert list(forecast.loc[name].index) == [end + 1, end + 2, end + 3]
        assert (forecast.loc[name] - 100 * i).abs().to_numpy().max() < 3
    quantiles = forecaster.predict_quantiles(alpha=[0.1, 0.9])
    assert quantiles.index.equals(forecast.index)
    assert (quantiles[("y0", 0.1)] <= quantiles[("y0", 0.9)]).all()


def test_a_panel_update_moves_the_series_that_got_values() -> None:
    y = panel({"a": 80, "b": 80})
    forecaster = RimerForecaster(**TINY).fit(y.groupby(level=0).head(70), fh=[1])
    forecaster.update(y.loc[["b"]], update_params=True)
    forecast = forecaster.predict()
    assert forecast.loc["a"].index[0] == y.loc["a"].index[70]
    assert forecast.loc["b"].index[0] == y.loc["b"].index[-1] + 1


def test_a_hierarchy() -> None:
    y = pd.concat({"north": panel({"a": 40, "b": 40}), "south": panel({"a": 40})}, names=["region"])
    forecast = RimerForecaster(**TINY).fit(y, fh=[1, 2]).predict()
    assert list(forecast.index.droplevel(-1).unique()) == [
        ("north", "a"),
        ("north", "b"),
        ("south", "a"),
    ]


def test_a_panel_with_causes() -> None:
    y, X = caused(60)
    both = pd.concat({"a": y, "b": 2 * y}), pd.concat({"a": X, "b": X})
    past = both[0].groupby(level=0).head(50), both[1].groupby(level=0).head(50)
    forecaster = RimerForecaster(**TINY).fit(*past, fh=range(1, 6))
    forecast = forecaster.predict(X=both[1])
    assert forecast.shape == (10, 1)
    with pytest.raises(ValueError, match=r"X of series \('b',\) has no row for 5 of"):
        forecaster.predict(X=both[1].loc[["a"]])


@pytest.mark.parametrize("streaming", [False, True])
def test_series_of_a_panel_are_forecast_with_their_own_causes(streaming: bool) -> None:
    y, X = panel({"a": 60, "b": 60}), panel({"a": 66, "b": 66}).rename(columns={"y0": "x"})
    X.loc["b"] = -2 * X.loc["b"].to_numpy()
    settings = {**TINY, "streaming": streaming}
    both = RimerForecaster(**settings).fit(y, X=X[X.index.isin(y.index)], fh=range(1, 7))
    weights = both._fitted.weights()
    forecast = both.predict(X=X)
    for name in "ab":
        alone = RimerForecaster(**{**settings, "n_epochs": 0}, pretrained=weights)
        alone.fit(y.loc[name], X=X.loc[name][:60], fh=range(1, 7))
        expected = alone.predict(X=X.loc[name])
        np.testing.assert_allclose(forecast.loc[name], expected, rtol=1e-4, atol=1e-4)


def test_gaps_are_masked_and_cost_little() -> None:
    y = wave(300)
    errors = []
    for given in (y, with_gaps(y)):
        forecaster = RimerForecaster(**{**TINY, "n_epochs": 20})
        forecast = forecaster.fit(given.iloc[:-24], fh=range(1, 25)).predict()
        errors.append(float((forecast - y.iloc[-24:]).abs().mean().iloc[0]))
    assert errors[1] < 1.25 * errors[0]


def test_a_missing_value_is_no_zero_and_a_missing_cause_its_last_value() -> None:
    y, X = wave(120), wave(130).rename(columns={"y0": "x"})
    gaps, unknown = y.copy(), X.copy()
    gaps.iloc[-3], unknown.iloc[110:114] = np.nan, np.nan
    forecaster = RimerForecaster(**TINY).fit(gaps, X=unknown, fh=range(1, 7))
    forecast = forecaster.predict(X=unknown)
    assert np.isfinite(forecast.to_numpy()).all()
    filled = forecaster.predict(X=unknown.ffill())
    pd.testing.assert_frame_equal(forecast, filled)
    memory = forecaster._fitted.memory
    zeros = {(): replace(memory.series[()], y=gaps.fillna(0.0))}
    forecaster._fitted = forecaster._fitted._replace(memory=replace(memory, series=zeros))
    assert not np.allclose(forecaster.predict(X=unknown), forecast)


@pytest.mark.parametrize("streaming", [False, True])
def test_updates_with_gaps_go_on(streaming: bool) -> None:
    y = with_gaps(wave(140), 0.2)
    y.iloc[-1] = 0.5
    settings = {**TINY, "streaming": streaming}
    one = RimerForecaster(**settings).fit(y.iloc[:120], fh=range(1, 7))
    other = one.clone().fit(y.iloc[:120], fh=range(1, 7))
    one.update(y.iloc[120:], update_params=False)
    for i in range(120, 140):
        other.update(y.iloc[i : i + 1], update_params=False)
    assert_same_but_for_rounding(one.predict(), other.predict())
    assert np.isfinite(one.predict().to_numpy()).all()


def test_where_nothing_was_observed_is_named() -> None:
    y = wave(60, columns=2)
    y["y1"] = np.nan
    with pytest.raises(ValueError, match="y has no value in column 'y1' from 2020-01-01 to"):
        RimerForecaster(**TINY).fit(y, fh=[1])
    y = wave(60)
    y.iloc[-30:] = np.nan
    forecaster = RimerForecaster(**TINY).fit(y, fh=[1])
    with pytest.raises(ValueError, match=r"y has no value in column 'y0' .* longer input_chunk"):
        forecaster.predict()
    X = wave(60).rename(columns={"y0": "x"}) * np.nan
    with pytest.raises(ValueError, match="X has no value in column 'x'"):
        RimerForecaster(**TINY).fit(wave(60), X=X, fh=[1])
