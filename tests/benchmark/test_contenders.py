"""Models beside each other: all are asked the same, and none looks ahead."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import frame
from darts import TimeSeries
from rounding import assert_same_but_for_rounding
from sktime.forecasting.naive import NaiveForecaster
from sktime.transformations.compose import Id

from rimer_forecaster import RimerForecaster
from rimer_forecaster.benchmark import make_task
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.contender import Contender
from rimer_forecaster.benchmark.contenders import ALWAYS, NAMES, Model, make_contender
from rimer_forecaster.benchmark.of_darts import Darts
from rimer_forecaster.benchmark.of_neuralforecast import NEURALFORECAST
from rimer_forecaster.benchmark.of_sktime import Sktime
from rimer_forecaster.benchmark.task import Task
from rimer_forecaster.zero_shot.catalogue import zero_shot_network

QUICK_NAMES = [name for name in NAMES if not name.startswith("auto")]  # those have their own test


def needed(model: object) -> None:
    """Skip where a library is absent that the extra `benchmark` brings on Linux alone."""
    if model in [name.lower() for name in NEURALFORECAST]:
        pytest.importorskip("neuralforecast")


def parameters(contender: Contender) -> int:
    return sum(x.numel() for x in contender.weights())


@pytest.mark.parametrize("name", [*QUICK_NAMES, "rwkv7*2", "(rwkv7, attention(window=2))"])
def test_every_name_forecasts_the_same_windows(name: str) -> None:
    needed(name)
    task = make_task(frame(120, columns=2), 3, look_back=12, stride=5)
    contender = make_contender(name, task, Budget(epochs=1, batch_size=64), 0)
    contender.fit()
    forecast = contender.forecast(task.origins)
    assert forecast.shape == (len(task.origins), 3, 2, 1)
    assert np.isfinite(forecast).all()
    one = contender.forecast(task.origins[-1:])
    np.testing.assert_allclose(one[0], forecast[-1], rtol=1e-3, atol=1e-3)
    assert (parameters(contender) > 0) == (name not in ALWAYS[:2])


def test_a_name_stands_for_covariates_that_write_a_state() -> None:
    known = TimeSeries.from_dataframe(frame(120, seed=1))
    task = make_task(frame(120), 3, look_back=12, future_covariates=known)
    contender = make_contender("rwkv7-cross-covariates", task, Budget(epochs=1), 0)
    contender.fit()
    network = contender.streamed_network()
    assert network is not None
    assert network.config.crosses_covariates


@pytest.mark.parametrize("name", ["rwkv7", "rwkv7-cross-covariates", "tide"])
def test_units_of_covariates_do_not_matter(name: str) -> None:
    known, forecasts = TimeSeries.from_dataframe(frame(120, seed=1)), []
    for covariates in (known, known * 1e3 + 7e3):
        task = make_task(frame(120), 3, look_back=12, future_covariates=covariates)
        contender = make_contender(name, task, Budget(epochs=1), 0)
        contender.fit()
        forecasts.append(contender.forecast(task.origins))
    np.testing.assert_allclose(*forecasts, atol=1e-4)


@pytest.mark.parametrize(
    "model", [*QUICK_NAMES, "rwkv7*2", RimerForecaster(12, n_epochs=1)], ids=str
)
def test_no_forecast_looks_ahead(model: Model) -> None:
    needed(model)
    forecasts = []
    for change in (0.0, 1e3):
        data = frame(120)
        data.iloc[110:] += change
        task = make_task(data, 3, look_back=12)
        contender = make_contender(model, task, Budget(epochs=1), 0)
        contender.fit()
        forecasts.append(contender.forecast(task.origins[task.origins <= 110]))
    np.testing.assert_array_equal(*forecasts)


@pytest.mark.parametrize("name", ["rwkv7", "dlinear"])
def test_the_validation_loss_is_that_of_the_validation_part_by_the_weights_that_are_used(
    name: str,
) -> None:
    task = make_task(frame(160, columns=2), 3, look_back=12)
    contender = make_contender(name, task, Budget(epochs=3), 0)
    contender.fit()
    origins = np.arange(task.train_end, task.validation_end - 2)
    actual = task.z_scored().values()[origins[:, None] + np.arange(3)]
    error = np.abs(contender.forecast(origins)[..., 0] - actual).mean()
    assert contender.validation_loss == pytest.approx(error, rel=1e-4)


def trained_on(
    name: str, data: pd.DataFrame, budget: Budget | None = None, *, seed: int = 0
) -> Darts:
    task = make_task(data, 3, look_back=12)
    contender = make_contender(name, task, budget or Budget(epochs=1), seed)
    assert isinstance(contender, Darts)
    contender.fit()
    return contender


def steps_of(name: str, budget: Budget) -> int:
    """Train, and read from the best checkpoint how many steps it had."""
    contender = trained_on(name, frame(120), budget)
    (file,) = Path(contender.folder.name).glob("model/checkpoints/best*.ckpt")
    steps: int = torch.load(file, weights_only=False)["global_step"]
    return steps


@pytest.mark.parametrize(
    "name",
    [
        *("rwkv7", "transformer", "blockrnn-gru", "blockrnn-lstm", "tide", "tsmixer", "nlinear"),
        *("nhits", "tft"),
    ],
)
def test_forecasts_follow_the_level_of_the_window(name: str) -> None:
    contender = trained_on(name, frame(120))
    origins = contender.task.origins[:3]
    expected = contender.forecast(origins) + 50
    contender.series = contender.series + 50.0
    np.testing.assert_allclose(contender.forecast(origins), expected, atol=0.01)


def test_seeds_differ() -> None:
    one, other = (trained_on("rwkv7", frame(120), seed=seed) for seed in (0, 1))
    origins = one.task.origins[:2]
    assert np.abs(one.forecast(origins) - other.forecast(origins)).max() > 0


def test_the_learning_rate_is_that_of_the_budget() -> None:
    contender = trained_on("dlinear", frame(120), Budget(epochs=1, learning_rate=0.02))
    (file,) = Path(contender.folder.name).glob("model/checkpoints/best*.ckpt")
    (optimiser,) = torch.load(file, weights_only=False)["optimizer_states"]
    assert optimiser["param_groups"][0]["lr"] == 0.02


def test_training_stops_when_patience_is_over() -> None:
    noise = frame(160).mul(0) + np.random.default_rng(0).normal(size=(160, 1))
    contender = trained_on("dlinear", noise, Budget(epochs=60, patience=1, learning_rate=0.05))
    (file,) = Path(contender.folder.name).glob("model/checkpoints/last*.ckpt")
    assert torch.load(file, weights_only=False)["epoch"] < 50


@pytest.mark.parametrize("name", ["rwkv7", "dlinear"])
def test_a_stride_between_training_windows_leaves_fewer_of_them(name: str) -> None:
    steps = [steps_of(name, Budget(epochs=1, batch_size=4, train_stride=n)) for n in (1, 8)]
    assert steps == [15, 2]  # 58 windows, 8 windows


@pytest.mark.parametrize("name", ["rwkv7", "dlinear"])
def test_training_stops_when_its_seconds_are_over(name: str) -> None:
    budget = {"epochs": 1_000, "batch_size": 1, "patience": 1_000}
    assert steps_of(name, Budget(**budget, seconds=0.1)) < 1_000  # of 58,000, or 5 minutes


def test_naive_rows_are_what_they_say() -> None:
    data = frame(120)
    task = make_task(data, 9, look_back=12, season=7)
    z = (data.to_numpy() - task.scale()[0]) / task.scale()[1]
    at = int(task.origins[0])
    last = make_contender("last value", task, Budget(), 0).forecast(task.origins)
    assert_same_but_for_rounding(last[0, :, 0, 0], z[at - 1, 0])
    seasonal = make_contender("seasonal naive", task, Budget(), 0).forecast(task.origins)
    expected = z[[*range(at - 7, at), at - 7, at - 6], 0]
    assert_same_but_for_rounding(seasonal[0, :, 0, 0], expected)

    gap = data.copy()
    gap.iloc[at - 7 : at - 4] = np.nan  # the season before it is repeated there
    task = make_task(gap, 9, look_back=12, season=7)
    z = (gap.to_numpy() - task.scale()[0]) / task.scale()[1]
    seasonal = make_contender("seasonal naive", task, Budget(), 0).forecast(task.origins)
    rows = [at - 14, at - 13, at - 12, *range(at - 4, at), at - 14, at - 13]
    assert_same_but_for_rounding(seasonal[0, :, 0, 0], z[rows, 0])


def test_quantiles_of_naive_rows_widen_with_the_seasons_that_are_repeated() -> None:
    noise = frame(600).mul(0) + np.random.default_rng(0).normal(size=(600, 1))
    task = make_task(noise, 8, look_back=12, season=4)
    budget = Budget(quantiles=(0.1, 0.5, 0.9))
    found = make_contender("seasonal naive", task, budget, 0).forecast(task.origins)
    point = make_contender("seasonal naive", task, Budget(), 0).forecast(task.origins)
    assert_same_but_for_rounding(found[..., 1:2], point)
    width = (found[..., 2] - found[..., 0])[0, :, 0]
    assert width[0] == pytest.approx(2 * 1.2816 * 2**0.5, rel=0.1)  # of a difference of noise
    assert_same_but_for_rounding(width, width[0] * np.sqrt([1, 1, 1, 1, 2, 2, 2, 2]))


def test_darts_nlinear_forecasts_points_where_others_forecast_quantiles() -> None:
    contender = trained_on("nlinear", frame(120), Budget(epochs=1, quantiles=(0.1, 0.5, 0.9)))
    assert contender.forecast(contender.task.origins).shape[-1] == 1


def test_forecasters_of_sktime_are_updated_or_fitted_again() -> None:
    data = frame(120)
    task = make_task(data, 3, look_back=12, season=7, stride=4)
    naive = make_contender(NaiveForecaster(sp=7), task, Budget(), 0)
    naive.fit()
    expected = make_contender("seasonal naive", task, Budget(), 0).forecast(task.origins)
    assert_same_but_for_rounding(naive.forecast(task.origins), expected)
    mean = make_contender(NaiveForecaster(strategy="mean"), task, Budget(), 0)
    mean.fit()
    z = (data.to_numpy()[:, 0] - task.scale()[0]) / task.scale()[1]
    last = mean.forecast(task.origins)[-1, :, 0, 0]
    np.testing.assert_allclose(last, z[: task.origins[-1]].mean(), atol=1e-5)


def test_a_network_of_sktime_forecasts_from_what_came_before() -> None:
    task = make_task(frame(), 3, look_back=12)
    forecaster = RimerForecaster(12, 3, n_epochs=1)
    contender = make_contender(forecaster, task, Budget(), 0)
    assert isinstance(contender, Sktime)
    contender.fit()
    found = contender.forecast(task.origins[:2])
    weights = contender.forecaster._fitted.weights()
    for origin, one in zip(task.origins[:2], found, strict=True):
        anew = RimerForecaster(12, 3, n_epochs=0, pretrained=weights)
        expected = anew.fit(contender.frame[:origin], fh=[1, 2, 3]).predict()
        np.testing.assert_allclose(one[..., 0], expected, atol=1e-4)


def test_a_network_behind_a_transformer_is_updated_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = make_task(frame(120), 3, look_back=12, stride=9)
    inner = RimerForecaster(12, n_epochs=1)
    forecasts = []
    for forecaster in (inner, Id() * inner):
        contender = make_contender(forecaster, task, Budget(), 0)
        contender.fit()
        with monkeypatch.context() as patch:
            patch.setattr(RimerForecaster, "_fit", lambda *_, **__: pytest.fail("fitted again"))
            forecasts.append(contender.forecast(task.origins))
        assert parameters(contender) > 1_000
    assert_same_but_for_rounding(*forecasts)


@pytest.mark.parametrize("place", ["model", "_forecaster"])
def test_a_network_whose_updates_are_lost_is_fitted_again_and_counted(place: str) -> None:
    network = torch.nn.Linear(3, 2)

    class Stale(NaiveForecaster):
        """Keeps a network as sktime's XLSTM, or NeuralForecast, does."""

        def _fit(self, y: Any, X: Any, fh: Any) -> Any:
            setattr(self, place, SimpleNamespace(models=[network]) if "_" in place else network)
            return super()._fit(y, X, fh)

        def _update(self, *_: Any, **__: Any) -> None:
            pytest.fail("updated")

    contender = make_contender(Stale(), make_task(frame(120), 3, look_back=12), Budget(), 0)
    contender.fit()
    contender.forecast(contender.task.origins[:2])
    assert parameters(contender) == 8


