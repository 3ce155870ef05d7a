"""RimerModel as a user of darts meets it."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts import TimeSeries, concatenate
from darts.metrics import mae
from darts.models import NaiveSeasonal
from darts.utils.likelihood_models.torch import GaussianLikelihood
from darts.utils.timeseries_generation import linear_timeseries
from darts_cases import QUIET, TINY, wave
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel
from rimer_forecaster.layers import NotConverged


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave())


@pytest.mark.parametrize("pretrained", ["auto", None])
def test_one_argument_is_enough_and_beats_seasonal_naive(pretrained: str | None) -> None:
    series = wave(400) + linear_timeseries(
        0, 4, length=400, start=wave().start_time(), dtype=np.float32
    )
    train, test = series[:-24], series[-24:]
    model = RimerModel(input_chunk_length=96, pretrained=pretrained, random_state=0, **QUIET)
    model.fit(train)
    assert model.output_chunk_length == 24
    if pretrained is None:
        assert 10 < model.epochs_trained < 100  # of 257 windows some are held back, and end it
    naive = NaiveSeasonal(12).fit(train).predict(24)
    assert mae(test, model.predict(24)) < 0.7 * mae(test, naive)


def test_predict_beyond_the_output_chunk_feeds_forecasts_back(fitted: RimerModel) -> None:
    far = fitted.predict(12)
    near = fitted.predict(6)
    np.testing.assert_array_equal(far.values()[:6], near.values())
    extended = concatenate([fitted.training_series, near])
    assert_same_but_for_rounding(far.values()[6:], fitted.predict(6, series=extended).values())
    assert len(fitted.predict(15)) == 15


def test_forecasts_start_right_after_the_series(fitted: RimerModel) -> None:
    series = fitted.training_series
    forecast = fitted.predict(4)
    assert forecast.start_time() == series.end_time() + series.freq
    assert list(forecast.components) == list(series.components)


def test_historical_forecasts_equal_single_predictions(fitted: RimerModel) -> None:
    series = wave(60)
    forecasts = fitted.historical_forecasts(
        series, forecast_horizon=6, stride=10, retrain=False, last_points_only=False
    )
    assert len(forecasts) == 4
    for forecast in forecasts:
        history = series.drop_after(forecast.start_time())
        assert_same_but_for_rounding(forecast.values(), fitted.predict(6, series=history).values())


def test_a_changed_future_changes_no_bit_of_the_forecast(fitted: RimerModel) -> None:
    series = wave(60)
    values = series.values().copy()
    values[40:] += 5
    changed = series.with_values(values)
    arguments: dict[str, Any] = {"forecast_horizon": 6, "retrain": False, "last_points_only": False}
    for before, after in zip(
        fitted.historical_forecasts(series, **arguments)[:17],
        fitted.historical_forecasts(changed, **arguments)[:17],
        strict=True,
    ):
        assert before.start_time() <= series.time_index[40]
        np.testing.assert_array_equal(before.values(), after.values())


def test_retrained_historical_forecasts_and_backtest() -> None:
    series = wave(70)
    model = RimerModel(**TINY)
    forecasts = model.historical_forecasts(series, start=60, forecast_horizon=3, stride=4)
    assert np.isfinite(forecasts.values()).all()
    score = model.backtest(series, start=60, forecast_horizon=3, stride=4, metric=mae)
    assert 0 < score < 3


def test_grid_search_over_layer_strings() -> None:
    grid = {key: [value] for key, value in TINY.items()} | {"layers": [None, "rwkv7", "rwkv7*2"]}
    best, parameters, score = RimerModel.gridsearch(
        grid, wave(), forecast_horizon=6, start=0.8, stride=12, metric=mae
    )
    assert isinstance(best, RimerModel)
    assert parameters["layers"] in grid["layers"]
    assert np.isfinite(score)


def test_several_series_train_one_model_and_get_a_forecast_each() -> None:
    series = [wave(seed=1), wave(90, level=50.0, seed=2), wave(40, seed=3)]
    model = RimerModel(**TINY).fit(series)
    forecasts = model.predict(6, series=series)
    assert len(forecasts) == 3
    for one, forecast in zip(series, forecasts, strict=True):
        assert forecast.start_time() == one.end_time() + one.freq
        assert abs(forecast.values().mean() - one.values().mean()) < 3
        assert_same_but_for_rounding(forecast.values(), model.predict(6, series=one).values())


def test_components_of_a_multivariate_series_are_forecast_by_the_same_weights() -> None:
    series = wave(components=3)
    model = RimerModel(**TINY).fit(series)
    forecast = model.predict(6)
    assert forecast.values().shape == (6, 3)
    order = ["2", "0", "1"]
    assert_same_but_for_rounding(
        model.predict(6, series=series[order]).values(), forecast.values()[:, [2, 0, 1]]
    )


def test_a_gap_between_input_and_output() -> None:
    model = RimerModel(**TINY, output_chunk_shift=3).fit(wave())
    forecast = model.predict(6)
    assert forecast.start_time() == wave().end_time() + 4 * wave().freq


def test_past_future_and_static_covariates_are_read() -> None:
    series = wave(components=2).with_static_covariates(pd.DataFrame({"a": [0.0, 1.0]}))
    past, future = wave(seed=5), wave(200, seed=6)
    model = RimerModel(**TINY).fit(series, past_covariates=past, future_covariates=future)
    before = model.predict(6, past_covariates=past, future_covariates=future)
    for changed in (
        {
            "past_covariates": past + linear_timeseries(start=past.start_time(), length=160),
            "future_covariates": future,
        },
        {"past_covariates": past, "future_covariates": future * 2},
    ):
        after = model.predict(6, **changed)
        assert np.abs(after.values() - before.values()).max() > 0
    other = series.with_static_covariates(pd.DataFrame({"a": [5.0, 1.0]}))
    after = model.predict(6, series=other, past_covariates=past, future_covariates=future)
    difference = np.abs(after.values() - before.values()).max(0)
    assert difference[0] > 0
    assert difference[1] == 0


def test_a_future_covariate_that_is_the_target_is_used() -> None:
    rng = np.random.default_rng(0)
    cause = TimeSeries.from_values(rng.normal(size=(400, 1)).astype(np.float32))
    model = RimerModel(**{**TINY, "n_epochs": 60, "optimizer_kwargs": {"lr": 3e-3}})
    model.fit(cause[:300], future_covariates=cause)
    forecasts = model.historical_forecasts(
        cause[300:], future_covariates=cause, forecast_horizon=1, retrain=False
    )
    errors = (forecasts - cause.slice_intersect(forecasts)).values()
    assert (errors**2).mean() < 0.3


def lagged(seed: int = 0, n: int = 600) -> tuple[TimeSeries, TimeSeries]:
    """A target that is its covariate of three steps before, and the covariate."""
    cause = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    index = pd.date_range("2020-01-01", periods=n, freq="h")
    target = np.roll(cause, 3) + 0.05 * np.random.default_rng(seed + 1).normal(size=n)
    target[:3] = 0
    return (
        TimeSeries.from_times_and_values(index, target.astype(np.float32)),
        TimeSeries.from_times_and_values(index, cause),
    )


def test_a_lagged_covariate_explains_the_target() -> None:
    target, cause = lagged()
    settings = {**TINY, "output_chunk_length": 3, "n_epochs": 40, "optimizer_kwargs": {"lr": 3e-3}}
    errors = {}
    for name, covariates in (("with", {"past_covariates": cause}), ("without", {})):
        model = RimerModel(**settings).fit(target[:480], **covariates)
        forecasts = model.historical_forecasts(
            target[456:], forecast_horizon=3, retrain=False, **covariates
        )
        errors[name] = mae(target, forecasts)
    assert errors["with"] < 0.3 * errors["without"]


def test_a_covariate_after_the_origin_is_read_if_it_is_a_future_one_and_only_then() -> None:
    target, cause = lagged(n=200)
    values = cause.values().copy()
    values[150:] += 1
    changed = cause.with_values(values)
    for role, is_read in (("past_covariates", False), ("future_covariates", True)):
        model = RimerModel(**{**TINY, "n_epochs": 3}).fit(target[:150], **{role: cause})
        before = model.predict(6, **{role: cause}).values()
        after = model.predict(6, **{role: changed}).values()
        assert np.array_equal(before, after) is not is_read


def test_untrained_clone_keeps_the_arguments(fitted: RimerModel) -> None:
    clone = fitted.untrained_model()
    assert clone.model_params == fitted.model_params
    assert clone.model is None


def test_float64_series_work_and_agree_with_float32() -> None:
    single = RimerModel(**TINY).fit(wave()).predict(6)
    double = RimerModel(**TINY).fit(wave(dtype=np.float64)).predict(6)
    assert double.dtype == np.float64
    np.testing.assert_allclose(single.values(), double.values(), atol=0.05)


@pytest.mark.parametrize(
    ("of_fit", "of_predict"), [(np.float32, np.float64), (np.float64, np.float32)]
)
def test_a_model_predicts_from_data_of_another_precision(of_fit: type, of_predict: type) -> None:
    model = RimerModel(**TINY).fit(wave(dtype=of_fit))
    other = model.predict(6, series=wave(dtype=of_predict))
    assert_same_but_for_rounding(other.values(), model.predict(6).values())


def test_a_large_level_does_not_drown_the_signal() -> None:
    for level in (0.0, 1e4):
        model = RimerModel(**{**TINY, "n_epochs": 40}).fit(wave(level=level))
        spread = model.predict(12).values().std()
        assert 0.4 < spread < 1.0, f"level {level}: the sine has 0.7"


def test_samples_of_points_are_refused_with_the_form_of_a_model_that_draws() -> None:
    points = RimerModel(**TINY | {"dropout": 0.0}).fit(wave())
    with pytest.raises(ValueError, match=r"num_samples=100 .* likelihood=QuantileRegression\(\["):
        points.predict(6, num_samples=100)
    with_dropout = RimerModel(**TINY | {"dropout": 0.2}).fit(wave())
    assert with_dropout.predict(6, num_samples=100, mc_dropout=True).n_samples == 100


@pytest.mark.parametrize("n", [0, -1])
def test_a_horizon_without_steps_is_named(n: int, fitted: RimerModel) -> None:
    with pytest.raises(ValueError, match=f"n={n} must be at least 1"):
        fitted.predict(n)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_chunk_length": 0}, "input_chunk_length=0 must be a whole number of at least 1"),
        ({"output_chunk_length": 0}, "output_chunk_length=0 must be a whole number of at least 1"),
        ({"layers": "rwvk7"}, "unknown layer 'rwvk7'"),
        ({"width": 10}, "width=10 is not a multiple of head_size=4"),
        ({"patch_length": 25}, "patch_length=25 is longer than input_chunk_length=24"),
        ({"dropout": -0.1}, r"dropout=-0\.1 must be a probability"),
        ({"use_reversible_instance_norm": True}, "scales every window itself"),
        ({"widht": 8}, r"no args/kwargs `\['widht'\]`"),
    ],
)
def test_wrong_arguments_are_named_when_the_model_is_made(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RimerModel(**{**TINY, **arguments})


def test_an_infinite_forecast_is_an_error(fitted: RimerModel, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    model = RimerModel.load(path)
    with torch.no_grad():
        model.network.skip.offset.fill_(float("inf"))
    with pytest.raises(ValueError, match="the forecast is not finite"):
        model.predict(6)


def test_forecasts_that_overflow_before_they_are_sampled_are_named() -> None:
    rng = np.random.default_rng(0)
    series = TimeSeries.from_values(rng.normal(size=30).astype(np.float32))
    huge = TimeSeries.from_values((1e6 * rng.normal(size=90)).astype(np.float32))
    model = RimerModel(2, 1, layers=None, n_epochs=1, likelihood=GaussianLikelihood(), **QUIET)
    with pytest.warns(UserWarning, match="are read as they come"):
        model.fit(series, future_covariates=huge)
    with pytest.raises(ValueError, match=r"not finite.* look for covariates that are large"):
        model.predict(40, series, future_covariates=huge)


@pytest.mark.parametrize(
    "layers",
    [
        "attention*2",
        "(rwkv7, attention(window=2))*2",
        "equilibrium(rwkv7)",
        "rwkv7(sse=on, retrospect=2)*2",
        "perspectives(rwkv7; lags=1+3)",
        "parallel(attention(topk=1, chunk=2), rwkv4), taylor(feature=2)",
    ],
)
def test_every_layer_fits_predicts_and_comes_back_from_its_file(
    layers: str, tmp_path: pathlib.Path
) -> None:
    model = RimerModel(**TINY, layers=layers).fit(wave(components=2))
    model.save(str(tmp_path / "model.pt"))
    loaded = RimerModel.load(str(tmp_path / "model.pt"))
    forecast = model.predict(12).values()
    assert np.isfinite(forecast).all()
    np.testing.assert_array_equal(loaded.predict(12).values(), forecast)


def test_a_forecast_that_did_not_converge_warns_after_training_too() -> None:
    hasty = "equilibrium(rwkv7; max_iter=2, tolerance=1e-6)"
    quick = {**TINY, "optimizer_kwargs": {"lr": 0.03}, "n_epochs": 3}
    with pytest.warns(NotConverged):
        model = RimerModel(**quick, layers=hasty).fit(wave())
    with pytest.warns(NotConverged, match="did not reach their equilibrium in 2 passes forward"):
        model.predict(12)
    with pytest.warns(NotConverged):
        model.historical_forecasts(wave(), forecast_horizon=4, stride=30, retrain=False)
    careful = RimerModel(**quick, layers="equilibrium(rwkv7)").fit(wave())
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotConverged)
        careful.predict(12)
