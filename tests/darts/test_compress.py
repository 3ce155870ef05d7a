"""Fitted darts models in fewer bytes."""

from __future__ import annotations

from pathlib import Path

import darts_cases
import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from rimer_forecaster import RimerModel, RimerZeroModel
from rimer_forecaster.network.compressed import is_compressed, weight_bytes

OPTIONS = {**darts_cases.TINY, "n_epochs": 4, "width": 16, "head_size": 8}


def fitted(series: TimeSeries) -> RimerModel:
    return RimerModel(**OPTIONS, likelihood=QuantileRegression([0.1, 0.5, 0.9])).fit(series)


def quantiles(model: RimerModel, series: TimeSeries) -> np.ndarray:
    forecast = model.predict(6, series, predict_likelihood_parameters=True)
    values: np.ndarray = forecast.values()
    return values


def test_a_compressed_model_is_smaller_and_forecasts_much_the_same() -> None:
    series = darts_cases.wave(components=2)
    model = fitted(series)
    before = quantiles(model, series)
    small, report = model.compress(calibrate=series)
    assert report.times_smaller > 2
    assert weight_bytes(small.network) == report.bytes_after
    assert not is_compressed(model.network)
    np.testing.assert_array_equal(quantiles(model, series), before)
    np.testing.assert_allclose(quantiles(small, series), before, atol=0.1)
    assert (quantiles(small, series) != before).any()


def test_a_compressed_model_is_saved_and_loaded_to_the_bit(tmp_path: Path) -> None:
    series = darts_cases.wave()
    small, _ = fitted(series).compress(calibrate=series)
    expected = quantiles(small, series)
    small.save(str(tmp_path / "small.pt"))
    loaded = RimerModel.load(str(tmp_path / "small.pt"))
    np.testing.assert_array_equal(quantiles(loaded, series), expected)
    small.save_weights(tmp_path / "small.safetensors")
    other = small.untrained_model()
    other.load_weights(str(tmp_path / "small.safetensors"))
    np.testing.assert_array_equal(quantiles(other, series), expected)
    assert is_compressed(other.network)


def test_a_compressed_model_is_fitted_on() -> None:
    series = darts_cases.wave()
    middle, _ = fitted(series).compress(0.5, bits=None, calibrate=series)
    weights = {name: x.clone() for name, x in middle.network.state_dict().items()}
    middle.fit(series, epochs=1)
    moved = [name for name, x in middle.network.state_dict().items() if (x != weights[name]).any()]
    assert any(name.endswith("matrix.left") for name in moved)
    small, report = middle.compress(None)
    assert report.n_low_rank > 0
    small.fit(series, epochs=1)
    assert np.isfinite(small.predict(9, series).values()).all()


def test_covariates_calibrate_too() -> None:
    series, other = darts_cases.wave(), darts_cases.wave(seed=3)
    longer = darts_cases.wave(180, seed=4)
    known = {"past_covariates": other, "future_covariates": longer}
    model = RimerModel(**OPTIONS).fit(series, **known)
    small, report = model.compress(calibrate=series, **known)
    assert report.largest_change is not None
    a, b = (x.predict(6, series, **known).values() for x in (model, small))
    np.testing.assert_allclose(a, b, atol=0.2)


def test_components_that_read_each_other_keep_their_names() -> None:
    series = darts_cases.wave(components=2)
    model = RimerModel(**OPTIONS, components="cross").fit(series)
    small, _ = model.compress(None)
    names = list(series.components)[::-1]
    swapped = series[names]
    assert small.network.config.target_components == tuple(series.components)
    a, b = (small.predict(6, x)[names[0]].values() for x in (series, swapped))
    np.testing.assert_array_equal(a, b)


def test_a_compressed_model_goes_on_from_the_series_it_was_fitted_to() -> None:
    series, past, longer = darts_cases.wave(), darts_cases.wave(seed=3), darts_cases.wave(180)
    known = {"past_covariates": past, "future_covariates": longer}
    small, _ = RimerModel(**OPTIONS).fit(series, **known).compress(None)
    np.testing.assert_array_equal(
        small.predict(6).values(), small.predict(6, series, **known).values()
    )


def test_a_zero_shot_model_is_compressed() -> None:
    series = darts_cases.wave(300)
    model = RimerZeroModel((8, 256), 12, **darts_cases.QUIET).fit(series)
    small, report = model.compress(None)
    assert 3.4 < report.times_smaller < 4
    a, b = (x.predict(12, series).values() for x in (model, small))
    np.testing.assert_allclose(a, b, atol=0.1)
    assert (a != b).any()


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="it is not fitted"):
        RimerModel(**OPTIONS).compress(None)
    with pytest.raises(ValueError, match=r"rank=0\.25 needs calibrate="):
        fitted(darts_cases.wave()).compress()
