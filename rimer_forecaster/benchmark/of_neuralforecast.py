"""Models of neuralforecast as contenders, on one series and on a panel."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from .budget import Budget, Rule
from .contender import Array
from .panel import Panel
from .task import Task

__all__ = ["NEURALFORECAST", "Neuralforecast"]

NEURALFORECAST = ("PatchTST", "iTransformer")

_OF_ALL_SERIES = ("iTransformer",)
"""Models that read all series at once: a forecast is of as many as they were fitted to."""


class Neuralforecast:
    """A model with the sizes that neuralforecast gives it; components are series to it.

    It stops early as the others do, but keeps the weights that it has then, not the best ones.
    """

    validation_loss: float | None = None
    reads_covariates = False

    def __init__(self, task: Task | Panel, budget: Budget, seed: int, *, model: str) -> None:
        self.task, self.budget, self.name, self.seed = task, budget, model, seed
        self.quantiles = budget.quantiles
        self.mean, self.deviation = task.scale()

    def fit(self) -> None:
        """See `Contender`."""
        from neuralforecast import NeuralForecast, models
        from neuralforecast.losses.pytorch import MAE, MQLoss

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        task, budget = self.task, self.budget
        past, n = self._scaled(task.pasts(np.array([task.validation_end]))), len(self.mean)
        rule = Rule.of(task, budget.batch_size, budget.train_stride)
        one_of_each = isinstance(task, Task)  # a batch is of windows, each of all components
        of_all = {"n_series": n} if self.name in _OF_ALL_SERIES else {}
        network = getattr(models, self.name)(
            h=task.horizon,
            input_size=task.look_back,
            loss=MAE() if self.quantiles is None else MQLoss(quantiles=list(self.quantiles)),
            max_steps=budget.epochs * rule.steps,
            val_check_steps=rule.steps,
            early_stop_patience_steps=budget.patience,
            batch_size=n if one_of_each else min(n, budget.batch_size),
            windows_batch_size=budget.batch_size * (n if one_of_each and not of_all else 1),
            step_size=budget.train_stride,
            random_seed=self.seed,
            **of_all,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **budget.limit(),
        )
        self.models = NeuralForecast(models=[network], freq=1)
        held_back = (
            task.horizon if isinstance(task, Panel) else task.validation_end - task.train_end
        )
        self.models.fit(_frame(past), val_size=held_back)

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        n, H = len(self.mean), self.task.horizon
        pasts = self._scaled(self.task.pasts(origins))
        windows = [values[-self.task.look_back :] for values in pasts]
        at_once = n if self.name in _OF_ALL_SERIES else len(windows)
        parts = [
            self.models.predict(_frame(windows[i : i + at_once]))
            for i in range(0, len(windows), at_once)
        ]
        found = np.concatenate([part.to_numpy(float)[:, 2:] for part in parts])
        return found.reshape(len(origins), n, H, -1).swapaxes(1, 2)

    def weights(self) -> Iterable[Tensor]:
        """See `Contender`."""
        parameters: Iterable[Tensor] = self.models.models[0].parameters()
        return parameters

    def streamed_network(self) -> None:
        """None."""

    def _scaled(self, pasts: list[Array]) -> list[Array]:
        """Return series in units of the training part; missing values are the last ones."""
        n = len(self.mean)
        return [
            ((pd.Series(x).ffill().bfill() - self.mean[i % n]) / self.deviation[i % n]).to_numpy()
            for i, x in enumerate(pasts)
        ]


def _frame(series: list[Array]) -> pd.DataFrame:
    """Return series as neuralforecast takes them, which end at the same step."""
    longest = max(map(len, series))
    parts: list[dict[str, Any]] = [
        {"unique_id": i, "ds": np.arange(longest - len(x), longest), "y": x.astype(np.float32)}
        for i, x in enumerate(series)
    ]
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
