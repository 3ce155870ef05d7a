"""How RimerForecaster is trained: validation, callbacks, the loss and the trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from sktime_cases import TINY, panel, wave

from rimer_forecaster import RimerForecaster
from rimer_forecaster.layers.combinators import equilibrium
from rimer_forecaster.network.state import fingerprint


class Recorder(pl.Callback):
    """Tells a list that all copies share what was validated."""

    seen: list[Any] = []  # noqa: RUF012  # shared on purpose: callbacks are copied

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.seen.append(float(trainer.callback_metrics["val_loss"]))

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        self.seen.append(batch.target)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        self.seen.append(batch.target)


def losses_and_batches(
    forecaster: RimerForecaster, y: pd.DataFrame
) -> tuple[list[Any], RimerForecaster]:
    Recorder.seen.clear()
    kwargs = {"callbacks": [Recorder()]}
    forecaster.set_params(trainer_kwargs=kwargs).fit(y, fh=range(1, 7))
    return list(Recorder.seen), forecaster


def test_batches_are_as_large_as_asked_for() -> None:
    sizes: list[int] = []

    class Sizes(pl.Callback):
        put = staticmethod(sizes.append)

        def on_train_batch_end(self, trainer: Any, module: Any, *outputs_and_batch: Any) -> None:
            self.put(len(outputs_and_batch[1].target))

    settings = {**TINY, "n_epochs": 1, "batch_size": 50}
    RimerForecaster(**settings, trainer_kwargs={"callbacks": [Sizes()]}).fit(wave(), fh=[1])
    assert sizes == [50, 46]  # 120 - 24 windows


def test_what_validates_is_the_end_and_is_not_trained_on() -> None:
    y = pd.DataFrame({"y": np.arange(200.0)})
    forecaster = RimerForecaster(**{**TINY, "n_epochs": 1}, validation_fraction=0.2)
    seen, fitted = losses_and_batches(forecaster, y)
    batches = [x for x in seen if isinstance(x, torch.Tensor)]
    scaler = fitted._fitted.memory.series[()].scaler
    steps = [x[..., 0].double() * scaler.scale_[0] + scaler.mean_[0] for x in batches]
    trained = torch.cat([x for x in steps if x.nan_to_num(0).max() < 159.5])
    validated = torch.cat([x for x in steps if x.nan_to_num(0).max() >= 159.5])
    assert trained.nan_to_num(0).max().round() == 159
    assert validated[:, 24:].min().round() == 160
    assert len(trained) == 160 - 24 - 6 + 1
    assert len(validated) == 40 - 6 + 1


def test_the_weights_with_the_lowest_validation_loss_are_kept() -> None:
    rng = np.random.default_rng(0)
    y = pd.DataFrame({"y": rng.normal(size=120)})  # noise: what is learnt does not last
    settings = {**TINY, "n_epochs": 30, "learning_rate": 1e-2}
    seen, fitted = losses_and_batches(RimerForecaster(**settings, validation_fraction=0.3), y)
    losses = [x for x in seen if isinstance(x, float)]
    best = int(np.argmin(losses))
    assert best < 25
    longer = {"trainer_kwargs": {"callbacks": [Recorder(), StopAfter(best + 1)]}}
    stopped = RimerForecaster(**settings, validation_fraction=0.3, **longer).fit(y, fh=range(1, 7))
    assert fingerprint(stopped.network_) == fingerprint(fitted.network_)


class StopAfter(pl.Callback):
    """Ends a training after some epochs, with the schedule of a longer one."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_early_stopping_begins_anew_in_every_fit() -> None:
    rng = np.random.default_rng(0)
    y = pd.DataFrame({"y": rng.normal(size=120)})
    stopping = EarlyStopping("val_loss", patience=2)
    forecaster = RimerForecaster(
        **{**TINY, "n_epochs": 40, "learning_rate": 1e-2},
        validation_fraction=0.3,
        trainer_kwargs={"callbacks": [stopping, Recorder()]},
    )
    epochs = []
    for _ in range(2):
        Recorder.seen.clear()
        forecaster.fit(y, fh=range(1, 7))
        epochs.append(sum(isinstance(x, float) for x in Recorder.seen))
    assert epochs[0] == epochs[1] < 40
    assert stopping.wait_count == 0, "the user's callback is left as it was"
    forecaster.update(pd.DataFrame({"y": rng.normal(size=20)}, index=range(120, 140)))


def test_series_too_short_to_spare_anything_are_trained_on() -> None:
    y = panel({"a": 100, "b": 2})
    RimerForecaster(**TINY, validation_fraction=0.5).fit(y, fh=[1])
    with pytest.raises(ValueError, match="leaves no series with 2 time points to train on"):
        RimerForecaster(**TINY, validation_fraction=0.9).fit(wave(10), fh=[1])


def test_training_heeds_what_the_layers_want_added_to_the_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(equilibrium, "_LIMIT", 0.0)  # any feedback is too much then
    weights = [
        RimerForecaster(**TINY, layers=f"equilibrium(rwkv7; penalty={penalty})")
        .fit(wave(), fh=[1])
        .network_.reader.head.weight
        for penalty in (0, 1000)
    ]
    assert not torch.equal(*weights)


def test_updates_are_trained_as_fits_are() -> None:
    """With dropout, which needs the network in training mode."""
    weights = []
    for dropout in (0.0, 0.9):
        forecaster = RimerForecaster(**{**TINY, "n_epochs": 1, "dropout": 0.0}).fit(wave(), fh=[1])
        for module in forecaster.network_.modules():
            if hasattr(module, "p"):
                module.p = dropout
        weights.append(forecaster.update(wave(140)[120:]).network_.reader.head.weight)
    assert not torch.equal(*weights)
