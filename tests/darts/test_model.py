"""RimerModel as a user of darts meets it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts import TimeSeries, concatenate
from darts.metrics import mae
from darts.models import NaiveSeasonal
from darts.utils.data.torch_datasets.utils import PLModuleOutput
from darts.utils.likelihood_models.torch import (
    CauchyLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    QuantileRegression,
)
from darts.utils.timeseries_generation import linear_timeseries
from darts_cases import QUIET, TINY, wave
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel
from rimer_forecaster.darts.module import RimerModule


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave())


# --- fit, predict, backtest -------------------------------------------------------------------


def test_one_argument_is_enough_and_beats_seasonal_naive() -> None:
    series = wave(400) + linear_timeseries(
        0, 4, length=400, start=wave().start_time(), dtype=np.float32
    )
    train, test = series[:-24], series[-24:]
    model = RimerModel(input_chunk_length=96, random_state=0, **QUIET).fit(train)
    assert model.output_chunk_length == 24
    assert model.epochs_trained == 100  # 257 windows, 9 steps an epoch
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


def test_a_batch_is_moved_without_a_search_of_its_schemas(fitted: RimerModel) -> None:
    """The search takes a fifth of a backtest's time."""
    from pytorch_lightning.utilities import move_data_to_device

    dataset = fitted._build_inference_dataset(6, [wave(60)], None, None)
    schema = dataset[0].series_schema
    assert move_data_to_device([schema], torch.device("cpu"))[0] is schema
    assert schema == wave(60).schema()


def dataset_of(series: TimeSeries) -> Any:
    return RimerModel(**TINY)._build_train_dataset([series], None, None, None, None)


def test_a_window_to_train_on_is_found_once() -> None:
    dataset = dataset_of(wave(60))
    assert dataset[3] is dataset[3]
    np.testing.assert_array_equal(dataset[3].past_target, wave(60).values()[-33:-9])
    dataset.most_kept = 1
    assert dataset[4] is not dataset[4]


@pytest.mark.parametrize("options", [{}, {"stride": 4}, {"max_samples_per_ts": 5}], ids=str)
def test_every_window_is_trained_on_once_an_epoch_however_long_its_series(
    options: dict[str, Any],
) -> None:
    lengths, ahead, stride = (60, 34, 90), 6, options.get("stride", 1)
    series = [wave(n) + 10 * i for i, n in enumerate(lengths)]
    arguments = {"sample_weight": None, "max_samples_per_ts": None, **options}
    model = RimerModel(24, ahead)
    dataset = model._build_train_dataset(series, None, None, **arguments)
    expected = [
        (i, one.values()[end - 1, 0])
        for i, one in enumerate(series)
        for end in range(len(one), 24 + ahead - 1, -stride)[: options.get("max_samples_per_ts")]
    ]
    found = [dataset[i].future_target[-1, 0] for i in range(len(dataset))]
    assert found == [last for _, last in expected]


