"""RimerForecaster as a stream: states that are carried, one series or a panel."""

from __future__ import annotations

import pickle
import warnings
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from rounding import assert_same_but_for_rounding
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.split import ExpandingWindowSplitter
from sktime_cases import TINY, panel, wave, with_gaps

from rimer_forecaster import RimerForecaster
from rimer_forecaster.sktime.forecasts import Fitted
from rimer_forecaster.sktime.learning import scaled


def streaming(y: pd.DataFrame, **arguments: Any) -> RimerForecaster:
    forecaster = RimerForecaster(**{**TINY, "streaming": True, **arguments})
    return forecaster.fit(y, fh=range(1, 7))


def steps_of(forecaster: RimerForecaster) -> dict[Any, int]:
    return {
        key: int(state["steps"])
        for keys, state in forecaster._fitted.streams._batches
        for key in keys
    }


def knowing(forecaster: RimerForecaster, y: pd.DataFrame) -> Fitted:
    """What a forecaster of one series would have fitted, had it read other values."""
    fitted = forecaster._fitted
    memory = replace(fitted.memory, series={(): replace(fitted.memory.series[()], y=y)})
    streams = fitted.streams
    if streams is not None:
        streams = streams.begun(fitted.network, *scaled(memory, memory.series))
    return Fitted(fitted.network, memory, streams)


def assert_forecasts_equal(one: RimerForecaster, other: RimerForecaster, **given: Any) -> None:
    found, expected = one.predict(**given), other.predict(**given)
    assert found.index.equals(expected.index)
    assert_same_but_for_rounding(found, expected)


def test_an_updated_stream_forecasts_as_if_it_had_read_everything_at_once() -> None:
    y = wave(200)
    parts, whole = streaming(y[:120]), streaming(y[:120])
    for start, end in ((120, 121), (121, 150), (140, 200)):  # the last one overlaps
        parts.update(y[start:end], update_params=False)
    whole._fitted = knowing(whole, y)  # the same weights over the whole history
    whole._set_cutoff_from_y(y)
    assert_forecasts_equal(parts, whole)
    assert steps_of(parts) == {(): 200}


def test_a_stream_remembers_what_a_window_has_forgotten() -> None:
    y = wave(200)
    forecaster = streaming(y[:150])
    window = deepcopy(forecaster)
    window._fitted = window._fitted._replace(streams=None)
    assert np.abs(forecaster.predict() - window.predict()).to_numpy().max() > 1e-6


def test_streams_of_a_panel_are_each_updated_from_their_own_end() -> None:
    y = panel({"a": 100, "b": 80})
    forecaster = streaming(y)
    more = wave(90, level=100.0, seed=1)[80:]
    new = pd.concat({"b": more}, names=["shop", "day"])
    forecaster.update(new, update_params=False)
    assert steps_of(forecaster) == {("a",): 100, ("b",): 90}
    ends = forecaster.predict().reset_index().groupby("shop")["day"].max()
    assert ends["a"] - y.loc["a"].index[-1] == ends["b"] - more.index[-1]


def test_a_stream_reads_X_up_to_the_end_of_the_horizon() -> None:
    y, X = wave(120), wave(140, columns=2, seed=5)
    forecaster = RimerForecaster(**TINY, streaming=True).fit(y[:110], X=X[:110], fh=range(1, 7))
    forecaster.update(y[110:], X=X[110:120], update_params=False)
    forecast = forecaster.predict(X=X[120:126])
    changed = forecaster.predict(X=-X[120:126])
    assert np.abs(forecast - changed).to_numpy().max() > 0
    with pytest.raises(ValueError, match="X has no row for 2 of 6 time points"):
        forecaster.predict(X=X[120:124])


def test_rows_of_X_that_are_corrected_are_read_again() -> None:
    y, X = wave(120), wave(140, columns=2, seed=5)
    forecaster = RimerForecaster(**TINY, streaming=True).fit(y[:110], X=X[:110], fh=range(1, 7))
    as_known, corrected = deepcopy(forecaster), deepcopy(forecaster)
    as_known.update(y[105:112], X=X[105:112], update_params=False)
    X = X.copy()
    X.iloc[105:110] += 3
    corrected.update(y[105:112], X=X[105:112], update_params=False)
    assert steps_of(as_known) == {(): 112}  # goes on; the other begins anew from what is known
    difference = as_known.predict(X=X[112:118]) - corrected.predict(X=X[112:118])
    assert np.abs(difference).to_numpy().max() > 1e-3


def test_values_of_y_that_are_corrected_are_read_again() -> None:
    y = wave()
    corrected = y.copy()
    corrected.iloc[90:105] += 3
    forecaster = streaming(y[:110])
    as_known, anew = deepcopy(forecaster), deepcopy(forecaster)
    as_known.update(y[90:112], update_params=False)
    anew.update(corrected[90:112], update_params=False)
    assert steps_of(as_known) == {(): 112}
    assert steps_of(anew)[()] < 112  # from what is remembered
    assert np.abs(as_known.predict() - anew.predict()).to_numpy().max() > 1e-3


@pytest.mark.parametrize("carried", [False, True])
def test_a_present_that_moves_back_forgets_what_came_after(carried: bool) -> None:
    y = wave()
    forecasts = []
    for later in (0, 50):
        known = y.copy()
        known.iloc[110:] += later
        forecaster = RimerForecaster(**TINY, streaming=carried).fit(y, fh=range(1, 7))
        forecaster._fitted = knowing(forecaster, known)
        forecaster.update(y[95:110], update_params=False)
        forecasts.append(forecaster.predict())
    assert forecasts[0].index[0] == y.index[110]
    pd.testing.assert_frame_equal(*forecasts)


