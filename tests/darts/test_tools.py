"""RimerModel with the tools around darts: ONNX, SHAP, optuna, MLflow, Lightning's tuner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import darts_cases
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.likelihood_models.torch import (
    CauchyLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    NegativeBinomialLikelihood,
    QuantileRegression,
    WeibullLikelihood,
)
from darts_cases import LEVEL, TRAINER
from darts_cases import wave_at_level as wave
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel
from rimer_forecaster.training import Recipe

TINY = {**darts_cases.TINY, "patch_length": 12}


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave())


# --- ONNX -------------------------------------------------------------------------------------


def with_weights_that_matter(model: RimerModel) -> RimerModel:
    """Layers start as zero maps, and after one epoch they still add next to nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def exported(model: RimerModel, path: Path, **options: Any) -> Any:
    pytest.importorskip("onnxscript", reason="exporting needs the extra 'onnx'")
    runtime = pytest.importorskip("onnxruntime", reason="inference needs the extra 'onnx'")
    model.to_onnx(str(path), verbose=False, **options)
    return runtime.InferenceSession(str(path))


@pytest.mark.parametrize(
    ("layers", "components", "n", "dtype"),
    [
        (None, 2, 15, np.float64),
        ("rwkv7", 1, 15, np.float32),  # beyond the output chunk
        ("rwkv7*2", 2, 6, np.float32),
        ("rwkv7*2", 2, 6, np.float64),
        ("rwkv7, attention(window=2)", 2, 15, np.float32),
        ("rwkv7, attention(window=2)", 2, 15, np.float64),
        ("gru, lstm", 1, 6, np.float32),
        ("rwkv7(sse=on, retrospect=2)", 1, 15, np.float32),
        ("rwkv7(sse=on, retrospect=2)", 2, 6, np.float64),
        ("perspectives(rwkv7*2; lags=1+3)", 2, 15, np.float32),
        ("perspectives(rwkv7; lags=2+3)", 2, 6, np.float64),
    ],
)
def test_an_exported_model_forecasts_what_predict_does(
    layers: str | None, components: int, n: int, dtype: Any, tmp_path: Path
) -> None:
    series, covariates = wave(components=components, dtype=dtype), {}
    if components > 1:
        static = pd.DataFrame({"a": [0.0, 1.0]})
        series = series.with_static_covariates(static).astype(dtype)
        covariates = {
            "past_covariates": wave(150, dtype=dtype, seed=1),
            "future_covariates": wave(150, components=2, dtype=dtype, seed=2),
        }
    model = with_weights_that_matter(RimerModel(**TINY, layers=layers).fit(series, **covariates))
    session = exported(model, tmp_path / "model.onnx")
    forecast = run_onnx(n, session, series, **covariates)
    expected = model.predict(n, **covariates)
    assert_same_but_for_rounding(forecast.values(), expected.values())
    assert forecast.time_index.equals(expected.time_index)
    assert forecast.dtype == expected.dtype


def test_an_exported_model_takes_missing_values_and_short_series(tmp_path: Path) -> None:
    settings = {**TINY, "input_chunk_length": (5, 24)}
    values, past = wave(components=2).values().copy(), wave(150, seed=1)
    values[-9:-4, 1] = values[-3] = np.nan
    series = wave(components=2).with_values(values)
    causes = past.values().copy()
    causes[90:95] = np.nan
    past = past.with_values(causes)
    model = RimerModel(**settings).fit(series, past_covariates=past)
    session = exported(with_weights_that_matter(model), tmp_path / "model.onnx")
    expected = model.predict(6, series, past_covariates=past)
    forecast = run_onnx(6, session, series, past_covariates=past)
    assert_same_but_for_rounding(forecast.values(), expected.values())
    window = np.full((1, 24, 2), np.nan, np.float32)
    window[0, -8:] = values[-8:]
    known = np.full((1, 24, 1), np.nan, np.float32)
    known[0, -8:] = causes[len(values) - 8 : len(values)]
    (output,) = session.run(None, {"past_target": window, "past_covariates": known})
    short = model.predict(6, series[-8:], past_covariates=past)
    assert_same_but_for_rounding(output[0, :, :, 0], short.values())


def run_onnx(n: int, session: Any, series: Any, **covariates: Any) -> Any:
    from darts.utils.onnx import run_onnx_prediction

    return run_onnx_prediction(n, session, series, verbose=False, **covariates)