def test_a_window_of_a_stochastic_series_is_another_draw_each_time() -> None:
    values = np.random.default_rng(0).normal(size=(60, 1, 50))
    dataset = dataset_of(TimeSeries.from_values(values))
    draws = [dataset[0].past_target for _ in range(10)]
    assert any((draw != draws[0]).any() for draw in draws)


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
    np.testing.assert_allclose(
        model.predict(6, series=series[order]).values(),
        forecast.values()[:, [2, 0, 1]],
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_gap_between_input_and_output() -> None:
    model = RimerModel(**TINY, output_chunk_shift=3).fit(wave())
    forecast = model.predict(6)
    assert forecast.start_time() == wave().end_time() + 4 * wave().freq


# --- covariates -------------------------------------------------------------------------------


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


def test_encoders() -> None:
    model = RimerModel(**TINY, add_encoders={"cyclic": {"future": ["month"]}}).fit(wave())
    assert np.isfinite(model.predict(10).values()).all()


# --- missing values and short series ----------------------------------------------------------


def with_gaps(series: TimeSeries, share: float = 0.1, seed: int = 0) -> TimeSeries:
    values = series.values().copy()
    values[np.random.default_rng(seed).random(values.shape) < share] = np.nan
    return series.with_values(values)


@pytest.mark.parametrize("weights", [None, "linear"])
@pytest.mark.parametrize(
    "likelihood", [None, GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])]
)
def test_missing_values_are_no_part_of_the_loss(likelihood: Any, weights: str | None) -> None:
    """A gap filled with any value in the horizon would change it; one that is left out cannot."""
    series = with_gaps(wave(components=2))
    covariates = {"past_covariates": with_gaps(wave()), "future_covariates": with_gaps(wave(200))}
    settings = {**TINY, "n_epochs": 5, "likelihood": likelihood}
    model = RimerModel(**settings).fit(series, sample_weight=weights, **covariates)
    assert np.isfinite(model.predict(6, **covariates).values()).all()
    module = model.model
    module._unit = torch.full((1, 1, 1), 2.0)
    forecast = torch.randn(7, 6, 2, module.likelihood.num_parameters if likelihood else 1)
    target = torch.randn(7, 6, 2)
    target[2, 3, 1] = target[4] = float("nan")
    weight = torch.rand(7, 6, 2) if weights else None
    criterion = torch.nn.L1Loss(reduction="none" if weights else "mean")
    actual = module._compute_loss(PLModuleOutput(forecast, forecast), target, criterion, weight)
    each = [
        module._compute_loss(
            PLModuleOutput(one := forecast[b : b + 1, h : h + 1, c : c + 1], one),
            target[b : b + 1, h : h + 1, c : c + 1],
            criterion,
            None if weight is None else weight[b : b + 1, h : h + 1, c : c + 1],
        )
        for b, h, c in (~target.isnan()).nonzero().tolist()
    ]
    assert len(each) == 7 * 12 - 13
    torch.testing.assert_close(actual, torch.stack(each).mean())


def test_a_batch_whose_horizons_were_not_observed_teaches_nothing() -> None:
    series = wave(60)
    values = series.values().copy()
    values[30:36] = np.nan
    model = RimerModel(**{**TINY, "batch_size": 1}).fit(series.with_values(values))
    assert np.isfinite(model.predict(6).values()).all()


def test_metrics_are_over_steps_that_were_observed() -> None:
    from torchmetrics import MeanAbsoluteError

    model = RimerModel(**TINY, torch_metrics=MeanAbsoluteError()).fit(
        with_gaps(wave(components=2)), val_series=with_gaps(wave(components=2, seed=1))
    )
    for part in ("train", "val"):
        assert 0 < model.trainer.callback_metrics[f"{part}_MeanAbsoluteError"] < 10


def test_a_tenth_of_the_values_missing_costs_little() -> None:
    complete = wave(400)
    errors = []
    for series in (complete, with_gaps(complete)):
        model = RimerModel(**{**TINY, "n_epochs": 20}).fit(series[:300])
        forecasts = model.historical_forecasts(series[276:], forecast_horizon=6, retrain=False)
        errors.append(mae(complete, forecasts))
    assert errors[1] < 1.1 * errors[0]


def test_a_window_in_which_nothing_was_observed_is_named(fitted: RimerModel) -> None:
    series = wave(160, components=2)
    values = series.values().copy()
    values[50:80, 1] = np.nan
    gap = series.with_values(values)
    pattern = (
        r"series 1 has no value of component '1' from 2020-02-2\d .* to 2020-03-\d\d .*"
        r"a window of 24 steps .*extract_subseries"
    )
    with pytest.raises(ValueError, match=pattern):
        RimerModel(**TINY).fit([series, gap])
    model = RimerModel(**TINY).fit(series)
    assert len(model.predict(6, series=gap)) == 6  # its last window was observed
    with pytest.raises(ValueError, match=pattern):
        model.predict(6, series=[series, gap[:80]])
    with pytest.raises(ValueError, match=pattern):
        model.historical_forecasts([series, gap], retrain=False)
    longer = RimerModel(**{**TINY, "input_chunk_length": 40}).fit([series, gap])
    assert np.isfinite(longer.predict(6, series=gap[:80]).values()).all()
    # Windows that are not used may be empty.
    RimerModel(**TINY).fit([series, gap], max_samples_per_ts=10)


def test_missing_static_covariates_are_refused() -> None:
    static = pd.DataFrame({"a": [np.nan]})
    with pytest.raises(ValueError, match="series 0 has static covariates that are missing"):
        RimerModel(**TINY).fit(wave().with_static_covariates(static))


