"""RimerModel under everything that darts lets one ask of a fit, a forecast and a backtest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts import TimeSeries, concatenate
from darts.dataprocessing.transformers import Scaler
from darts.metrics import ae, mae, mql, rmse
from darts.models import (
    ConformalNaiveModel,
    ConformalQRModel,
    LinearRegressionModel,
    NaiveEnsembleModel,
    NaiveSeasonal,
    RegressionEnsembleModel,
)
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts_cases import TINY, TRAINER
from darts_cases import wave_at_level as wave
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}  # float32, other shapes of batches


def quiet(**arguments: Any) -> dict[str, Any]:
    return {**TINY, "pl_trainer_kwargs": {**TRAINER, **arguments}}


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave())


@pytest.fixture(scope="module")
def with_quantiles() -> RimerModel:
    return RimerModel(**TINY, likelihood=QuantileRegression([0.1, 0.5, 0.9])).fit(wave())


COVARIATES = {"past_covariates": wave(150, seed=1), "future_covariates": wave(150, seed=2)}


@pytest.fixture(scope="module")
def with_covariates() -> RimerModel:
    return RimerModel(**TINY).fit(wave(), **COVARIATES)


@contextmanager
def calls_of_the_network(model: RimerModel) -> Iterator[list[int]]:
    """Batch sizes of the calls of a model's network."""
    sizes: list[int] = []
    hook = model.network.register_forward_pre_hook(
        lambda network, inputs: sizes.append(len(inputs[0]))
    )
    try:
        yield sizes
    finally:
        hook.remove()


def test_many_series_share_the_calls_of_the_network(fitted: RimerModel) -> None:
    series = [wave(30 + i % 5, seed=i) for i in range(200)]
    with calls_of_the_network(fitted) as sizes:
        forecasts = fitted.predict(6, series=series, batch_size=64)
    assert sizes == [64, 64, 64, 8]
    for i in (0, 63, 64, 199):
        alone = fitted.predict(6, series=series[i])
        np.testing.assert_allclose(forecasts[i].values(), alone.values(), **CLOSE)
        assert forecasts[i].start_time() == alone.start_time()


def test_windows_of_a_backtest_and_samples_share_the_calls_of_the_network(
    fitted: RimerModel, with_quantiles: RimerModel
) -> None:
    series = [wave(60), wave(90)]  # 31 and 61 windows with their whole horizon
    with calls_of_the_network(fitted) as sizes:
        fitted.historical_forecasts(series, forecast_horizon=6, retrain=False)
    assert sizes == [32, 32, 28]
    with calls_of_the_network(with_quantiles) as sizes:
        with_quantiles.predict(6, series=series, num_samples=100, batch_size=50)
    assert sizes == [2, 2, 2, 2]  # both series once, for 25 samples each


@pytest.mark.parametrize("last_points_only", [True, False])
@pytest.mark.parametrize("overlap_end", [True, False])
@pytest.mark.parametrize(
    ("kind", "horizon"),
    [
        *itertools.product(["plain", "covariates", "samples"], [4, 6, 9]),
        *itertools.product(["parameters", "shift"], [4, 6]),  # within the output chunk alone
    ],
)
def test_optimised_historical_forecasts_are_the_plain_ones(
    kind: str,
    horizon: int,
    overlap_end: bool,
    last_points_only: bool,
    fitted: RimerModel,
    with_covariates: RimerModel,
    with_quantiles: RimerModel,
    shifted: RimerModel,
) -> None:
    arguments: dict[str, Any] = {}
    model = {"covariates": with_covariates, "shift": shifted}.get(kind, fitted)
    if kind == "covariates":
        arguments = {name: [one, one] for name, one in COVARIATES.items()}
    elif kind in ("samples", "parameters"):
        model = with_quantiles
        arguments = {"num_samples": 7, "random_state": 3}
        if kind == "parameters":
            arguments = {"predict_likelihood_parameters": True}
    plain, optimised = (
        model.historical_forecasts(
            [wave(70, seed=3), wave(61, seed=4, start=20)],
            forecast_horizon=horizon,
            start=40,
            stride=3,
            retrain=False,
            overlap_end=overlap_end,
            last_points_only=last_points_only,
            enable_optimization=optimise,
            **arguments,
        )
        for optimise in (False, True)
    )
    for one, other in zip(flat(plain), flat(optimised), strict=True):
        assert one.time_index.equals(other.time_index)
        assert list(one.components) == list(other.components)
        if kind == "samples":  # drawn in another order
            assert one.n_samples == other.n_samples == 7
        else:
            np.testing.assert_allclose(one.values(), other.values(), **CLOSE)


