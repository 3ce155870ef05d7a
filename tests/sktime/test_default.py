"""What RimerForecaster does with few values where nothing was said about a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rimer_forecaster import RimerForecaster
from rimer_forecaster.training import Recipe
from rimer_forecaster.zero_shot.default import MOST_TIME_POINTS

FH = range(1, 7)
QUICK = {"fast_dev_run": True}


def season(length: int = 150) -> pd.Series:
    noise = np.random.default_rng(0).standard_normal(length)
    return pd.Series(np.sin(np.arange(length) / 3) + 0.1 * noise, name="y")


def panel(length: int, count: int) -> pd.DataFrame:
    names = [f"s{i}" for i in range(count)]
    return pd.concat({name: season(length).to_frame() for name in names}, names=["name", "time"])


@pytest.mark.parametrize("arguments", [{}, {"input_chunk_length": 48}, {"quantiles": (0.1, 0.5)}])
@pytest.mark.parametrize("y", [season(), season(1), panel(60, 3)], ids=["one", "value", "panel"])
def test_few_values_are_forecast_by_the_weights_of_the_package(
    y: Any, arguments: dict[str, Any]
) -> None:
    ours = RimerForecaster(**arguments).fit(y, fh=FH)
    zero = RimerForecaster(**arguments, pretrained="rimer-zero").fit(y, fh=FH)
    pd.testing.assert_frame_equal(
        ours.predict_quantiles(alpha=[0.1, 0.5]), zero.predict_quantiles(alpha=[0.1, 0.5])
    )


@pytest.mark.parametrize(
    "said",
    [
        {"pretrained": None},
        {"n_epochs": 1},
        {"width": 16},
        {"layers": None},
        {"components": "cross"},
        {"covariates": "cross"},
        {"dropout": 0.2},
        {"recipe": Recipe(steps=1)},
        {"batch_size": 8},
        {"learning_rate": 1e-3},
        {"validation_fraction": 0.2},
        {"quantiles": (0.01, 0.5, 0.99)},
        {"input_chunk_length": 5},
        {"trainer_kwargs": QUICK | {"max_epochs": 1}},
    ],
    ids=lambda said: next(iter(said)),
)
def test_whoever_says_something_about_network_or_training_gets_one(said: dict[str, Any]) -> None:
    own = RimerForecaster(**{"trainer_kwargs": QUICK} | said).fit(season(), fh=FH)
    assert own.network_.config.width == said.get("width", 32)


def test_covariates_and_many_values_are_trained_on() -> None:
    own = RimerForecaster(trainer_kwargs=QUICK)
    y = season()
    assert own.clone().fit(y, X=season().rename("x").to_frame()).network_.config.width == 32
    half = MOST_TIME_POINTS // 2
    assert own.clone().fit(panel(half, 2)).network_.config.width == 96
    assert own.clone().fit(panel(half + 1, 2)).network_.config.width == 32


@pytest.mark.parametrize("streaming", [False, True])
def test_updates_read_on_and_train_nothing(streaming: bool) -> None:
    y = season()
    own = RimerForecaster(streaming=streaming).fit(y[:-20], fh=FH)
    weights = own.network_
    own.update(y[-20:])
    assert own.network_ is weights
    whole = RimerForecaster(streaming=streaming).fit(y, fh=FH)
    np.testing.assert_allclose(own.predict(), whole.predict(), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": True}, "width=True"),
        ({"width": 0}, "width=0"),
        ({"input_chunk_length": 0}, "input_chunk_length=0"),
        ({"output_chunk_length": -1}, "output_chunk_length=-1"),
        ({"quantiles": (0.9, 0.5)}, "quantiles="),
        ({"streaming": "no"}, "streaming='no'"),
        ({"trainer_kwargs": "none"}, "trainer_kwargs='none'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"random_state": -1}, "random_state=-1"),
        ({"pretrained": "rimer"}, "pretrained='rimer'"),
    ],
)
def test_wrong_arguments_are_refused_as_where_there_is_a_training(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**arguments).fit(season(), fh=FH)


def test_what_is_known_of_few_noisy_values_is_forecast_with_true_intervals() -> None:
    inside, errors = [], []
    for seed in range(8):
        values = np.random.default_rng(seed).standard_normal(80)
        own = RimerForecaster().fit(pd.Series(values[:68]), fh=range(1, 13))
        interval = own.predict_interval(coverage=0.8).to_numpy()
        inside.append((values[68:] >= interval[:, 0]) & (values[68:] <= interval[:, 1]))
        errors.append(np.abs(own.predict().to_numpy().ravel() - values[68:]).mean())
    assert 0.7 < np.mean(inside) < 0.92  # a training to the end covers 30 to 60 %
    assert np.mean(errors) < 0.9  # the mean of noise has .80, its last value 1.13
