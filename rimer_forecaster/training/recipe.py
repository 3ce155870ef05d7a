"""How the network is trained where the user does not say: optimiser, schedule and number of steps.

The same recipe serves darts and sktime. It is free of units: errors count in units of their own
series, so that a series times any constant trains to the same forecasts times that constant, and
series of different size train one model as each would its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..network import RimerNetwork
from ..network.checks import plain_number, plain_size
from ..network.missing_values import marks_of_observed
from ..network.scale import WILD, unit_of, window_scale
from .optimizer import GroupedAdamW

__all__ = ["AveragedWeights", "Recipe", "check_trained", "parameter_groups"]


_AVERAGING = pl.callbacks.StochasticWeightAveraging, pl.callbacks.WeightAveraging

_POSITIVE = (lambda x: 0 < x < math.inf, "above 0 and finite")
_SHARE = (lambda x: 0 <= x < 1, "in [0, 1)")

_NUMBERS = {
    "learning_rate": _POSITIVE,
    "training_on": _POSITIVE,
    "weight_decay": (lambda x: 0 <= x < math.inf, "at least 0 and finite"),
    "averaging": _SHARE,
    "held_out": _SHARE,
}


@dataclass(frozen=True)
class Recipe:
    """What training does by default; an experiment passes in another one.

    Attributes
    ----------
    learning_rate, weight_decay
        Of the matrices, see `parameter_groups`; AdamW, on a cosine schedule to zero.
    steps
        Optimiser steps that the number of epochs is chosen for.
    fewest_epochs, most_epochs
        Between which it is chosen. More than 100 epochs overfit series of a few hundred steps.
    averaging
        Share of the average of weights that a step leaves as it was, in [0, 1); 0 takes the last
        weights. See `AveragedWeights`.
    training_on
        Factor of the learning rate where weights are trained on that were trained before.
    few_windows
        Up to which a training that was given neither a number of epochs nor a validation part holds
        back the end of each series, see `held_out`.
    held_out
        Share of the steps of each series that it holds back; 0 trains on everything.
    patience
        Optimiser steps without a lower validation loss after which it stops, and ten epochs.
    loss_unit
        What errors are counted in, so that series and components of different size weigh alike:
        ``"series"``, the standard deviation of each over all that is trained on; or ``"window"``,
        that of what a forecast is made from.

    Raises
    ------
    ValueError
        If a value is of another type or out of range, by its name.

    Examples
    --------
    >>> from rimer_forecaster.training import Recipe
    >>> Recipe(steps=4000).epochs(windows=640, batch_size=32)
    100
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    steps: int = 2000
    fewest_epochs: int = 5
    most_epochs: int = 100
    averaging: float = 0.995
    training_on: float = 0.1
    few_windows: int = 2000
    held_out: float = 0.2
    patience: int = 100
    loss_unit: str = "series"

    def __post_init__(self) -> None:
        """Check every value, and turn it into a plain one."""
        for name in ("steps", "fewest_epochs", "most_epochs", "few_windows", "patience"):
            object.__setattr__(self, name, plain_size(name, getattr(self, name)))
        for name, (holds, allowed) in _NUMBERS.items():
            object.__setattr__(self, name, plain_number(name, getattr(self, name), holds, allowed))
        if self.loss_unit not in ("series", "window"):
            raise ValueError(f"loss_unit={self.loss_unit!r} must be 'series' or 'window'.")

    def epochs(self, windows: int, batch_size: int) -> int:
        """Return as many epochs as make about `steps` optimiser steps.

        A fixed number would leave short series untrained, and spend hours on large panels.
        """
        wanted = math.ceil(self.steps / math.ceil(windows / batch_size))
        return min(self.most_epochs, max(self.fewest_epochs, wanted))

    def holds_out(self, windows: int) -> bool:
        """Whether a training of so many windows holds some of them back."""
        return self.held_out > 0 and windows <= self.few_windows

    def for_training_on(self) -> Recipe:
        """Return the recipe for weights that were trained before."""
        return replace(self, learning_rate=self.training_on * self.learning_rate)

    def unit(self, past_target: Tensor, of_series: Tensor | None, *, tame: bool = False) -> Tensor:
        """Return the unit of a batch's errors, (B, 1, C).

        Parameters
        ----------
        past_target
            Windows, (B, L, C), NaN where missing.
        of_series
            Unit of the series that they are of, (B, 1, C); None if it is not known. A window that
            deviates far more, by a wild value, counts in units of its own deviation: that
            multiplies its gradients, which would drown all others.
        tame
            Whether the series are known to have no such window, see `is_tame`.
        """
        if of_series is None or self.loss_unit == "window":
            return unit_of(past_target)
        if tame and torch.finfo(past_target.dtype).bits >= 32:
            return of_series.to(past_target.dtype)
        deviation = window_scale(past_target, marks_of_observed(past_target))[1]
        unit = of_series.to(past_target.dtype)
        return torch.where(deviation > WILD * unit, deviation, unit)

    def optimisation(
        self, network: RimerNetwork, *, total_steps: float, **kwargs: Any
    ) -> dict[str, Any]:
        """Return AdamW over the network's groups with a cosine schedule, in Lightning's terms.

        The groups have one learning rate, that of the matrices, and keep their ratios whatever sets
        it: a schedule, a finder of learning rates, or Lightning's StochasticWeightAveraging.

        Parameters
        ----------
        network
            The network to train.
        total_steps
            Optimiser steps over which the learning rate falls to zero; it stays constant if
            infinite.
        **kwargs
            Arguments of `torch.optim.AdamW`, in place of those of the recipe.

        Raises
        ------
        ValueError
            If a rate or a decay among them is out of range.
        """
        names = {"lr": "learning_rate", "weight_decay": "weight_decay"}
        own = replace(self, **{names[x]: kwargs.pop(x) for x in names.keys() & kwargs.keys()})
        optimizer = GroupedAdamW(
            parameter_groups(network, weight_decay=own.weight_decay),
            # One fused operation: a small model is bound by the number of operations. Epsilon lies
            # far below gradients of errors in units of their series (torch's own, 1e-8, costs 1 %
            # on German prices), and far above what rounding leaves of a zero in double precision.
            **{"lr": own.learning_rate, "fused": True, "eps": 1e-12, **kwargs},
        )
        if math.isinf(total_steps):
            return {"optimizer": optimizer}
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, int(total_steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def callbacks(self, trainer: pl.Trainer) -> list[pl.Callback]:
        """Return what a module adds to a trainer that is to train it, and to no other.

        Where the user averages weights, the recipe does not.
        """
        averages = any(isinstance(x, _AVERAGING) for x in trainer.callbacks)
        if averages or not self.averaging or trainer.state.fn != TrainerFn.FITTING:
            return []
        return [AveragedWeights(self.averaging)]


def parameter_groups(network: RimerNetwork, *, weight_decay: float) -> list[dict[str, Any]]:
    """Return the groups of parameters that an optimiser treats alike.

    Each module names its parameters that learn faster than others, in ``learning_rates``; all that
    is no linear skip learns at ``layers_rate`` times that. A group's ``ratio`` says how much faster
    it learns. Only matrices decay.

    Parameters
    ----------
    network
        Whose parameters they are.
    weight_decay
        Of the matrices.
    """
    factors = {
        id(module.get_parameter(name)): factor
        for module in network.modules()
        for name, factor in getattr(module, "learning_rates", {}).items()
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = factors.get(id(parameter), 1.0)
            if name.startswith("reader."):
                factor *= network.config.layers_rate
            groups.setdefault((factor, parameter.ndim >= 2), []).append(parameter)
    return [
        {"params": parameters, "ratio": factor, "weight_decay": weight_decay if is_matrix else 0.0}
        for (factor, is_matrix), parameters in groups.items()
    ]


class AveragedWeights(pl.callbacks.WeightAveraging):
    """Validates, saves and leaves an average of the weights of the last steps.

    With 0.995 of it left at every step it is one of two hundred steps or so. Where a validation
    part stops the training while the learning rate is still high, the averages' errors are lower
    (docs/results/defaults.md). At the end of the schedule they are those of the last weights. In
    the first 2,000 steps the averages are of the last tenth of the steps.

    Parameters
    ----------
    kept
        Share of the average that a step leaves as it was.
    """

    _latest_update_step: int

    def __init__(self, kept: float) -> None:
        super().__init__(use_buffers=False)
        self.kept = kept
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
        kept = min(self.kept, (1 + n) / (10 + n)) if n else 0.0
        assert self._average_model is not None
        get_ema_multi_avg_fn(kept)(*self._lists, self._average_model.n_averaged)


def check_trained(network: RimerNetwork, remedy: str) -> None:
    """Raise a ValueError that names the first weights that training made infinite or NaN."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"training diverged: the weights {name!r} are not finite. {remedy}")