@pytest.mark.parametrize("carried", [False, True])
def test_a_series_that_fell_silent_is_named(carried: bool) -> None:
    y = panel({"a": 90, "b": 90})
    forecaster = RimerForecaster(**TINY, streaming=carried).fit(y, fh=[1, 2])
    later = panel({"a": 114, "b": 114}).groupby(level=0).tail(24)
    later.loc["b"] = np.nan
    forecaster.update(later, update_params=False)
    with pytest.raises(ValueError, match=r"'b'.* has no value in column 'y0' from 2020-03-31"):
        forecaster.predict()


def test_training_on_begins_the_state_anew() -> None:
    y = wave(200)
    forecaster = streaming(y[:120])
    forecaster.update(y[120:], update_params=True)
    assert steps_of(forecaster)[()] < 200
    assert forecaster.predict().notna().all(axis=None)


def test_training_on_one_series_of_a_panel_begins_every_state_anew() -> None:
    y = panel({"a": 80, "b": 80})
    forecaster = streaming(y.groupby(level=0).head(70))
    assert steps_of(forecaster)[("a",)] == 70
    forecaster.update(y.loc[["b"]], update_params=True)
    assert steps_of(forecaster)[("a",)] < 70  # its state was of other weights


def test_a_stream_is_copied_pickled_and_evaluated() -> None:
    y = wave(150)
    forecaster = streaming(y)
    again = pickle.loads(pickle.dumps(deepcopy(forecaster)))
    assert_forecasts_equal(again, forecaster)
    cv = ExpandingWindowSplitter(fh=range(1, 7), initial_window=100, step_length=10)
    for strategy in ("update", "no-update_params"):
        results = evaluate(
            RimerForecaster(**TINY, streaming=True), cv, y, strategy=strategy, error_score="raise"
        )
        assert results.filter(like="test_").notna().all(axis=None)
    splitter = ExpandingWindowSplitter(fh=range(1, 7), initial_window=1)
    y_pred = streaming(y[:100]).update_predict(y[100:], cv=splitter, update_params=False)
    assert set(y_pred.index.get_level_values(-1)) == set(y.index[101:])


def test_a_state_from_static_covariates_is_refused() -> None:
    with pytest.raises(ValueError, match="initial_state='static' needs static covariates"):
        RimerForecaster(**TINY, initial_state="static").fit(wave(), fh=[1])


def test_a_panel_is_forecast_as_its_series_are() -> None:
    y = with_gaps(panel({"a": 100, "b": 77, "c": 100, "d": 64}), 0.05)
    both = streaming(y)
    new = panel({"a": 130, "b": 90, "c": 104, "d": 65})
    new = new[~new.index.isin(y.index)]
    both.update(new, update_params=False)
    forecast = both.predict()
    weights = both._fitted.weights()
    for name in "abcd":
        one = RimerForecaster(**{**TINY, "n_epochs": 0}, streaming=True, pretrained=weights)
        one.fit(y.loc[name], fh=range(1, 7)).update(new.loc[name], update_params=False)
        assert_same_but_for_rounding(forecast.loc[name], one.predict())


@pytest.mark.parametrize("carried", [False, True])
def test_update_predict_equals_reading_everything_from_scratch(carried: bool) -> None:
    """At every cutoff of a long series, by the same weights."""
    y = wave(400)
    forecaster = RimerForecaster(**TINY, streaming=carried).fit(y[:150], fh=[1, 2, 3])
    splitter = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=1, step_length=7)
    moving = forecaster.update_predict(y[150:], cv=splitter, update_params=False)
    weights = forecaster._fitted.weights()
    scratch = RimerForecaster(
        **{**TINY, "n_epochs": 0}, streaming=carried, pretrained=weights, output_chunk_length=3
    )
    cutoffs = moving.columns.get_level_values(0).unique()
    assert len(cutoffs) == 36
    for cutoff in cutoffs:
        expected = scratch.fit(y[:cutoff], fh=[1, 2, 3]).predict()
        actual = moving[cutoff].dropna()
        assert_same_but_for_rounding(actual.to_numpy(), expected.to_numpy())


def test_weights_that_were_not_trained_for_streams_warn() -> None:
    y = wave()
    for prepared in (False, True):
        weights = RimerForecaster(**TINY, streaming=prepared).pretrain(panel({"a": 90, "b": 80}))
        kept = weights.pretrained_
        streamed = RimerForecaster(**{**TINY, "n_epochs": 0}, streaming=True, pretrained=kept)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            streamed.fit(y, fh=[1, 2])
        said = [str(one.message) for one in caught]
        assert any("were not trained for streams" in one for one in said) != prepared
        assert streamed.network_.config.streaming == prepared  # as its files will say


def test_a_series_whose_past_alone_is_asked_for_needs_no_X() -> None:
    def panel(name: str, begin: int, length: int, seed: int) -> pd.DataFrame:
        values = np.random.default_rng(seed).normal(size=length)
        index = pd.MultiIndex.from_product([[name], range(begin, begin + length)])
        return pd.DataFrame({"v": values}, index=index)

    y = pd.concat([panel("A", 0, 60, 0), panel("B", 0, 40, 1)])
    X = pd.concat([panel("A", 0, 60, 2), panel("B", 0, 40, 3)])
    forecaster = RimerForecaster(**TINY, streaming=True).fit(y, X=X, fh=[1, 2])
    fh = ForecastingHorizon([42], is_relative=False)  # what A had, and what B has not yet
    found = forecaster.predict(fh=fh, X=panel("B", 40, 10, 4))
    assert found.shape == (2, 1)
    assert np.isfinite(found.to_numpy()).all()