def moved_by_rounding(model: RimerModel, series: TimeSeries) -> np.ndarray:
    """How far one rounding of the network's output, in float32, moves a parameter at most.

    One of a negative binomial distribution moves by a hundred times as much as a mean.
    """
    window = torch.from_numpy(series.values()[None, -24:])
    output = model.network(window.to(model.network.dtype))
    assert model.likelihood is not None
    parameters = [
        model.likelihood.predict_likelihood_parameters(model.model.head(x))
        for x in (output, output * (1 + float(np.finfo(np.float32).eps)))
    ]
    moved = (parameters[1] - parameters[0]).abs().detach()
    return moved.numpy().reshape(6, -1).max(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "likelihood",
    [
        QuantileRegression([0.1, 0.5, 0.9]),
        GaussianLikelihood(),
        LaplaceLikelihood(),
        CauchyLikelihood(),
        GumbelLikelihood(),
        GammaLikelihood(),
        NegativeBinomialLikelihood(),
        WeibullLikelihood(),
    ],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_an_exported_likelihood_gives_its_parameters(
    likelihood: Any, dtype: Any, tmp_path: Path
) -> None:
    """As darts 0.48.1 exports them, scales have not been through their softplus."""
    series = wave(components=2, dtype=dtype).map(lambda x: x.round())
    model = RimerModel(**TINY, layers=None, likelihood=likelihood).fit(series)
    session = exported(with_weights_that_matter(model), tmp_path / "model.onnx")
    forecast = run_onnx(6, session, series)
    expected = model.predict(6, predict_likelihood_parameters=True)
    allowed = 30 * moved_by_rounding(model, series) + 1e-6 * np.abs(expected.values())
    assert (np.abs(forecast.values() - expected.values()) <= allowed).all()
    assert list(forecast.components) == list(expected.components)


def test_a_model_exported_for_any_batch_size_forecasts_many_windows_at_once(tmp_path: Path) -> None:
    series = [wave(seed=seed) for seed in range(5)]
    model = with_weights_that_matter(RimerModel(**TINY).fit(series))
    session = exported(model, tmp_path / "model.onnx", dynamic_shapes=(({0: "batch"},),))
    windows = np.stack([one.values()[-24:] for one in series])
    (outputs,) = session.run(None, {"past_target": windows})
    expected = [one.values() for one in model.predict(6, series)]
    assert_same_but_for_rounding(outputs[..., 0], expected)
    single = run_onnx(6, session, series)
    assert_same_but_for_rounding([one.values() for one in single], expected)


def test_an_equilibrium_layer_says_that_it_cannot_be_exported(tmp_path: Path) -> None:
    model = RimerModel(**TINY, layers="equilibrium(rwkv7)").fit(wave(40))
    with pytest.raises(Exception, match="equilibrium layer takes as many passes as its input"):
        exported(model, tmp_path / "model.onnx")


# --- SHAP -------------------------------------------------------------------------------------


def test_shap_values_add_up_to_the_forecast() -> None:
    pytest.importorskip("shap", reason="darts' ShapExplainer needs shap")
    from darts.explainability import ShapExplainer

    past, future = wave(150, seed=1), wave(150, seed=2)
    covariates = {"past_covariates": past, "future_covariates": future}
    settings = {**TINY, "input_chunk_length": 6, "output_chunk_length": 2, "patch_length": 2}
    series = wave()
    model = with_weights_that_matter(RimerModel(**settings).fit(series, **covariates))
    explainer = ShapExplainer(model, background_num_samples=10, test_stationarity=False)
    end = len(series) - 2  # the last window that is explained still has its horizon
    result = explainer.explain(
        series[end - 9 : end],
        foreground_past_covariates=past[end - 9 : end],
        foreground_future_covariates=future[end - 9 : end + 2],
    )
    for horizon in (1, 2):
        values = result.get_explanation(horizon)
        assert values.n_components == 6 + 6 + 8  # the lags of target and covariates
        base = result.get_shap_explanation_object(horizon).base_values
        forecast = model.predict(2, series=series[:end], **covariates).values()[horizon - 1]
        explained = base[-1] + values.values()[-1].sum()
        np.testing.assert_allclose(explained, forecast[0], atol=1e-4 * LEVEL)
        assert np.abs(values.values()).max() > 1e-3


# --- optuna -----------------------------------------------------------------------------------


def test_optuna_prunes_a_trial_that_falls_behind() -> None:
    optuna = pytest.importorskip("optuna", reason="the search needs optuna")
    from darts.utils.callbacks import PyTorchLightningPruningCallback

    def objective(trial: Any) -> float:
        pruning = PyTorchLightningPruningCallback(trial, monitor="val_loss")
        model = RimerModel(
            **{**TINY, "n_epochs": 4, "pl_trainer_kwargs": {**TRAINER, "callbacks": [pruning]}},
            optimizer_kwargs={"lr": trial.suggest_float("lr", 1e-6, 1e-1, log=True)},
        )
        model.fit(wave(), val_series=wave(seed=1))
        return float(model.trainer.callback_metrics["val_loss"])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    for lr in (1e-2, 1e-6, 2e-2):  # the second hardly learns
        study.enqueue_trial({"lr": lr})
    study.optimize(objective, n_trials=3)
    assert [trial.state.name for trial in study.trials[:2]] == ["COMPLETE", "PRUNED"]
    assert len(study.trials[0].intermediate_values) == 4
    assert len(study.trials[1].intermediate_values) < 4
    assert study.best_params["lr"] > 1e-6


# --- MLflow -----------------------------------------------------------------------------------


def test_mlflow_logs_a_fit_and_gives_the_model_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
    mlflow = pytest.importorskip("mlflow", reason="logging needs mlflow")
    from darts.utils import mlflow as darts_mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    experiment = mlflow.create_experiment("rimer", artifact_location=(tmp_path / "a").as_uri())
    darts_mlflow.autolog(log_models=True, silent=True)
    try:
        with mlflow.start_run(experiment_id=experiment) as run:
            model = RimerModel(**{**TINY, "n_epochs": 2}).fit(wave(), val_series=wave(seed=1))
            forecast = model.predict(6, series=wave())
            mae(wave(126)[-6:], forecast)
    finally:
        darts_mlflow.autolog(disable=True)
    logged = mlflow.get_run(run.info.run_id).data
    assert {"train_loss", "val_loss", "mae"} <= logged.metrics.keys()
    assert logged.params["input_chunk_length"] == "24"
    (entry,) = mlflow.search_logged_models([experiment], output_format="list")
    loaded = darts_mlflow.load_model(entry.model_uri)
    assert isinstance(loaded, RimerModel)
    np.testing.assert_array_equal(loaded.predict(6, series=wave()).values(), forecast.values())


# --- Lightning's tuner ------------------------------------------------------------------------


def rates_of_every_step(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Learning rates of the groups at each step of AdamW from now on."""
    rates: list[list[float]] = []
    step = torch.optim.AdamW.step

    def recorded(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    return rates


@pytest.mark.parametrize("mode", ["exponential", "linear"])
@pytest.mark.parametrize("layers", ["rwkv7", None])
def test_the_finder_of_learning_rates_keeps_the_ratios_of_the_groups(
    layers: str | None, mode: str, fitted: RimerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RimerModel(**{**TINY, "n_epochs": 20, "batch_size": 16}, layers=layers)
    rates = rates_of_every_step(monkeypatch)
    found = model.lr_find(wave(), min_lr=1e-6, max_lr=1.0, num_training=40, mode=mode)
    assert len(found.results["lr"]) == len(rates)
    groups = {"rwkv7": [10.0, 10.0, 1.0, 1.0, 2.0], None: [10.0, 10.0]}[layers]
    for rate, of_groups in zip(found.results["lr"], rates, strict=True):
        np.testing.assert_allclose(of_groups, rate * np.array(groups), rtol=1e-6)


def test_the_suggested_learning_rate_learns() -> None:
    settings = {**TINY, "n_epochs": 100, "batch_size": 8}
    suggestion = RimerModel(**settings).lr_find(wave(300), min_lr=1e-6, max_lr=1.0).suggestion()
    assert 1e-5 < suggestion < 1e-1  # the recipe's own is 1e-3
    settings["n_epochs"] = 5
    slow, suggested = (
        RimerModel(**settings, optimizer_kwargs={"lr": lr}).fit(wave(300)).trainer
        for lr in (1e-7, suggestion)
    )
    assert suggested.callback_metrics["train_loss"] < 0.9 * slow.callback_metrics["train_loss"]


def test_the_finder_may_pass_through_rates_that_diverge() -> None:
    model = RimerModel(**{**TINY, "n_epochs": 10, "batch_size": 16})
    found = model.lr_find(wave(), max_lr=1e38, num_training=30, early_stop_threshold=None)
    assert not np.isfinite(found.results["loss"]).all()


@pytest.mark.parametrize("tune", ["lr_find", "scale_batch_size"])
def test_tuning_leaves_a_fitted_model_as_it_was(tune: str) -> None:
    model = RimerModel(**TINY).fit(wave())
    before = {name: x.clone() for name, x in model.model.state_dict().items()}
    forecast = model.predict(6).values()
    options = {"lr_find": {"num_training": 3}, "scale_batch_size": {"max_val": 16}}[tune]
    getattr(model, tune)(wave(seed=3), **options)
    for name, x in model.model.state_dict().items():
        assert torch.equal(x, before[name]), name
    np.testing.assert_array_equal(model.predict(6).values(), forecast)
    model.fit(wave(), epochs=2)
    rates = [group["initial_lr"] for group in model.trainer.optimizers[0].param_groups]
    recipe = Recipe().optimisation(model.network, total_steps=1)
    assert rates == [group["initial_lr"] for group in recipe["optimizer"].param_groups]


def test_tuning_leaves_an_unfitted_model_unfitted() -> None:
    model = RimerModel(**TINY)
    model.lr_find(wave(), num_training=3)
    assert model.scale_batch_size(wave(), max_val=16) == 16
    assert model.batch_size == 16
    assert model.model is None
    assert np.isfinite(model.fit(wave()).predict(6).values()).all()


def test_the_batch_size_of_prediction_is_found(fitted: RimerModel) -> None:
    many = [wave(30)] * 40
    size = fitted.scale_batch_size(many, method="predict", n=6, max_val=8, update_model=False)
    assert size == 8
    assert fitted.batch_size == 32


def test_tuning_with_sample_weights_leaves_the_loss_as_it_was() -> None:
    """Lightning's tuner leaves out the hook in which darts 0.48.1 puts the loss back."""
    model = RimerModel(**TINY).fit(wave())
    model.lr_find(wave(), num_training=3, sample_weight="linear")
    assert model.model.train_criterion.reduction == "mean"
    model.fit(wave(), epochs=2)
