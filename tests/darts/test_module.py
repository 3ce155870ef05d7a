"""How RimerModel trains: recipe, loss, sample weights, metrics, and trainers of the user."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import pytorch_lightning as pl
from darts.metrics import mae
from darts.utils.data.torch_datasets.utils import PLModuleOutput
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts_cases import QUIET, TINY, TRAINER, wave, wave_at_level, with_gaps
from network_cases import normal
from torchmetrics import MeanAbsoluteError, MetricCollection

from rimer_forecaster import RimerModel

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}  # float32, other shapes of batches


def quiet(**arguments: Any) -> dict[str, Any]:
    return {**TINY, "pl_trainer_kwargs": {**TRAINER, **arguments}}


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave_at_level())


class Steps(pl.Callback):
    """Counts batches and remembers their sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, i: int
    ) -> None:
        self.sizes.append(len(batch.past_target))


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
    forecast = normal(7, 6, 2, module.likelihood.num_parameters if likelihood else 1, seed=1)
    target = normal(7, 6, 2, seed=2)
    target[2, 3, 1] = target[4] = float("nan")
    weight = normal(7, 6, 2, seed=3).abs() if weights else None
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


def test_metrics_are_over_steps_that_were_observed() -> None:
    from torchmetrics import MeanAbsoluteError

    model = RimerModel(**TINY, torch_metrics=MeanAbsoluteError()).fit(
        with_gaps(wave(components=2)), val_series=with_gaps(wave(components=2, seed=1))
    )
    for part in ("train", "val"):
        assert 0 < model.trainer.callback_metrics[f"{part}_MeanAbsoluteError"] < 10


def optimiser_of(**arguments: Any) -> tuple[torch.optim.Optimizer, Any]:
    model = RimerModel(**TINY, **arguments).fit(wave())
    trainer = model.trainer
    return trainer.optimizers[0], trainer.lr_scheduler_configs


def test_the_recipe_is_the_default() -> None:
    optimizer, schedules = optimiser_of()
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = {(group["initial_lr"], group["ratio"]) for group in optimizer.param_groups}
    assert groups == {(1e-3, 1.0), (1e-3, 2.0), (1e-3, 10.0)}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.01}
    assert isinstance(schedules[0].scheduler, torch.optim.lr_scheduler.CosineAnnealingLR)


def test_optimizer_kwargs_change_the_recipe() -> None:
    optimizer, _ = optimiser_of(optimizer_kwargs={"lr": 0.5, "betas": (0.1, 0.2)})
    assert {group["initial_lr"] for group in optimizer.param_groups} == {0.5}
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


def test_training_heeds_what_the_layers_want_added_to_the_loss() -> None:
    weights = [
        RimerModel(**TINY, layers=f"equilibrium(rwkv7; penalty={penalty})")
        .fit(wave())
        .model.network.reader.head.weight
        for penalty in (0, 1000)
    ]
    assert not torch.equal(*weights)


@pytest.mark.parametrize(
    ("arguments", "windows"),
    [
        ({}, 91),
        ({"stride": 10}, 10),
        ({"max_samples_per_ts": 7}, 7),
        ({"stride": 10, "max_samples_per_ts": 7}, 7),
        ({"dataloader_kwargs": {"drop_last": True}}, 64),
        ({"dataloader_kwargs": {"batch_size": 91, "shuffle": False}}, 91),
    ],
)
def test_fit_trains_on_the_windows_that_are_asked_for(
    arguments: dict[str, Any], windows: int
) -> None:
    steps = Steps()
    RimerModel(**quiet(callbacks=[steps])).fit(wave_at_level(), **arguments)
    assert sum(steps.sizes) == windows
    if "batch_size" in arguments.get("dataloader_kwargs", {}):
        assert steps.sizes == [91]


def test_epochs_follow_from_the_windows_that_are_left() -> None:
    """2,000 steps, but at most 100 epochs: a stride leaves fewer windows, not fewer epochs."""
    settings = {key: value for key, value in quiet(max_steps=1).items() if key != "n_epochs"}
    for stride, epochs in ((1, 63), (40, 100)):
        model = RimerModel(**settings).fit(wave_at_level(1030), stride=stride)
        assert model.trainer.max_epochs == epochs


def test_metrics_of_the_user_are_logged() -> None:
    metrics = MetricCollection({"mae": MeanAbsoluteError()})
    model = RimerModel(**quiet(), torch_metrics=metrics).fit(
        wave_at_level(), val_series=wave_at_level(seed=1)
    )
    logged = model.trainer.callback_metrics
    assert {"train_mae", "val_mae", "train_loss", "val_loss"} <= logged.keys()
    loss = float(logged["val_loss"]) * wave_at_level().values().std()  # which has no units
    assert float(logged["val_mae"]) == pytest.approx(loss, rel=1e-4)