def of_package(name: str, task: Task, budget: Budget | None = None) -> Any:
    contender = make_contender(name, task, budget or Budget(epochs=2), 0)
    contender.fit()
    return contender


def test_weights_of_the_package_forecast_as_they_are_tuned_and_compressed() -> None:
    """Beyond their own horizon; each variant is what its name says."""
    noise = 0.3 * np.random.default_rng(0).normal(size=(600, 1))
    task = make_task(frame(600) + noise, 70, look_back=24, stride=40)
    zero = of_package("zero", task)
    forecast = zero.forecast(task.origins)
    assert forecast.shape == (len(task.origins), 70, 1, 1)
    weights = zero_shot_network().state_dict()
    others = {name: of_package(name, task) for name in ("zero+adapt", "zero+fine-tuned")}
    for name, contender in {"zero": zero, **others}.items():
        own = contender.forecaster.network_.state_dict()
        same = all(torch.equal(own[key].cpu(), weight) for key, weight in weights.items())
        assert same == (name != "zero+fine-tuned")
    assert zero.forecaster.adapted_ is None
    assert others["zero+adapt"].forecaster.adapted_ is not None
    compressed = of_package("compressed", task)
    assert parameters(compressed) > 0.95 * parameters(zero)
    stored = [x.dtype for x in compressed.forecaster.network_.buffers()]
    assert torch.int8 in stored
    np.testing.assert_allclose(compressed.forecast(task.origins), forecast, atol=0.2)


def test_covariates_are_read_by_weights_of_the_package_that_are_trained_on() -> None:
    known = TimeSeries.from_dataframe(frame(120, seed=1))
    task = make_task(frame(120), 3, look_back=12, future_covariates=known)
    for name, expected in {"zero": False, "zero+adapt": False, "zero+fine-tuned": True}.items():
        contender = of_package(name, task, Budget(epochs=1))
        assert contender.reads_covariates == expected
        assert bool(contender.forecaster.network_.config.future_covariates) == expected