def test_a_short_series_is_forecast_as_by_a_model_of_its_length() -> None:
    settings = {**TINY, "input_chunk_length": (5, 24)}
    model = RimerModel(**settings).fit([wave(200), wave(11, seed=1)])
    assert model.input_chunk_length == 24
    assert model.min_input_chunk_length == 5
    assert model.untrained_model().min_input_chunk_length == 5
    forecasts = model.predict(12, series=[wave(5), wave(13), wave(80)])
    assert all(np.isfinite(forecast.values()).all() for forecast in forecasts)
    values = wave(13).values().copy()
    padded = TimeSeries.from_values(np.concatenate([np.full((40, 1), np.nan, np.float32), values]))
    assert_same_but_for_rounding(model.predict(12, series=padded).values(), forecasts[1].values())
    level = wave(13, level=1e3)
    np.testing.assert_allclose(
        model.predict(6, series=level).values(), forecasts[1].values()[:6] + 1e3, atol=2e-3
    )


def test_padded_windows_are_trained_on_and_covariates_padded_with_them() -> None:
    known = {"past_covariates": wave(40, seed=1), "future_covariates": wave(60, seed=2)}
    settings = {**TINY, "input_chunk_length": (5, 24)}
    model = RimerModel(**settings).fit(wave(12), **known)  # all its windows are padded
    assert np.isfinite(model.predict(6, **known).values()).all()
    with pytest.raises(ValueError, match=r"series 0 has 10 values.*at least 11: .* 5 \+ output"):
        RimerModel(**settings).fit(wave(10))
    with pytest.raises(ValueError, match=r"min_length <= max_length"):
        RimerModel(**{**TINY, "input_chunk_length": (25, 24)})


# --- likelihoods ------------------------------------------------------------------------------


