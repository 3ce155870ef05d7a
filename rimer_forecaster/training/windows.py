"""Windows over series and the Lightning module that trains on them, for the sktime side.

Letters: n time points, L input steps, H output steps, C target components, p covariates,
B windows, Q quantiles.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from ..network.network import RimerNetwork
from .recipe import check_trained, default_callbacks, default_epochs, default_optimisation

__all__ = ["TrainingModule", "Windows", "forecast", "quantile_loss", "train"]


class WindowBatch(NamedTuple):
    """B windows with what follows them.

    Attributes
    ----------
    target
        (B, L + H, C), NaN where nothing was observed.
    covariates
        (B, L + H, p), zero beyond the series, or None.
    """

    target: Tensor
    covariates: Tensor | None


class Windows(Dataset[WindowBatch]):
    """All windows of a collection of series, fetched a batch at a time.

    A series of at least 2 L + H time points gives its whole windows. A shorter one also gives
    windows that are padded on the left, from its middle on; one of at most H points, windows whose
    horizon is padded on the right.

    Parameters
    ----------
    targets
        One tensor (n, C) a series, n >= 2.
    covariates
        One tensor (n, p) a series, or None.
    input_chunk_length, output_chunk_length
        L and H.
    first_origins
        Index of the first time point to forecast in each series; None for the rule above.
    """

    def __init__(
        self,
        targets: Sequence[Tensor],
        covariates: Sequence[Tensor] | None,
        *,
        input_chunk_length: int,
        output_chunk_length: int,
        first_origins: Sequence[int] | None = None,
    ) -> None:
        L, H = input_chunk_length, output_chunk_length
        gap = max(L, H)  # between two series, read by windows of both
        self.steps = torch.arange(-L, H)
        origins, start = [], gap
        for i, target in enumerate(targets):
            n = len(target)
            first = first_origins[i] if first_origins else min(L, max(1, (n - H) // 2))
            last = n - H if n - H >= first else n - 1
            origins.append(torch.arange(start + first, start + last + 1))
            start += n + gap
        self.origins = torch.cat(origins)
        self.target = _spaced(targets, gap, fill=float("nan"))
        self.covariates = None if covariates is None else _spaced(covariates, gap, fill=0.0)

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index: list[int]) -> WindowBatch:
        rows = self.origins[index][:, None] + self.steps
        return WindowBatch(
            self.target[rows], None if self.covariates is None else self.covariates[rows]
        )


def _spaced(parts: Sequence[Tensor], gap: int, *, fill: float) -> Tensor:
    """Concatenate along time with a filled gap before, between and after."""
    filled = parts[0].new_full((gap, parts[0].shape[1]), fill)
    return torch.cat([piece for part in parts for piece in (filled, part)] + [filled])


def quantile_loss(forecast: Tensor, target: Tensor, quantiles: Tensor) -> Tensor:
    """Mean quantile loss over the observed targets.

    Parameters
    ----------
    forecast
        (B, H, C, Q).
    target
        (B, H, C), NaN where not observed.
    quantiles
        (Q,), probabilities.
    """
    error = target[..., None] - forecast
    loss = torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1)
    observed = ~target.isnan()
    return torch.where(observed, loss, 0.0).sum() / observed.sum().clamp_min(1)


class TrainingModule(pl.LightningModule):
    """Trains a network on windows by the quantile loss; logs ``train_loss`` and ``val_loss``.

    Parameters
    ----------
    network
        Its outputs must be quantiles; trained in place.
    lr, weight_decay
        See `default_optimisation`.
    """

    quantiles: Tensor

    def __init__(self, network: RimerNetwork, *, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.network = network
        self.lr, self.weight_decay = lr, weight_decay
        self.register_buffer("quantiles", torch.tensor(network.outputs), persistent=False)

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self._loss(batch)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch.target))
        return loss + self.network.penalty()

    def validation_step(self, batch: WindowBatch, batch_idx: int) -> None:
        """Log the loss of a batch that is not trained on."""
        loss, n = self._loss(batch), len(batch.target)
        self.log("val_loss", loss, prog_bar=True, batch_size=n, sync_dist=True)

    def _loss(self, batch: WindowBatch) -> Tensor:
        L = self.network.input_chunk_length
        forecast = self.network(batch.target[:, :L], future_covariates=batch.covariates)
        return quantile_loss(forecast, batch.target[:, L:], self.quantiles)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return what else the recipe consists of."""
        return default_callbacks(self.trainer)

    def configure_optimizers(self) -> Any:
        """Return the package's recipe."""
        return default_optimisation(
            self.network,
            total_steps=self.trainer.estimated_stepping_batches,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )


