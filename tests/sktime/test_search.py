"""RimerForecaster inside sktime's evaluation, searches and compositions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from sklearn.preprocessing import StandardScaler
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import (
    AutoEnsembleForecaster,
    EnsembleForecaster,
    ForecastingPipeline,
    MultiplexForecaster,
    TransformedTargetForecaster,
)
from sktime.forecasting.conformal import ConformalIntervals
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import (
    ForecastingGridSearchCV,
    ForecastingOptunaSearchCV,
    ForecastingRandomizedSearchCV,
)
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import ExpandingWindowSplitter, SlidingWindowSplitter
from sktime.transformations.adapt import TabularToSeriesAdaptor
from sktime.transformations.difference import Differencer
from sktime_cases import TINY, caused, panel, wave

from rimer_forecaster import RimerForecaster

FH = list(range(1, 7))
FOLDS = ExpandingWindowSplitter(fh=FH, initial_window=80, step_length=10)
SCORE = "test_MeanAbsolutePercentageError"


def scores(strategy: str, y: pd.DataFrame, **arguments: Any) -> np.ndarray:
    results = evaluate(
        RimerForecaster(**TINY), FOLDS, y, strategy=strategy, error_score="raise", **arguments
    )
    return results[SCORE].to_numpy()


@pytest.mark.parametrize("strategy", ["refit", "update", "no-update_params"])
def test_every_strategy_scores_what_its_calls_by_hand_do(strategy: str) -> None:
    y = wave()
    forecaster, expected = RimerForecaster(**TINY), []
    for i, (train, test) in enumerate(FOLDS.split(y)):
        if i == 0 or strategy == "refit":
            forecaster = forecaster.clone().fit(y.iloc[train], fh=FH)
        else:
            forecaster.update(y.iloc[train], update_params=strategy == "update")
        actual = y.iloc[test]
        expected.append(float(((forecaster.predict() - actual) / actual).abs().mean().iloc[0]))
    found = scores(strategy, y)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert len(found) == 4


BACKENDS: dict[str, dict[str, Any]] = {
    "loky": {"n_jobs": 2},
    "threading": {"n_jobs": 4},
    "multiprocessing": {"n_jobs": 2},
    "dask": {},
    "ray": {"shutdown_ray": False},
}


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """A backend that is there; ray is started before, because it draws from `random` as it does."""
    name: str = request.param
    if name in ("dask", "ray"):
        module = pytest.importorskip(name, reason=f"the backend {name!r} needs {name}")
    if name == "ray":
        module.init(num_cpus=2)
    yield name
    if name == "ray":
        module.shutdown()


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_every_backend_gives_the_same_scores_and_leaves_the_process_alone(backend: str) -> None:
    y = wave()
    for strategy in ("refit", "no-update_params"):
        alone = scores(strategy, y)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        given = {"backend": backend, "backend_params": BACKENDS[backend]}
        # Other processes have other numbers of threads, which round sums otherwise.
        np.testing.assert_allclose(scores(strategy, y, **given), alone, rtol=1e-4)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
        assert random.getstate() == before[2]


def test_a_panel_and_quantiles_are_evaluated() -> None:
    y = panel({"a": 100, "b": 100})
    results = evaluate(
        RimerForecaster(**TINY),
        ExpandingWindowSplitter(fh=FH, initial_window=80, step_length=7),
        y,
        scoring=PinballLoss(alpha=[0.1, 0.5, 0.9]),
        error_score="raise",
    )
    assert len(results) == 3
    assert (results["test_PinballLoss"] > 0).all()


def test_sliding_windows_with_causes() -> None:
    y, X = caused(120)
    results = evaluate(
        RimerForecaster(**TINY),
        SlidingWindowSplitter(fh=[2, 5], window_length=60, step_length=20),
        y,
        X=X,
        strategy="no-update_params",
        error_score="raise",
    )
    assert np.isfinite(results[SCORE]).all()


GRID = {
    "layers": [
        None,
        "rwkv7",
        "(rwkv7, attention(window=4))",
        "equilibrium(rwkv7; max_iter=3)",
        "perspectives(rwkv7(retrospect=2); lags=1+3)",
        "parallel(attention(topk=1, chunk=2), rwkv4), taylor(feature=2)",
    ],
    "learning_rate": [1e-3, 1e-2],
}


def settled(search: Any, settings: int) -> None:
    search.fit(wave(), fh=FH)
    assert len(search.cv_results_) == settings
    assert np.isfinite(search.best_score_)
    best = RimerForecaster(**{**TINY, **search.best_params_}).fit(wave(), fh=FH)
    np.testing.assert_allclose(search.predict(), best.predict(), rtol=1e-6)


def test_grid_search_over_layer_strings() -> None:
    folds = ExpandingWindowSplitter(fh=FH, initial_window=80, step_length=20)
    arguments = {"cv": folds, "param_grid": GRID, "error_score": "raise"}
    search = ForecastingGridSearchCV(RimerForecaster(**TINY), **arguments)
    settled(search, 12)
    threads = ForecastingGridSearchCV(
        RimerForecaster(**TINY), **arguments, backend="threading", backend_params={"n_jobs": 3}
    ).fit(wave(), fh=FH)
    column = "mean_" + SCORE
    np.testing.assert_allclose(threads.cv_results_[column], search.cv_results_[column], rtol=1e-6)


def test_randomized_search() -> None:
    settled(
        ForecastingRandomizedSearchCV(
            RimerForecaster(**TINY),
            ExpandingWindowSplitter(fh=FH, initial_window=80, step_length=20),
            {**GRID, "n_epochs": [1, 2]},
            n_iter=3,
            random_state=1,
            error_score="raise",
        ),
        3,
    )


def test_optuna_search() -> None:
    optuna = pytest.importorskip("optuna", reason="ForecastingOptunaSearchCV needs optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settled(
        ForecastingOptunaSearchCV(
            RimerForecaster(**TINY),
            ExpandingWindowSplitter(fh=FH, initial_window=80, step_length=20),
            {
                "layers": optuna.distributions.CategoricalDistribution(("rwkv7", "rwkv7*2")),
                "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
            },
            n_evals=3,
            error_score="raise",
        ),
        3,
    )


COMPOSITIONS: dict[str, Callable[[RimerForecaster], BaseForecaster]] = {
    "behind a scaler": lambda f: TransformedTargetForecaster(
        [("scale", TabularToSeriesAdaptor(StandardScaler())), ("forecast", f)]
    ),
    "of differences": lambda f: Differencer() * f,
    "with scaled causes": lambda f: ForecastingPipeline(
        [("scale", TabularToSeriesAdaptor(StandardScaler())), ("forecast", f)]
    ),
    "chosen": lambda f: MultiplexForecaster(
        [("naive", NaiveForecaster()), ("rimer", f)], selected_forecaster="rimer"
    ),
    "in an ensemble": lambda f: EnsembleForecaster([("naive", NaiveForecaster(sp=12)), ("r", f)]),
    "in a weighted ensemble": lambda f: AutoEnsembleForecaster(
        [("naive", NaiveForecaster(sp=12)), ("rimer", f)], random_state=0
    ),
}


@pytest.mark.parametrize("compose", COMPOSITIONS.values(), ids=COMPOSITIONS.keys())
def test_compositions_forecast_update_and_are_cloned(
    compose: Callable[[RimerForecaster], BaseForecaster],
) -> None:
    y = wave(130)
    X = pd.DataFrame({"x": np.arange(140.0)}, index=pd.period_range(y.index[0], periods=140))
    composed = compose(RimerForecaster(**TINY)).clone()
    composed.fit(y[:100], X=X[:100], fh=FH)
    forecast = composed.predict(X=X)
    assert np.abs(forecast - y[100:106]).mean().iloc[0] < 1.0
    composed.update(y[100:], X=X[100:130], update_params=False)
    assert composed.predict(X=X).index[0] == y.index[-1] + 1


def test_a_scaler_in_front_changes_nothing() -> None:
    """There is one inside."""
    y = wave(level=1e3) * 50
    composed = COMPOSITIONS["behind a scaler"](RimerForecaster(**TINY)).fit(y, fh=FH)
    alone = RimerForecaster(**TINY).fit(y, fh=FH)
    np.testing.assert_allclose(composed.predict(), alone.predict(), rtol=1e-5)


def test_multiplexed_searches_choose_between_models() -> None:
    folds = ExpandingWindowSplitter(fh=FH, initial_window=80, step_length=20)
    search = ForecastingGridSearchCV(
        MultiplexForecaster([("naive", NaiveForecaster()), ("rimer", RimerForecaster(**TINY))]),
        folds,
        {"selected_forecaster": ["naive", "rimer"], "rimer__width": [8]},
        error_score="raise",
    )
    assert search.fit(wave(), fh=FH).best_params_["selected_forecaster"] == "rimer"


def test_conformal_intervals_widen_where_forecasts_fail() -> None:
    """Around a model that knows no spread, from its errors on the past."""
    y = pd.DataFrame({"y": np.random.default_rng(0).normal(size=150)})
    narrow = RimerForecaster(**{**TINY, "quantiles": (0.5,)})
    conformal = ConformalIntervals(narrow, initial_window=0.6, sample_frac=0.2)
    interval = conformal.fit(y[:140], fh=FH).predict_interval(coverage=0.8)
    width = (interval["y", 0.8, "upper"] - interval["y", 0.8, "lower"]).mean()
    assert 1.5 < width < 4.0  # 2.6 for standard normal noise