class Losses(pl.Callback):
    """Remembers the loss of every batch, and what Lightning shows of it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.shown: list[float] = []

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, i: int
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        shown = trainer.callback_metrics["train_loss"], trainer.progress_bar_metrics["train_loss"]
        assert len(set(map(float, shown))) == 1
        self.shown.append(float(shown[0]))


def test_every_loss_is_logged_but_checked_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    log = pl.LightningModule.log

    def counted(module: Any, name: str, *args: Any, **kwargs: Any) -> None:
        calls.append(name)
        log(module, name, *args, **kwargs)

    monkeypatch.setattr(pl.LightningModule, "log", counted)
    losses = Losses()
    settings = {**quiet(callbacks=[losses], val_check_interval=0.5), "n_epochs": 3}
    RimerModel(**settings).fit(wave_at_level(), val_series=wave_at_level(60, seed=1))
    assert len(losses.losses) == 9
    assert losses.shown == losses.losses
    assert calls.count("train_loss") == 3


def test_a_schedule_that_watches_the_validation_loss() -> None:
    model = RimerModel(
        **{**TINY, "n_epochs": 4},
        optimizer_kwargs={"lr": 1e-3},
        lr_scheduler_cls=torch.optim.lr_scheduler.ReduceLROnPlateau,
        lr_scheduler_kwargs={"monitor": "val_loss", "patience": 0, "threshold": 1e9},
    )
    model.fit(wave_at_level(), val_series=wave_at_level(seed=1))
    assert model.trainer.optimizers[0].param_groups[0]["lr"] < 1e-4


def test_a_trainer_of_the_user_trains_and_forecasts(tmp_path: Path) -> None:
    def trainer() -> pl.Trainer:
        return pl.Trainer(max_epochs=2, logger=False, default_root_dir=tmp_path, **TRAINER)

    model = RimerModel(**TINY)
    model.fit(wave_at_level(), trainer=(of_user := trainer()))
    assert model.trainer is of_user
    assert model.epochs_trained == 2
    forecast = model.predict(6, trainer=trainer())
    np.testing.assert_array_equal(forecast.values(), model.predict(6).values())


class Ruin(pl.Callback):
    """Ruins the weights after the first epoch."""

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 1:
            with torch.no_grad():
                module.network.skip.offset.fill_(9.0)


def test_load_best_goes_back_to_the_best_epoch(tmp_path: Path) -> None:
    def fit(**arguments: Any) -> float:
        model = RimerModel(
            **{**quiet(callbacks=[Ruin()]), "n_epochs": 3},
            model_name="m",
            work_dir=str(tmp_path),
            save_checkpoints=True,
            force_reset=True,
        )
        model.fit(wave_at_level(), val_series=wave_at_level(seed=1), **arguments)
        return mae(wave_at_level(126)[-6:], model.predict(6, series=wave_at_level()))

    assert fit(load_best=True) < 1.5 < fit()


def test_bf16_mixed_and_16_mixed_train_on_the_cpu() -> None:
    """There is no float16 autocast on the CPU: Lightning says so, and takes bfloat16."""
    expected = RimerModel(**{**TINY, "n_epochs": 3}).fit(wave_at_level()).predict(6).values()
    for precision in ("bf16-mixed", "16-mixed"):
        model = RimerModel(**{**quiet(precision=precision), "n_epochs": 3})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            forecast = model.fit(wave_at_level()).predict(6).values()
        falls_back = any("AMP with fp16 is not supported on CPU" in str(one) for one in said)
        assert falls_back == (precision == "16-mixed")
        assert model.trainer.precision == "bf16-mixed"
        assert 0 < np.abs(forecast - expected).max() < 0.1  # bfloat16 has 8 bits, the size is 5


def test_weighted_errors_train_the_weights(fitted: RimerModel) -> None:
    plain = fitted.model.network.skip.weight
    series = wave_at_level()
    ones = series.with_values(np.ones_like(series.values()))
    for weight in ("linear", "exponential", ones, 1000 * ones):
        model = RimerModel(**TINY).fit(series, sample_weight=weight)
        same = torch.allclose(model.network.skip.weight, plain, **CLOSE)
        assert same == (not isinstance(weight, str)), weight  # Adam heeds no factor of the loss


def test_a_weight_of_zero_leaves_steps_out() -> None:
    """What no weighted step is forecast from may hold anything."""
    series, weight = wave_at_level(), np.ones((120, 1), dtype=np.float32)
    weight[60:] = 0
    weights = series.with_values(weight)

    def skip(last: float) -> torch.Tensor:
        values = series.values().copy()
        values[84:] = last  # these are read by windows whose own targets have no weight
        model = RimerModel(**TINY).fit(series.with_values(values), sample_weight=weights)
        return model.network.skip.weight.detach()

    # They have a part in the unit of the loss, which changes what AdamW's epsilon is worth.
    torch.testing.assert_close(skip(0.0), skip(100.0), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", ["past_covariates", "future_covariates"])
def test_covariates_far_above_unit_size_are_warned_of(name: str) -> None:
    series, plain = wave_at_level(), wave(130, components=2)
    raw = plain.with_values(plain.values() * [1, 300])
    with pytest.warns(UserWarning, match=f"{name} .* '{raw.components[1]}' .* 21[0-9],.*Scaler"):
        RimerModel(**TINY).fit(series, **{name: raw})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*are read as they come")
        RimerModel(**TINY).fit(series, **{name: plain})


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0])
def test_a_sample_weight_that_is_no_weight_is_named(weight: float) -> None:
    series = wave_at_level()
    weights = series.with_values(np.where(np.arange(len(series))[:, None] == 30, weight, 1.0))
    message = rf"sample_weight 0 is {weight} at 2020-01-31.*weights must be at least 0 and finite"
    with pytest.raises(ValueError, match=message):
        RimerModel(**TINY).fit(series, sample_weight=weights)
    settings: dict[str, Any] = {"sample_weight": "linear", "val_sample_weight": weights}
    with pytest.raises(ValueError, match=message):
        RimerModel(**TINY).fit(series, val_series=series, **settings)


def test_sample_weights_of_the_validation() -> None:
    settings: dict[str, Any] = {"val_series": wave_at_level(seed=1), "sample_weight": "linear"}
    losses = [
        RimerModel(**TINY).fit(wave_at_level(), **settings, val_sample_weight=weight).trainer
        for weight in ("linear", "exponential")
    ]
    one, other = (float(trainer.callback_metrics["val_loss"]) for trainer in losses)
    assert one != other