def test_quantiles_are_ordered_and_in_the_units_of_the_series() -> None:
    series = wave(level=100.0)
    model = RimerModel(**{**TINY, "n_epochs": 20}, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    parameters = model.fit(series).predict(6, predict_likelihood_parameters=True).values()
    assert (np.diff(parameters, axis=1) >= 0).all()
    assert 98 < parameters[:, 1].mean() < 102
    samples = model.predict(6, num_samples=50)
    assert samples.n_samples == 50


@pytest.mark.parametrize("sigma", [0.06, 0.6, 60.0])
@pytest.mark.parametrize(
    ("likelihood", "of_normal_noise"),  # scale of the likelihood's best fit to normal noise
    [
        (GaussianLikelihood, 1.0),
        (LaplaceLikelihood, 0.80),
        (CauchyLikelihood, 0.61),
        (GumbelLikelihood, 1.0),
    ],
)
def test_scale_of_a_distribution_is_in_the_units_of_the_series(
    likelihood: type, of_normal_noise: float, sigma: float
) -> None:
    """At level 100 and sigma 0.6 darts' own reversible norm gives 99.9 (darts #2743)."""
    noise = np.random.default_rng(0).normal(100, sigma, size=(400, 1)).astype(np.float32)
    settings = {**TINY, "layers": None, "n_epochs": 30, "optimizer_kwargs": {"lr": 1e-2}}
    model = RimerModel(**settings, likelihood=likelihood()).fit(TimeSeries.from_values(noise))
    location, scale = model.predict(6, predict_likelihood_parameters=True).values().mean(0)
    assert abs(location - 100) < sigma
    assert scale == pytest.approx(of_normal_noise * sigma, rel=0.3)


# --- life of a model --------------------------------------------------------------------------


def test_save_and_load_in_a_fresh_process_without_trust(
    fitted: RimerModel, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "model.pt"
    fitted.save(str(path))
    code = f"""
from rimer_forecaster import RimerModel
model = RimerModel.load({str(path)!r})
print(model.predict(8, verbose=False).values().tobytes().hex())
"""
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert printed[-1] == fitted.predict(8).values().tobytes().hex()


class Intruder:
    def __init__(self, trace: pathlib.Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (self.trace,)


@pytest.mark.parametrize("suffix", ["", ".ckpt"])
def test_code_in_a_file_is_refused_and_does_not_run(
    suffix: str, fitted: RimerModel, tmp_path: pathlib.Path
) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    fitted.save(str(path))
    torch.save({"state_dict": Intruder(trace)}, f"{path}{suffix}")
    with pytest.raises(RuntimeError, match="not allow-listed for safe loading"):
        RimerModel.load(str(path))
    assert not trace.exists()


def test_a_loaded_model_goes_on_training(fitted: RimerModel, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    model = RimerModel.load(path)
    before = model.predict(6).values()
    model.fit(wave(), epochs=2)
    assert np.abs(model.predict(6).values() - before).max() > 0


def test_a_clean_save_keeps_no_training_series(fitted: RimerModel, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path, clean=True)
    model = RimerModel.load(path, pl_trainer_kwargs=QUIET["pl_trainer_kwargs"])
    with pytest.raises(ValueError, match="Input `series` must be provided"):
        model.predict(6)
    np.testing.assert_array_equal(
        model.predict(6, series=wave()).values(), fitted.predict(6).values()
    )


def test_checkpoints_restore_the_network(tmp_path: pathlib.Path) -> None:
    settings = {**TINY, "model_name": "m", "work_dir": str(tmp_path), "save_checkpoints": True}
    model = RimerModel(**settings, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    model.fit(wave(), val_series=wave(seed=1))
    loaded = RimerModel.load_from_checkpoint("m", work_dir=str(tmp_path), best=False)
    assert isinstance(loaded.model, RimerModule)
    assert loaded.model.uses_recipe
    parameters = {"predict_likelihood_parameters": True, "series": wave()}
    np.testing.assert_array_equal(
        loaded.predict(6, **parameters).values(), model.predict(6, **parameters).values()
    )


def test_random_state_gives_bit_equal_fits() -> None:
    forecasts = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(forecasts))  # the process's own state must not matter
        model = RimerModel(**{**TINY, "random_state": seed, "n_epochs": 3}).fit(wave())
        forecasts.append(model.predict(12).values())
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    assert np.abs(forecasts[0] - forecasts[2]).max() > 0


def test_untrained_clone_keeps_the_arguments(fitted: RimerModel) -> None:
    clone = fitted.untrained_model()
    assert clone.model_params == fitted.model_params
    assert clone.model is None


# --- numbers ----------------------------------------------------------------------------------


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


# --- training ---------------------------------------------------------------------------------


def optimiser_of(**arguments: Any) -> tuple[torch.optim.Optimizer, Any]:
    model = RimerModel(**TINY, **arguments).fit(wave())
    trainer = model.trainer
    return trainer.optimizers[0], trainer.lr_scheduler_configs


def test_the_recipe_is_the_default() -> None:
    optimizer, schedules = optimiser_of()
    assert type(optimizer) is torch.optim.AdamW
    assert {group["initial_lr"] for group in optimizer.param_groups} == {1e-3, 2e-3, 1e-2}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.01}
    assert isinstance(schedules[0].scheduler, torch.optim.lr_scheduler.CosineAnnealingLR)


def test_optimizer_kwargs_change_the_recipe() -> None:
    optimizer, _ = optimiser_of(optimizer_kwargs={"lr": 0.5, "betas": (0.1, 0.2)})
    assert {group["initial_lr"] for group in optimizer.param_groups} == {0.5, 1.0, 5.0}
    assert optimizer.defaults["betas"] == (0.1, 0.2)


def test_an_optimiser_or_schedule_of_the_user_replaces_it() -> None:
    optimizer, schedules = optimiser_of(
        optimizer_cls=torch.optim.SGD, optimizer_kwargs={"lr": 1e-3}
    )
    assert type(optimizer) is torch.optim.SGD
    assert len(optimizer.param_groups) == 1
    assert not schedules
    _, schedules = optimiser_of(
        lr_scheduler_cls=torch.optim.lr_scheduler.StepLR,
        lr_scheduler_kwargs={"step_size": 1, "monitor": "train_loss"},
    )
    assert isinstance(schedules[0].scheduler, torch.optim.lr_scheduler.StepLR)


def test_the_loss_is_the_absolute_error_unless_given() -> None:
    assert isinstance(RimerModel(**TINY).fit(wave()).model.criterion, torch.nn.L1Loss)
    model = RimerModel(**TINY, loss_fn=torch.nn.MSELoss()).fit(wave())
    assert isinstance(model.model.criterion, torch.nn.MSELoss)


def test_epochs_are_those_of_the_user_where_given() -> None:
    arguments = {key: value for key, value in TINY.items() if key != "n_epochs"}
    assert RimerModel(**arguments, n_epochs=2).fit(wave()).epochs_trained == 2
    assert RimerModel(**arguments).fit(wave(), epochs=3).epochs_trained == 3
    arguments["pl_trainer_kwargs"] = {**arguments["pl_trainer_kwargs"], "max_epochs": 4}
    assert RimerModel(**arguments).fit(wave()).epochs_trained == 4


def test_a_diverged_training_is_an_error() -> None:
    model = RimerModel(**TINY, optimizer_kwargs={"lr": 1e38})
    with pytest.raises(ValueError, match=r"training diverged.*Lower the learning rate"):
        model.fit(wave())


def test_a_validation_series_and_early_stopping() -> None:
    from pytorch_lightning.callbacks import EarlyStopping

    stopper = EarlyStopping("val_loss", patience=1, min_delta=1e9)
    trainer = {**QUIET["pl_trainer_kwargs"], "callbacks": [stopper]}
    model = RimerModel(**{**TINY, "n_epochs": 20, "pl_trainer_kwargs": trainer})
    model.fit(wave(), val_series=wave(seed=1))
    assert model.epochs_trained == 2


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["series", "past_covariates", "future_covariates"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30])
def test_a_value_that_cannot_be_used_is_named(where: str, value: float, fitted: RimerModel) -> None:
    values = wave(200).values().copy()
    values[137] = value
    bad = wave(200).with_values(values)
    arguments = {"series": wave(), where: bad}
    pattern = rf"{where} 0 has 1 values .* in component '0' at 2020-05-17 00:00:00: .*by NaN"
    with pytest.raises(ValueError, match=pattern):
        RimerModel(**TINY).fit(**arguments)
    if where == "series":
        with pytest.raises(ValueError, match=pattern):
            fitted.predict(6, series=bad)
        with pytest.raises(ValueError, match=pattern):
            fitted.historical_forecasts(bad, retrain=False)


def test_a_bad_value_is_found_in_any_of_several_series_and_components() -> None:
    values = wave(components=3).values().copy()
    values[50, 2] = np.inf
    series = [wave(components=3), wave(components=3).with_values(values)]
    with pytest.raises(
        ValueError, match=r"series 1 has 1 values .* in component '2' at 2020-02-20"
    ):
        RimerModel(**TINY).fit(series)


@pytest.mark.parametrize("role", ["series", "val_series"])
def test_a_series_too_short_to_train_on_is_named(role: str) -> None:
    arguments = {"series": [wave(), wave()], role: [wave(), wave(29)]}
    with pytest.raises(
        ValueError,
        match=r"series 1 has 29 values.*at least 30: input_chunk_length 24 \+ output_chunk",
    ):
        RimerModel(**TINY).fit(**arguments)


def test_a_series_too_short_to_predict_from_is_named(fitted: RimerModel) -> None:
    with pytest.raises(ValueError, match=r"too short.*min length: `24`, received length `23`"):
        fitted.predict(6, series=wave(23))


def test_a_wrong_number_of_components_is_named(fitted: RimerModel) -> None:
    with pytest.raises(ValueError, match="number of components: `2`, expected: `1`"):
        fitted.predict(6, series=wave(components=2))


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
    model.fit(series, future_covariates=huge)
    with pytest.raises(ValueError, match=r"not finite.* look for covariates that are large"):
        model.predict(40, series, future_covariates=huge)


def test_mixed_precision_trains_and_forecasts() -> None:
    trainer = {**QUIET["pl_trainer_kwargs"], "precision": "bf16-mixed"}
    series = wave(200)
    model = RimerModel(**{**TINY, "n_epochs": 5, "pl_trainer_kwargs": trainer}).fit(series)
    full = RimerModel(**{**TINY, "n_epochs": 5}).fit(series)
    np.testing.assert_allclose(model.predict(6).values(), full.predict(6).values(), atol=0.1)


@pytest.mark.parametrize(
    "layers",
    [
        "attention*2",
        "(rwkv7, attention(window=2))*2",
        "equilibrium(rwkv7)",
        "rwkv7(sse=on, retrospect=2)*2",
        "perspectives(rwkv7; lags=1+3)",
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


def test_training_heeds_what_the_layers_want_added_to_the_loss() -> None:
    weights = [
        RimerModel(**TINY, layers=f"equilibrium(rwkv7; penalty={penalty})")
        .fit(wave())
        .model.network.reader.head.weight
        for penalty in (0, 1000)
    ]
    assert not torch.equal(*weights)
