"""Torch models of darts as contenders."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping

from ..darts.base import NetworkModel
from ..network import RimerNetwork
from .budget import Budget
from .contender import Array
from .task import Task

__all__ = ["Darts"]


class Darts:
    """A torch model of darts."""

    validation_loss: float | None = None

    def __init__(
        self,
        task: Task,
        budget: Budget,
        seed: int,
        *,
        make: Callable[..., TorchForecastingModel],
        theirs: bool = True,
        validates_forecasts: bool = True,
    ) -> None:
        self.task, self.budget = task, budget
        self.validates_forecasts = validates_forecasts
        self.series, self.covariates = task.z_scored(), task.z_scored_covariates()
        if theirs:  # they cannot read missing values
            filled = pd.DataFrame(self.series.values(copy=False)).ffill().bfill()
            self.series = self.series.with_values(filled.to_numpy())
        self.folder = tempfile.TemporaryDirectory(prefix="rimer-benchmark-")
        options: dict[str, Any] = {
            "output_chunk_length": task.horizon,
            "batch_size": budget.batch_size,
            "n_epochs": budget.epochs,
            "random_state": seed,
            "save_checkpoints": True,
            "model_name": "model",
            "work_dir": self.folder.name,
            "force_reset": True,
            "pl_trainer_kwargs": {
                "accelerator": "auto",
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "callbacks": [EarlyStopping("val_loss", patience=budget.patience)],
                **budget.limit(),
            },
        }
        if budget.quantiles is None:
            options["loss_fn"] = torch.nn.L1Loss()
        else:
            options["likelihood"] = QuantileRegression(list(budget.quantiles))
        if theirs:
            options["optimizer_cls"] = torch.optim.AdamW
            options["optimizer_kwargs"] = {"lr": budget.learning_rate}
        self.model = make(task.look_back, **options)

    @property
    def reads_covariates(self) -> bool:
        """See `Contender`."""
        return bool(self.model.supports_future_covariates)

    def fit(self) -> None:
        """See `Contender`."""
        task = self.task
        validation = self.series[task.train_end - task.look_back : task.validation_end]
        known = {}
        if self.covariates is not None and self.reads_covariates:
            known = {"future_covariates": self.covariates, "val_future_covariates": self.covariates}
        self.model.fit(
            self.series[: task.train_end],
            val_series=validation,
            stride=self.budget.train_stride,
            **known,
        )
        if self.validates_forecasts:
            self.validation_loss = float(self.model.trainer.early_stopping_callback.best_score)
        kind = type(self.model)
        best = kind.load_from_checkpoint("model", self.folder.name, best=True)
        best.trainer_params = self.model.trainer_params
        self.model = best

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        task, quantiles = self.task, self.budget.quantiles
        first, last = int(origins[0]), int(origins[-1])
        known = {}
        if self.covariates is not None and self.reads_covariates:
            known = {"future_covariates": self.covariates}
        forecasts = self.model.historical_forecasts(
            self.series[first - task.look_back : last + task.horizon],
            start=task.look_back,
            start_format="position",
            forecast_horizon=task.horizon,
            stride=task.stride,
            retrain=False,
            last_points_only=False,
            predict_likelihood_parameters=quantiles is not None,
            verbose=False,
            **known,
        )
        values = np.stack([one.values(copy=False) for one in forecasts]).astype(float)
        return values.reshape(*values.shape[:2], self.series.n_components, -1)

    def parameters(self) -> int:
        """See `Contender`."""
        return sum(weights.numel() for weights in self.model.model.parameters())

    def streamed_network(self) -> RimerNetwork | None:
        """See `Contender`."""
        return self.model.network if isinstance(self.model, NetworkModel) else None
