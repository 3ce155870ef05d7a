"""compare(): what it refuses, what it measures, and that all models are asked the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from darts import TimeSeries
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sktime.forecasting.naive import NaiveForecaster
from sktime.transformations.compose import Id

from rimer_forecaster import RimerForecaster, RimerModel
from rimer_forecaster.benchmark import Task, compare, make_task, read_csv
from rimer_forecaster.benchmark.contenders import (
    ALWAYS,
    NAMES,
    Budget,
    Darts,
    Model,
    Sktime,
    make_contender,
)
from rimer_forecaster.benchmark.runs import Run
from rimer_forecaster.benchmark.scores import Scores

QUICK: dict[str, Any] = {"epochs": 1, "isolated": False, "progress": False}


def frame(n: int = 240, columns: int = 1, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = 20 + np.sin(2 * np.pi * np.arange(n)[:, None] / 12 + np.arange(columns))
    return pd.DataFrame(
        values + 0.1 * rng.normal(size=values.shape),
        index=pd.date_range("2020-01-01", periods=n, freq="D", name="day"),
        columns=[f"y{i}" for i in range(columns)],
    )


# --- the task ---------------------------------------------------------------------------------


def test_rows_out_of_order_are_refused_and_named(tmp_path: Path) -> None:
    shuffled = frame().sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match=r"not in order of time: row \d+, .* is followed by an"):
        compare(shuffled, 6, **QUICK)
    twice = frame().iloc[[*range(50), 49, *range(50, 200)]]
    with pytest.raises(ValueError, match="row 49, 2020-02-19 00:00:00, appears twice"):
        make_task(twice, 6)
    shuffled.to_csv(tmp_path / "shuffled.csv")
    with pytest.raises(ValueError, match="not in order of time"):
        read_csv(tmp_path / "shuffled.csv")


def test_a_series_is_split_in_order_of_time() -> None:
    task = make_task(frame(200), 5, look_back=10, split=(0.5, 0.25, 0.25))
    assert (task.train_end, task.validation_end) == (100, 150)
    assert task.origins.tolist() == list(range(150, 196))
    assert task.season == 7
    mean, deviation = task.scale()
    known = frame(200).to_numpy()[:100]
    np.testing.assert_allclose(mean, known.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, known.std(0), rtol=1e-4)
    steps = make_task(frame(200), 5, look_back=10, split=(100, 40, 30))
    assert len(steps.series) == 170
    with pytest.raises(ValueError, match="the validation part has 4 steps, but needs at least 5"):
        make_task(frame(200), 5, look_back=10, split=(100, 4, 30))


def test_test_targets_in_their_own_input_are_said() -> None:
    copied = frame()
    copied["ahead"] = copied["y0"].shift(-8).bfill().ffill()  # y0 eight days before it comes
    remarks = make_task(copied, 6, look_back=24).remarks()
    assert any("test values of 'y0' are those of 'ahead' 8 steps before" in one for one in remarks)
    series = TimeSeries.from_dataframe(frame())
    task = make_task(series, 6, look_back=24, future_covariates=series)
    assert any("are those of the future covariate 'y0'" in one for one in task.remarks())
    assert not make_task(frame(columns=3), 6, look_back=24).remarks()
    mostly_zero = frame()
    mostly_zero["rain"] = np.random.default_rng(0).choice([0.0, 1.0, 2.0], 240, p=[0.8, 0.1, 0.1])
    assert not make_task(mostly_zero, 6, look_back=24).remarks()


@pytest.mark.parametrize(
    ("index", "absent", "season"),
    [
        (pd.date_range("2020-01-01", periods=240, freq="D"), [50], 7),
        (pd.bdate_range("2020-01-01", periods=240), [50, 51, 130], 5),
        (pd.date_range("2005-01-01", periods=240, freq="MS"), [100], 12),
        (pd.date_range("2005-01-31", periods=240, freq="ME"), [100, 101], 12),
        (pd.date_range("2020-01-01", periods=240, freq="h"), [3, 7, 11, 200], 24),
        (pd.date_range("2020-01-05", periods=240, freq="W"), [17], 52),
    ],
)
def test_absent_time_points_change_neither_step_nor_season(
    index: pd.DatetimeIndex, absent: list[int], season: int
) -> None:
    whole = frame().set_axis(index)
    task = make_task(whole.drop(index[absent]), 4, look_back=8)
    assert task.season == season
    assert (task.series.time_index == index).all()
    assert np.flatnonzero(np.isnan(task.series.values()[:, 0])).tolist() == absent


def test_a_season_without_a_past_is_refused() -> None:
    weeks = frame(60).set_axis(pd.date_range("2020-01-05", periods=60, freq="W"))
    with pytest.raises(ValueError, match="season=52 is not shorter than the training part of 36"):
        make_task(weeks, 4, look_back=8)
    assert make_task(weeks, 4, look_back=8, season=1).season == 1


# --- errors -----------------------------------------------------------------------------------


def test_errors_are_those_of_scikit_learn_however_they_are_added_up() -> None:
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(size=(30, 5, 3)), rng.normal(size=(30, 5, 3, 1))
    actual[3, 2, 1] = np.nan
    mean, deviation, naive = np.array([90.0, 80, 70]), np.array([1.0, 2, 3]), np.array([0.5, 1, 2])
    scores, own = Scores(mean, deviation, naive, None), actual * deviation + mean
    for block in (slice(0, 7), slice(7, 30)):
        scores.add(own[block], forecast[block])
    table, known = scores.table(), ~np.isnan(actual)
    a, f = actual[known], forecast[..., 0][known]
    assert table["MSE"] == pytest.approx(mean_squared_error(a, f))
    assert table["MAE"] == pytest.approx(mean_absolute_error(a, f))
    by_component = [
        (r2_score(a, f), mean_absolute_error(a, f))
        for a, f in (
            (actual[..., c][known[..., c]], forecast[..., c, 0][known[..., c]]) for c in range(3)
        )
    ]
    assert table["R2"] == pytest.approx(np.mean([r2 for r2, _ in by_component]))
    expected = np.mean([mae for _, mae in by_component] / naive)
    assert table["MASE"] == pytest.approx(expected)
    assert table["MAPE, %"] == pytest.approx(
        100 * np.mean(np.abs((forecast[..., 0] - actual) * deviation / own)[known])
    )
    np.testing.assert_allclose(
        scores.by_step(), [np.nanmean(np.abs(actual - forecast[..., 0])[:, h]) for h in range(5)]
    )


def test_errors_of_one_component_are_in_its_own_units() -> None:
    rng = np.random.default_rng(0)
    own, forecast = 50 + 3 * rng.normal(size=(20, 4, 1)), rng.normal(size=(20, 4, 1, 1))
    scores = Scores(np.array([50.0]), np.array([3.0]), np.ones(1), None)
    scores.add(own, forecast)
    table, error = scores.table(), own - (50 + 3 * forecast[..., 0])
    assert table["MSE"] == pytest.approx((error**2).mean())
    assert table["RMSE"] == pytest.approx((error**2).mean() ** 0.5)
    assert table["MAE"] == pytest.approx(np.abs(error).mean())


def test_mape_is_withheld_near_zero() -> None:
    data = frame() - 20
    found = compare(data, 6, look_back=24, models=[], **QUICK)
    assert "MAPE, %" not in found.table
    assert "MAPE is not to be trusted here" in found.remarks[0]
    assert "MAPE is not to be trusted here" in found.to_markdown()


def test_quantiles_of_a_normal_distribution_cover_what_they_should() -> None:
    """The weighted quantile loss is that of values in their own units, each component by itself."""
    rng = np.random.default_rng(0)
    actual, levels = rng.normal(size=(4000, 2, 2)), (0.1, 0.5, 0.9)
    forecast = np.broadcast_to([-1.2816, 0.0, 1.2816], (4000, 2, 2, 3))
    mean, deviation = np.array([10.0, -300.0]), np.array([2.0, 50.0])
    scores, own = Scores(mean, deviation, np.ones(2), levels), actual * deviation + mean
    scores.add(own, forecast)
    assert scores.table()["coverage"] == pytest.approx(0.8, abs=0.01)
    expected = []
    for c in range(2):
        distances = [own[..., c] - (deviation[c] * x + mean[c]) for x in forecast[0, 0, 0]]
        losses = [np.maximum(q * d, (q - 1) * d) for q, d in zip(levels, distances, strict=True)]
        expected.append(2 * np.mean(losses) / np.abs(own[..., c]).mean())
    assert scores.table()["WQL"] == pytest.approx(np.mean(expected))


def test_a_dead_component_is_left_out_of_what_it_would_spoil_and_named() -> None:
    data = frame(200, columns=2)
    alive = compare(data[["y0"]], 3, look_back=12, models=[], **QUICK)
    data["y1"] = 5.0
    found = compare(data, 3, look_back=12, models=[], **QUICK)
    for measure in ("MASE", "R2"):
        pd.testing.assert_series_equal(found.table[measure], alive.table[measure], rtol=1e-3)
    assert "'y1' is left out of MASE: seasonal naive makes no error" in " ".join(found.remarks)
    assert "'y1' is left out of R2: it does not vary in the test part" in " ".join(found.remarks)


def test_shares_of_true_zeros_are_those_of_the_test_part() -> None:
    counts = pd.DataFrame({"n": np.random.default_rng(0).poisson(1.0, 240)}, index=frame().index)
    (remark, *_) = compare(counts, 6, look_back=24, models=[], **QUICK).remarks
    zeros = (counts["n"][192:] == 0).mean()
    assert f"of which {100 * zeros:.3g} % are exactly zero" in remark


@pytest.mark.parametrize("order", [(0.5, 0.1, 0.9), (0.9, 0.5, 0.1, 0.5)])
def test_the_order_of_quantiles_does_not_matter(order: tuple[float, ...]) -> None:
    def table(quantiles: tuple[float, ...]) -> pd.DataFrame:
        found = compare(frame(), 6, look_back=24, models=["rwkv7"], quantiles=quantiles, **QUICK)
        return found.table[["MSE", "WQL", "coverage"]]

    pd.testing.assert_frame_equal(table(order), table((0.1, 0.5, 0.9)))


# --- models -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "rwkv7*2", "(rwkv7, attention(window=2))"])
def test_every_name_forecasts_the_same_windows(name: str) -> None:
    task = make_task(frame(120, columns=2), 3, look_back=12, stride=5)
    contender = make_contender(name, task, Budget(epochs=1, batch_size=64), 0)
    contender.fit()
    forecast = contender.forecast(task.origins)
    assert forecast.shape == (len(task.origins), 3, 2, 1)
    assert np.isfinite(forecast).all()
    one = contender.forecast(task.origins[-1:])
    np.testing.assert_allclose(one[0], forecast[-1], rtol=1e-3, atol=1e-3)
    assert (contender.parameters() > 0) == (name not in ALWAYS[:2])


@pytest.mark.parametrize("name", ["rwkv7", "blockrnn-gru", "dlinear", "seasonal naive"])
def test_missing_values_are_left_out_of_errors_and_spoil_no_model(name: str) -> None:
    data = frame(160, columns=2)
    data = data.mask(np.random.default_rng(1).random(data.shape) < 0.1)
    found = compare(data, 3, look_back=12, models=[name], **QUICK)
    assert np.isfinite(found.table[["MSE", "MAE", "MASE", "R2"]]).all(axis=None)


@pytest.mark.parametrize("name", ["rwkv7", "tide"])
def test_units_of_covariates_do_not_matter(name: str) -> None:
    known, forecasts = TimeSeries.from_dataframe(frame(120, seed=1)), []
    for covariates in (known, known * 1e3 + 7e3):
        task = make_task(frame(120), 3, look_back=12, future_covariates=covariates)
        contender = make_contender(name, task, Budget(epochs=1), 0)
        contender.fit()
        forecasts.append(contender.forecast(task.origins))
    np.testing.assert_allclose(*forecasts, atol=1e-4)


@pytest.mark.parametrize("model", [*NAMES, "rwkv7*2", RimerForecaster(12, n_epochs=1)], ids=str)
def test_no_forecast_looks_ahead(model: Model) -> None:
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
    "name", ["rwkv7", "transformer", "blockrnn-gru", "blockrnn-lstm", "tide", "tsmixer", "nlinear"]
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
    np.testing.assert_allclose(last[0, :, 0, 0], z[at - 1, 0], rtol=1e-5)
    seasonal = make_contender("seasonal naive", task, Budget(), 0).forecast(task.origins)
    expected = z[[*range(at - 7, at), at - 7, at - 6], 0]
    np.testing.assert_allclose(seasonal[0, :, 0, 0], expected, rtol=1e-4)


def test_forecasters_of_sktime_are_updated_or_fitted_again() -> None:
    data = frame(120)
    task = make_task(data, 3, look_back=12, season=7, stride=4)
    naive = make_contender(NaiveForecaster(sp=7), task, Budget(), 0)
    naive.fit()
    expected = make_contender("seasonal naive", task, Budget(), 0).forecast(task.origins)
    np.testing.assert_allclose(naive.forecast(task.origins), expected, rtol=1e-4)
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
        assert contender.parameters() > 1_000
    np.testing.assert_allclose(*forecasts, atol=1e-5)


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
    assert contender.parameters() == 8


def test_forecasters_of_sktime_have_names() -> None:
    models = ["NaiveForecaster(sp=7)", "Id() * NaiveForecaster(sp=7)"]
    found = compare(frame(), 3, look_back=12, season=7, stride=9, models=models, **QUICK)
    for name in models:
        assert found.table.loc[name, "MAE"] == pytest.approx(
            found.table.loc["seasonal naive", "MAE"], rel=1e-4
        )
    for name, message in (
        ("NaiveForecastre()", "begins with a capital letter, but cannot be made"),
        ("NaiveForecaster(ps=7)", "unexpected keyword argument 'ps'"),
        ("Id()", "is a Id, not a forecaster"),
        ("__import__('os').system('true')", "neither a model"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(frame(), 3, look_back=12, models=[name], **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride=0 must be a whole number of at least 1"),
        ({"epochs": 0}, "epochs=0 must be"),
        ({"seeds": 0}, "seeds=0 must be"),
        ({"quantiles": (0.1, 0.9)}, "must hold 0.5"),
        ({"quantiles": (0.1, 0.5)}, "be symmetric about it"),
        ({"models": ["nlinear"], "quantiles": (0.1, 0.5, 0.9)}, "NLinearModel forecasts no quant"),
        ({"models": ["rnn-gru"], "split": (180, 6, 54)}, "'rnn-gru' needs at least 7"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rimer_forecaster.benchmark import runs

    monkeypatch.setattr(runs, "measure", lambda _: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        compare(frame(), 6, **{"look_back": 24, **QUICK, **options})


def test_a_task_takes_no_further_arguments() -> None:
    task = make_task(frame(), 6, look_back=24)
    with pytest.raises(ValueError, match=r"\['epoch'\] cannot be given with a task"):
        compare(task, epoch=99, **QUICK)
    with pytest.raises(ValueError, match=r"\['horizon'\] cannot be given with a task"):
        compare(task, 30, **QUICK)


def test_rows_that_are_not_made_as_the_others_are_named() -> None:
    task = make_task(
        frame(160), 3, look_back=12, future_covariates=TimeSeries.from_dataframe(frame(160, seed=1))
    )
    models = {"ours": "rwkv7", "lstm": "rnn-lstm", "linear": "dlinear", "mean": NaiveForecaster()}
    found = compare(task, models=models, **QUICK)
    remarks = " ".join(found.remarks)
    assert "mean: forecasters of sktime keep their own look-back" in remarks
    assert "linear, mean, seasonal naive, last value: without the future covariates" in remarks
    assert "lstm: trained and stopped by the error one step ahead" in remarks
    assert np.isnan(found.table.loc["lstm", "validation loss"])


def test_an_unknown_model_is_named_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match=r"'lstn' is neither a model .* nor a layer string"):
        compare(frame(), 6, models=["lstn"], **QUICK)


def test_arguments_of_rimer_model_make_a_model() -> None:
    sizes = {"layers": "gru", "width": 16, "patch_length": 4}
    found = compare(frame(120), 3, look_back=12, models={"a": sizes, "b": "gru"}, **QUICK)
    expected = RimerModel(12, 3, **sizes, n_epochs=1, pl_trainer_kwargs={"accelerator": "cpu"})
    expected.fit(TimeSeries.from_dataframe(frame(60).astype(np.float32)))
    weights = sum(one.numel() for one in expected.model.parameters())
    assert found.table.loc["a", "parameters"] == weights
    assert found.table.loc["b", "parameters"] != weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_epochs": 3}, r"\['n_epochs'\] is not what .* width, .* arguments of compare"),
        ({"layers": "lstn"}, "unknown layer 'lstn'"),
        ({"patch_length": 25}, "patch_length=25 is longer than input_chunk_length=24"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_trained(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(frame(), 6, look_back=24, models={"wrong": options}, **QUICK)


# --- compare ----------------------------------------------------------------------------------


def test_a_comparison_has_its_rows_its_columns_and_its_files(tmp_path: Path) -> None:
    found = compare(
        frame(),
        6,
        look_back=24,
        models={"ours": "rwkv7", "in sktime": RimerForecaster(24, n_epochs=1)},
        quantiles=(0.1, 0.5, 0.9),
        seeds=2,
        stride=3,
        results=tmp_path / "runs",
        **QUICK,
    )
    assert list(found.table.index) == [
        "ours",
        "in sktime",
        "rlinear",
        "seasonal naive",
        "last value",
    ]
    assert found.table["seeds"].tolist() == [2, 2, 2, 1, 1]
    expected = {"MSE std", "WQL", "coverage", "validation loss", "parameters", "fit, s"}
    assert expected <= set(found.table.columns)
    best = found.runs.set_index("model").loc["ours", "MAE"]
    assert found.table.loc["ours", "MAE"] == pytest.approx(best.mean())
    assert found.by_step.shape == (6, 5)
    found.save(tmp_path)
    for name in (
        "table.csv",
        "table.md",
        "runs.csv",
        "forecasts.png",
        "errors_by_step.png",
        "cost.png",
    ):
        assert (tmp_path / name).stat().st_size > 100, name


def test_an_interrupted_comparison_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {**QUICK, "look_back": 24, "results": tmp_path}
    first = compare(frame(), 6, models=["dlinear"], **settings)
    from rimer_forecaster.benchmark import runs

    measured = []
    original = runs.measure
    monkeypatch.setattr(runs, "measure", lambda run: measured.append(run.label) or original(run))
    again = compare(frame(), 6, models=["dlinear", "nlinear"], **settings)
    assert measured == ["nlinear"]
    pd.testing.assert_series_equal(again.table.loc["dlinear"], first.table.loc["dlinear"])
    compare(frame(seed=1), 6, models=[], **settings)
    assert len(measured) == 4, "other data are other runs"


def test_a_result_belongs_to_all_that_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from rimer_forecaster.benchmark import runs

    def digest(task: Task, model: Any = "rwkv7") -> str:
        return Run("model", model, task, Budget(), 0).digest()

    task = make_task(frame(), 6, look_back=24)
    shops = pd.concat({"a": frame(), "b": frame(seed=1)}, names=["shop"])
    weights = [
        RimerForecaster(24, n_epochs=1, random_state=seed, output_chunk_length=6).pretrain(shops)
        for seed in (0, 0, 1)
    ]
    same, again, other = (
        digest(task, RimerForecaster(24, n_epochs=0, pretrained=one.pretrained_)) for one in weights
    )
    assert same == again != other
    later = make_task(frame().shift(freq="D"), 6, look_back=24)
    assert digest(task) == digest(make_task(frame(), 6, look_back=24)) != digest(later)
    before = digest(task)
    assert replace(Run("model", "rwkv7", task, Budget(), 0), seed=1).digest() != before
    for change in (
        {"epochs": 3},
        {"seconds": 1.0},
        {"batch_size": 7},
        {"train_stride": 2},
        {"patience": 1},
        {"learning_rate": 1e-2},
        {"quantiles": (0.1, 0.5, 0.9)},
    ):
        assert Run("model", "rwkv7", task, Budget(**change), 0).digest() != before, change
    monkeypatch.setattr(runs, "_code", lambda: b"another recipe")
    assert digest(task) != before


def test_a_run_that_ends_without_a_result_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rimer_forecaster.benchmark import runs

    ended = subprocess.CompletedProcess([], 0, "", "terminated")  # as Lightning does at SIGTERM
    monkeypatch.setattr(runs.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(RuntimeError, match=r"dlinear, seed 0, failed:\nterminated"):
        compare(frame(), 6, models=["dlinear"], epochs=1, progress=False)


def test_the_command_line(tmp_path: Path) -> None:
    """In processes of their own, which is where peaks of memory come from."""
    frame(150, columns=2).to_csv(tmp_path / "days.csv")
    command = [sys.executable, "-m", "rimer_forecaster.benchmark", tmp_path / "days.csv"]
    options = ["--horizon", "4", "--look-back", "16", "--models", "dlinear", "--epochs", "1"]
    where = ["--output", tmp_path / "out"]
    done = subprocess.run([*command, *options, *where], capture_output=True, text=True, check=True)
    assert "| dlinear |" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "table.csv", index_col=0)
    assert list(table.index) == ["dlinear", "rlinear", "seasonal naive", "last value"]
    if sys.platform != "win32":
        assert table.loc["dlinear", "peak memory, MiB"] > 0
    wrong = subprocess.run([*command, "--horizon", "400", *where], capture_output=True, text=True)
    assert wrong.returncode
    assert "the training part has 90 steps, but needs at least" in wrong.stderr
    assert "Traceback" not in wrong.stderr
