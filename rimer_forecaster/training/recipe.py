"""How the network is trained where the user does not say: optimiser, schedule and number of steps.

The same recipe serves both doors. It is free of units: a series times any constant trains to the
same forecasts times that constant, because Adam divides a gradient by its own size (epsilon is as
small as in RWKV-7's published training) and nothing clips a gradient at a fixed norm.
"""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..network.network import RimerNetwork

__all__ = [
    "LEARNING_RATE",
    "WEIGHT_DECAY",
    "check_trained",
    "default_callbacks",
    "default_epochs",
    "default_optimisation",
    "keep_ratios",
]

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01

_STEPS = 2000
_FEWEST_EPOCHS, _MOST_EPOCHS = 5, 100

_AVERAGING = 0.995
"""Share of the average that a step leaves as it was; less in the first steps of a training."""


def default_epochs(windows: int, batch_size: int) -> int:
    """Return as many epochs as make about 2,000 optimiser steps, between 5 and 100.

    A fixed number would leave short series untrained, and spend hours on large panels. More than
    100 epochs overfit series of a few hundred steps.
    """
    steps_per_epoch = math.ceil(windows / batch_size)
    return min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, math.ceil(_STEPS / steps_per_epoch)))


def default_optimisation(
    network: RimerNetwork, *, total_steps: float, lr: float, weight_decay: float, **kwargs: Any
) -> dict[str, Any]:
    """Return AdamW over the network's groups with a cosine schedule, in Lightning's terms.

    Parameters
    ----------
    network
        The network to train.
    total_steps
        Optimiser steps over which the learning rate falls to zero; it stays constant if infinite.
    lr, weight_decay
        Of the matrices, see `RimerNetwork.parameter_groups`.
    **kwargs
        Further arguments of `torch.optim.AdamW`.
    """
    optimizer = torch.optim.AdamW(
        network.parameter_groups(lr=lr, weight_decay=weight_decay),
        # One fused operation: a small model is bound by the number of operations.
        **{"eps": 1e-18, "fused": True, **kwargs},
    )
    if math.isinf(total_steps):
        return {"optimizer": optimizer}
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, int(total_steps)))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def default_callbacks(trainer: pl.Trainer) -> list[pl.Callback]:
    """Return what a module adds to a trainer that is to train it, and to no other."""
    return [AveragedWeights()] if trainer.state.fn == TrainerFn.FITTING else []


class AveragedWeights(pl.callbacks.WeightAveraging):
    """Validates, saves and leaves the average of the weights of the last two hundred steps or so.

    Where a validation part stops the training while the learning rate is still high, the averages'
    errors are lower (docs/benchmarks.md). At the end of the schedule they are those of the last
    weights. In the first 2,000 steps the averages are of the last tenth of the steps.
    """

    _latest_update_step: int

    def __init__(self) -> None:
        super().__init__(use_buffers=False)
        self._lists: tuple[list[Tensor], list[Tensor]] = [], []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the module to its type: Lightning 2.6 makes the copy before it sets that."""
        assert self._average_model is not None
        self._average_model.to(next(pl_module.parameters()))
        both = self._average_model.module, pl_module
        averages, weights = ([x.data for x in module.parameters()] for module in both)
        self._lists = averages, weights

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Update the averages by the new weights; Lightning's way costs ten times as much."""
        if trainer.global_step == self._latest_update_step:
            return  # gradients were accumulated
        self._latest_update_step = trainer.global_step
        n = trainer.global_step - 1
        kept = min(_AVERAGING, (1 + n) / (10 + n)) if n else 0.0
        assert self._average_model is not None
        get_ema_multi_avg_fn(kept)(*self._lists, self._average_model.n_averaged)


def check_trained(network: RimerNetwork, remedy: str) -> None:
    """Raise a ValueError that names the first weights that training made infinite or NaN."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"training diverged: the weights {name!r} are not finite. {remedy}")


def keep_ratios(optimizer: torch.optim.Optimizer, network: RimerNetwork) -> None:
    """Take the one learning rate that all groups were given for that of the matrices.

    Tools that try learning rates give every group the same, and would so suggest a rate for another
    recipe than the one that trains.
    """
    groups = network.parameter_groups(lr=1.0, weight_decay=0.0)
    for group, ratio in zip(optimizer.param_groups, groups, strict=True):
        group["lr"] *= ratio["lr"]
