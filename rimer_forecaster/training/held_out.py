"""What a training of few windows holds back: when it is to stop, and how wide intervals are to be.

A series of some hundred values is learnt by heart long before the default number of epochs is over,
and errors of what was learnt by heart say nothing of those to come. So where windows are few the
last part of each series validates: the weights of the lowest validation loss are kept, training
stops some epochs after them, and quantiles move away from the median by the factor that the held
back values call for.

Letters: B windows, H output steps, C target components, Q quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..network import RimerNetwork
from ..network.pinball import pinball

__all__ = ["FEWEST_EPOCHS", "KeepBest", "quantile_loss", "widening"]

FEWEST_EPOCHS = 10
"""Without a lower validation loss, before a training stops."""

_FACTORS = tuple(1.1**k for k in range(18))  # up to 5
"""Of which one is chosen that quantiles are moved away from the median by."""


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
    loss = pinball(target[..., None] - forecast, quantiles).mean(-1)
    observed = ~target.isnan()
    return torch.where(observed, loss, 0.0).sum() / observed.sum().clamp_min(1)


def widening(forecast: Tensor, target: Tensor, quantiles: Tensor, middle: int) -> float:
    """Return the factor of at least 1 that gives the lowest quantile loss.

    Parameters
    ----------
    forecast, target, quantiles
        See `quantile_loss`.
    middle
        Place of the median among the quantiles.
    """
    median = forecast[..., middle : middle + 1]
    losses = [quantile_loss(median + x * (forecast - median), target, quantiles) for x in _FACTORS]
    return _FACTORS[int(torch.stack(losses).argmin())]


class KeepBest(pl.Callback):
    """Keeps the weights of the epoch with the lowest validation loss.

    Parameters
    ----------
    fewest_steps
        After which training stops where the loss was no lower since, and not before `FEWEST_EPOCHS`
        without a lower one; None goes on to the end.
    """

    def __init__(self, fewest_steps: int | None = None) -> None:
        self.fewest_steps = fewest_steps
        self.lowest, self.step, self.epoch = math.inf, 0, 0
        self.weights: dict[str, Tensor] | None = None
        self.validated: list[tuple[Tensor, Tensor]] = []
        self._coming: list[tuple[Tensor, Tensor]] = []

    def add(self, forecast: Tensor, target: Tensor) -> None:
        """Take note of quantiles, (B, H, C, Q), of the epoch that is validated, and what came."""
        self._coming.append((forecast.detach().cpu(), target.detach().cpu()))

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        self._coming = []

    # Not on_validation_end, before which Lightning puts the weights of the last step back.
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the weights if they are the best so far, and stop if they were long ago."""
        loss = float(trainer.callback_metrics["val_loss"])
        if trainer.sanity_checking:
            return
        if loss < self.lowest:
            self.lowest, self.step, self.epoch = loss, trainer.global_step, trainer.current_epoch
            weights = pl_module.network.state_dict()
            self.weights = {name: x.detach().clone() for name, x in weights.items()}
            self.validated = self._coming
        elif self.fewest_steps is not None:
            steps, epochs = trainer.global_step - self.step, trainer.current_epoch - self.epoch
            if steps >= self.fewest_steps and epochs >= FEWEST_EPOCHS:
                trainer.should_stop = True

    def finish(self, network: RimerNetwork, *, widen: bool) -> None:
        """Give a network the weights that were kept, with quantiles as wide as they should be."""
        if self.weights is None:
            return
        network.load_state_dict(self.weights)
        if widen and self.validated:
            forecast, target = (torch.cat(x) for x in zip(*self.validated, strict=True))
            quantiles = torch.tensor(network.config.outputs, dtype=forecast.dtype)
            network.widen_quantiles(widening(forecast, target, quantiles, network.config.middle))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training goes on from."""
        names = ("lowest", "step", "epoch", "weights", "validated")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        for name, value in state_dict.items():
            setattr(self, name, value)
