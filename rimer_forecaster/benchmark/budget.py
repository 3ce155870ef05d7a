"""What every model of a comparison that is trained gets, by default by the package's own rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.checks import check_sizes
from ..training import Recipe
from ..training.held_out import FEWEST_EPOCHS
from .panel import Panel
from .task import Task

__all__ = ["Budget", "Rule"]


@dataclass(frozen=True)
class Budget:
    """What every model that is trained gets.

    Attributes
    ----------
    epochs
        Passes over the training windows, at most.
    seconds
        Of training, at most; None for no limit.
    batch_size
        Windows per optimiser step.
    train_stride
        Steps between two training windows; more than 1 where neighbours say nearly the same.
    learning_rate
        Of all models but Rimer's, whose recipe is its own; AdamW. Rimer's is 1e-3.
    patience
        Epochs without a lower validation loss after which training stops; the weights of the lowest
        one are used.
    quantiles
        Probabilities to forecast, 0.5 among them; None for point forecasts by the absolute error.
    """

    epochs: int = 10
    seconds: float | None = None
    batch_size: int = 32
    train_stride: int = 1
    learning_rate: float = 1e-3
    patience: int = 3
    quantiles: tuple[float, ...] | None = None

    def limit(self) -> dict[str, Any]:
        """Return what a trainer of Lightning is told of the seconds; nothing without a limit."""
        if self.seconds is None:
            return {}
        return {"max_time": {"seconds": math.ceil(self.seconds)}}


@dataclass(frozen=True)
class Rule:
    """Epochs, patience and optimiser steps per epoch of the package's own recipe for a task."""

    epochs: int
    patience: int
    steps: int

    @classmethod
    def of(cls, task: Task | Panel, batch_size: int, train_stride: int) -> Rule:
        """Return the rule for batches of windows of which every so many-th is trained on."""
        recipe = Recipe()
        windows = task.training_windows(train_stride)
        steps = math.ceil(windows / batch_size)
        patience = max(FEWEST_EPOCHS, math.ceil(recipe.patience / steps))
        return cls(recipe.epochs(windows, batch_size), patience, steps)

    def budget(
        self,
        *,
        epochs: int | None,
        patience: int | None,
        quantiles: Sequence[float] | None,
        **given: Any,
    ) -> Budget:
        """Return what models get: what was given, and the rule for what was not."""
        epochs = self.epochs if epochs is None else epochs
        patience = self.patience if patience is None else patience
        check_sizes(epochs=epochs, patience=patience)
        return Budget(epochs=epochs, patience=patience, quantiles=_ascending(quantiles), **given)

    def remarks(self, epochs: int) -> list[str]:
        """Say so if a number of epochs is below the rule."""
        if epochs >= self.epochs:
            return []
        return [
            f"{epochs} epochs are {epochs * self.steps} optimiser steps. The package's own rule is "
            f"{self.epochs} epochs, {self.epochs * self.steps} steps: errors of models that are "
            "trained may be far from what they can do."
        ]


def _ascending(quantiles: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return probabilities as darts orders them, if it takes them."""
    if quantiles is None:
        return None
    levels = sorted(set(quantiles))
    if 0.5 not in levels or not np.allclose(np.add(levels, levels[::-1]), 1):
        raise ValueError(
            f"quantiles={quantiles!r} must hold 0.5, whose errors are those of the table, and be "
            "symmetric about it, as darts asks: with 0.1 goes 0.9."
        )
    return tuple(levels)