@pytest.fixture(scope="module")
def shifted() -> RimerModel:
    return RimerModel(**TINY, output_chunk_shift=2).fit(wave())


def flat(forecasts: Any) -> list[TimeSeries]:
    if isinstance(forecasts, TimeSeries):
        return [forecasts]
    return [one for inner in forecasts for one in flat(inner)]


@pytest.mark.parametrize(
    ("start", "first"),
    [(40, 40), (0.5, 29), (pd.Timestamp("2020-02-20"), 50), (-10, 50), (None, 24)],
)
def test_historical_forecasts_start_where_they_are_told(
    start: Any, first: int, fitted: RimerModel
) -> None:
    forecasts = fitted.historical_forecasts(
        wave(60),
        start=start,
        start_format="position" if isinstance(start, int) else "value",
        forecast_horizon=6,
        retrain=False,
        last_points_only=False,
    )
    assert forecasts[0].start_time() == wave(60).time_index[first]
    assert forecasts[-1].end_time() == wave(60).end_time()


def every_other_day(
    counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any
) -> bool:
    return pred_time.day_of_year % 2 == 0


@pytest.mark.parametrize(
    ("retrain", "fits"),
    [
        (True, 4),
        (2, 2),
        (every_other_day, 2),
    ],
)
def test_historical_forecasts_retrain_as_often_as_they_are_told(
    retrain: Any, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fit = RimerModel.fit

    def counted(self: RimerModel, series: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(series))
        return fit(self, series, *args, **kwargs)

    monkeypatch.setattr(RimerModel, "fit", counted)
    model = RimerModel(**TINY)
    forecasts = model.historical_forecasts(
        wave(60), start=51, start_format="position", forecast_horizon=6, retrain=retrain, stride=1
    )
    assert len(forecasts) == 4
    assert len(seen) == fits
    assert seen == sorted(seen)
    assert model.model is None


def test_a_training_window_moves_with_the_forecast() -> None:
    arguments: dict[str, Any] = {"forecast_horizon": 6, "last_points_only": False, "stride": 5}
    (forecast,) = RimerModel(**TINY).historical_forecasts(
        wave(60), start=54, start_format="position", train_length=40, retrain=True, **arguments
    )
    expected = RimerModel(**TINY).fit(wave(54)[-40:]).predict(6)
    np.testing.assert_allclose(forecast.values(), expected.values(), **CLOSE)


def test_a_scaler_in_historical_forecasts_changes_little(fitted: RimerModel) -> None:
    """Windows are scaled inside, so that a scaler is only another unit."""
    arguments: dict[str, Any] = {"forecast_horizon": 6, "start": 40, "stride": 4}
    plain = fitted.historical_forecasts(wave(60), retrain=False, **arguments)
    scaler = {"series": Scaler().fit(wave())}
    scaled = fitted.historical_forecasts(
        wave(60), retrain=False, data_transformers=scaler, **arguments
    )
    np.testing.assert_allclose(plain.values(), scaled.values(), rtol=1e-4)
    retrained = RimerModel(**TINY).historical_forecasts(
        wave(60), retrain=True, data_transformers={"series": Scaler()}, **arguments
    )
    assert np.abs(retrained.values() - wave(60).slice_intersect(retrained).values()).max() < 3


def test_backtest_gives_every_metric_of_every_series(fitted: RimerModel) -> None:
    series = [wave(60, seed=3), wave(50, seed=4)]
    arguments: dict[str, Any] = {
        "start": 30,
        "forecast_horizon": 6,
        "retrain": False,
        "last_points_only": False,
    }
    forecasts = fitted.historical_forecasts(series, **arguments)
    scores = fitted.backtest(series, metric=[mae, rmse], **arguments)
    for one, of_series, score in zip(series, forecasts, scores, strict=True):
        for metric, value in zip((mae, rmse), score, strict=True):
            expected = np.mean([metric(one, forecast) for forecast in of_series])
            assert value == pytest.approx(expected, rel=1e-5)  # means in float32
    again = fitted.backtest(series, historical_forecasts=forecasts, metric=[mae, rmse], **arguments)
    np.testing.assert_allclose(again, scores)


def test_backtest_scores_quantiles(with_quantiles: RimerModel) -> None:
    score = with_quantiles.backtest(
        wave(60),
        start=40,
        forecast_horizon=6,
        retrain=False,
        predict_likelihood_parameters=True,
        metric=mql,
        metric_kwargs={"q": [0.1, 0.5, 0.9]},
        last_points_only=False,
    )
    assert score.shape == (3,)
    assert (score > 0).all()


def test_residuals_are_the_series_less_its_forecasts(fitted: RimerModel) -> None:
    arguments: dict[str, Any] = {"start": 40, "forecast_horizon": 3, "retrain": False}
    forecasts = fitted.historical_forecasts(wave(60), **arguments)
    residuals = fitted.residuals(wave(60), **arguments)
    actual = wave(60).slice_intersect(forecasts)
    assert_same_but_for_rounding(residuals.values(), (actual - forecasts).values())
    errors = fitted.residuals(wave(60), metric=ae, **arguments)
    assert_same_but_for_rounding(errors.values(), np.abs(residuals.values()))


@pytest.mark.parametrize("way", ["validation", "backtest", "fitted values"])
def test_grid_search_finds_the_better_argument(way: str) -> None:
    grid: dict[str, list[Any]] = {key: [value] for key, value in TINY.items()}
    grid |= {"n_epochs": [1, 30], "layers": [None], "optimizer_kwargs": [{"lr": 1e-3}]}
    arguments: dict[str, Any] = {
        "validation": {"val_series": wave(126)[-6:]},
        "backtest": {"forecast_horizon": 6, "start": 0.8, "stride": 10, "last_points_only": False},
        "fitted values": {"use_fitted_values": True},
    }[way]
    if way == "fitted values":  # of models that have some; darts' torch models have none
        with pytest.raises(ValueError, match="fitted_values"):
            RimerModel.gridsearch(grid, wave(), metric=mae, **arguments)
        return
    best, chosen, score = RimerModel.gridsearch(grid, wave(), metric=mae, **arguments)
    assert chosen["n_epochs"] == 30
    assert isinstance(best, RimerModel)
    assert score < 0.3


def test_conformal_intervals_cover_what_they_say() -> None:
    model = RimerModel(**{**TINY, "n_epochs": 5}).fit(wave(120))
    conformal = ConformalNaiveModel(model, quantiles=[0.1, 0.5, 0.9])
    series = wave(400)
    forecasts = conformal.historical_forecasts(
        series,
        start=200,
        forecast_horizon=6,
        stride=6,
        last_points_only=False,
        predict_likelihood_parameters=True,
    )
    joined = concatenate(forecasts)
    low, middle, high = joined.values().T
    assert (low <= middle).all()
    assert (middle <= high).all()
    actual = series.slice_intersect(joined).values()[:, 0]
    assert 0.7 < ((low <= actual) & (actual <= high)).mean() < 0.9  # 80 % of some 200


def test_conformal_quantiles(with_quantiles: RimerModel) -> None:
    conformal = ConformalQRModel(with_quantiles, quantiles=[0.1, 0.5, 0.9], cal_length=30)
    forecast = conformal.predict(6, series=wave(110), predict_likelihood_parameters=True)
    assert forecast.values().shape == (6, 3)
    assert (np.diff(forecast.values(), axis=1) >= 0).all()


def test_an_ensemble_averages_its_models(fitted: RimerModel) -> None:
    other = RimerModel(**{**TINY, "random_state": 1}, layers=None).fit(wave())
    ensemble = NaiveEnsembleModel([fitted, other], train_forecasting_models=False)
    mean = (fitted.predict(6, wave()).values() + other.predict(6, wave()).values()) / 2
    assert_same_but_for_rounding(ensemble.predict(6, wave()).values(), mean)
    trained = NaiveEnsembleModel([RimerModel(**TINY), NaiveSeasonal(12)]).fit(wave())
    expected = (
        RimerModel(**TINY).fit(wave()).predict(6).values()
        + NaiveSeasonal(12).fit(wave()).predict(6).values()
    ) / 2
    np.testing.assert_allclose(trained.predict(6).values(), expected, rtol=1e-4)


def test_a_regression_ensemble_learns_whom_to_trust() -> None:
    models = [RimerModel(**{**TINY, "n_epochs": 20}), NaiveSeasonal(5)]
    ensemble = RegressionEnsembleModel(
        models,
        regression_train_n_points=24,
        regression_model=LinearRegressionModel(
            lags=None, lags_future_covariates=[0], fit_intercept=False
        ),
    ).fit(wave())
    forecast = ensemble.predict(6)
    assert mae(wave(126)[-6:], forecast) < 0.5
    best, naive = ensemble.ensemble_model.model.coef_.ravel()
    assert abs(best) > abs(naive)


def share_of_the_year(index: pd.DatetimeIndex) -> Any:
    return index.dayofyear / 366


def test_encoders_make_past_and_future_covariates() -> None:
    encoders = {
        "cyclic": {"past": ["month"], "future": ["dayofweek"]},
        "datetime_attribute": {"future": ["day"]},
        "position": {"past": ["relative"], "future": ["relative"]},
        "custom": {"future": [share_of_the_year]},
        "transformer": Scaler(),
    }
    model = RimerModel(**TINY, add_encoders=encoders).fit(wave())
    assert model.network.config.past_covariates == 3
    assert model.network.config.future_covariates == 5
    made = model.generate_fit_predict_encodings(15, wave())
    past, future = made
    plain = RimerModel(**TINY).fit(wave(), past_covariates=past, future_covariates=future)
    np.testing.assert_allclose(
        model.predict(15).values(),
        plain.predict(15, past_covariates=past, future_covariates=future).values(),
        **CLOSE,
    )
    forecasts = model.historical_forecasts(wave(60), retrain=False, forecast_horizon=6)
    assert np.isfinite(forecasts.values()).all()


def test_samples_and_parameters_tell_the_same(with_quantiles: RimerModel) -> None:
    model = RimerModel(**TINY, likelihood=GaussianLikelihood()).fit(wave())
    mean, sigma = model.predict(6, predict_likelihood_parameters=True).values().T
    samples = model.predict(6, num_samples=2000, random_state=0)
    np.testing.assert_allclose(samples.mean(axis=2).values()[:, 0], mean, atol=0.1)
    np.testing.assert_allclose(samples.std().values()[:, 0], sigma, rtol=0.1)
    same = model.predict(6, num_samples=2000, random_state=0)
    np.testing.assert_array_equal(samples.all_values(), same.all_values())
    median = with_quantiles.predict(6, predict_likelihood_parameters=True).values()[:, 1]
    drawn = with_quantiles.predict(6, num_samples=2000).quantile(0.5).values()[:, 0]
    np.testing.assert_allclose(drawn, median, atol=0.15)