class _KeepBest(pl.Callback):
    """Remembers the weights of the epoch with the lowest validation loss."""

    def __init__(self) -> None:
        self.lowest = math.inf
        self.weights: dict[str, Tensor] | None = None

    # Not on_validation_end, before which Lightning puts the weights of the last step back.
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.lowest and not trainer.sanity_checking:
            self.lowest = loss
            weights = pl_module.network.state_dict()
            self.weights = {name: x.detach().clone() for name, x in weights.items()}


def train(
    network: RimerNetwork,
    windows: Windows,
    *,
    validation: Windows | None = None,
    batch_size: int,
    n_epochs: int | None,
    lr: float,
    weight_decay: float,
    generator: torch.Generator,
    trainer_kwargs: dict[str, Any] | None,
) -> None:
    """Train a network in place, silently, and leave it on the CPU in evaluation mode.

    Parameters
    ----------
    network, lr, weight_decay
        See `TrainingModule`.
    windows
        What to train on.
    validation
        What to compute ``val_loss`` on after each epoch; the weights with the lowest one are kept.
    batch_size
        Windows per optimiser step.
    n_epochs
        Passes over the windows; None takes `default_epochs`.
    generator
        Source of the order of windows and of dropout: the process's own generators stay as they
        are, also when several threads train at once.
    trainer_kwargs
        Arguments of `pytorch_lightning.Trainer` that override the silent defaults. Callbacks are
        copied: those that count, such as early stopping, begin anew in every training.

    Raises
    ------
    ValueError
        If training ends with weights that are not finite.
    """
    kwargs = dict(trainer_kwargs or {})
    callbacks = copy.deepcopy(kwargs.pop("callbacks", None) or [])
    callbacks = [*callbacks] if isinstance(callbacks, (list, tuple)) else [callbacks]
    best = _KeepBest()
    order = RandomSampler(windows, generator=generator)
    loaders = [_loader(windows, order, batch_size, generator)]
    if validation is not None:
        loaders.append(_loader(validation, SequentialSampler(validation), batch_size, generator))
        callbacks.append(best)
    options = {
        "max_epochs": n_epochs or default_epochs(len(windows), batch_size),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": callbacks,
        **kwargs,
    }
    network.draw_from(generator)
    network.train()  # Lightning leaves it as it is
    with _without_remarks():
        trainer = pl.Trainer(**options)
        trainer.fit(TrainingModule(network, lr=lr, weight_decay=weight_decay), *loaders)
    network.draw_from(None)
    if best.weights is not None:
        network.load_state_dict(best.weights)
    network.cpu().eval()
    check_trained(network, f"Lower learning_rate={lr}, or look for extreme values in the data.")


def _loader(
    windows: Windows, order: Sampler[int], batch_size: int, generator: torch.Generator
) -> DataLoader[WindowBatch]:
    batches = BatchSampler(order, batch_size, drop_last=False)
    # The data set itself fetches batches.
    return DataLoader(windows, sampler=batches, batch_size=None, generator=generator)


_MOST_VALUES = 2**22
"""Values of windows that are read at once; bounds memory."""


@torch.inference_mode()
def forecast(
    network: RimerNetwork, past: Tensor, covariates: Tensor | None, *, steps: int
) -> Tensor:
    """Forecast any number of steps; beyond H, medians are fed back as if observed.

    Parameters
    ----------
    network
        See `TrainingModule`.
    past
        Last L time points, NaN where not observed, (B, L, C).
    covariates
        (B, L + steps, p), or None.
    steps
        Number of steps.

    Returns
    -------
    Tensor
        (B, steps, C, Q).
    """
    at_once = max(1, _MOST_VALUES // past[0].numel())
    parts = []
    for rows in torch.arange(len(past)).split(at_once):
        known = None if covariates is None else covariates[rows]
        parts.append(_forecast(network, past[rows], known, steps=steps))
    return torch.cat(parts)


def _forecast(
    network: RimerNetwork, past: Tensor, covariates: Tensor | None, *, steps: int
) -> Tensor:
    L, H = network.input_chunk_length, network.output_chunk_length
    outputs = []
    for start in range(0, steps, H):
        known = None if covariates is None else covariates[:, start : start + L + H]
        output = network(past, future_covariates=known)
        outputs.append(output)
        past = torch.cat((past, output[..., network.middle]), 1)[:, -L:]
    return torch.cat(outputs, 1)[:, :steps]


_silent: ContextVar[bool] = ContextVar("_silent", default=False)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep Lightning's remarks about devices, loggers and workers to itself."""
    token = _silent.set(True)
    with warnings.catch_warnings():
        # Worker processes only slow down windows that lie in memory.
        warnings.filterwarnings("ignore", ".*does not have many workers")
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`")
        # Lightning 2.6 uses a name that torch has deprecated.
        warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
        try:
            yield
        finally:
            _silent.reset(token)


# A filter that asks the current thread, because a changed log level would be seen by all of them.
logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
    lambda record: record.levelno > logging.INFO or not _silent.get()
)
