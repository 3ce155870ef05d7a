"""RimerModel with the tools around darts: ONNX, SHAP, optuna, MLflow, Lightning's tuner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import darts_cases
from darts.metrics import mae
from darts_cases import LEVEL, TRAINER, with_weights_that_matter
from darts_cases import wave_at_level as wave

from rimer_forecaster import RimerModel
from rimer_forecaster.training import Recipe

TINY = {**darts_cases.TINY, "patch_length": 12}


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave())


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


def rates_of_every_update(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Learning rates of AdamW's groups, one after another, at each of its steps from now on."""
    rates: list[float] = []
    update = torch._fused_adamw_

    def recorded(*args: Any, lr: float, **kwargs: Any) -> None:
        rates.append(lr)
        update(*args, lr=lr, **kwargs)

    monkeypatch.setattr(torch, "_fused_adamw_", recorded)
    return rates


@pytest.mark.parametrize("mode", ["exponential", "linear"])
@pytest.mark.parametrize("layers", ["rwkv7", None])
def test_the_finder_of_learning_rates_keeps_the_ratios_of_the_groups(
    layers: str | None, mode: str, fitted: RimerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RimerModel(**{**TINY, "n_epochs": 20, "batch_size": 16}, layers=layers)
    updates = rates_of_every_update(monkeypatch)
    found = model.lr_find(wave(), min_lr=1e-6, max_lr=1.0, num_training=40, mode=mode)
    groups = {"rwkv7": [10.0, 10.0, 1.0, 1.0, 2.0], None: [10.0, 10.0]}[layers]
    rates = np.reshape(updates, (-1, len(groups)))
    assert len(found.results["lr"]) == len(rates)
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
