"""Torch models of darts as contenders."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor

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
        forecasts_quantiles: bool = True,
    ) -> None:
        self.task, self.budget = task, budget
        self.validates_forecasts = validates_forecasts
        self.quantiles = budget.quantiles if forecasts_quantiles else None
        self.series, self.covariates = task.z_scored(), task.z_scored_covariates()
        if theirs:  # they cannot read missing values
            self.series = _filled(self.series)
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
        if self.quantiles is None:
            options["loss_fn"] = torch.nn.L1Loss()
        else:
            options["likelihood"] = QuantileRegression(list(self.quantiles))
        if theirs:
            options["optimizer_cls"] = torch.optim.AdamW
            options["optimizer_kwargs"] = {"lr": budget.learning_rate}
        self.model = make(task.look_back, **options)

    @property
    def reads_covariates(self) -> bool:
        """See `Contender`."""
        return bool(self.model.supports_future_covariates)

    @property
    def known(self) -> dict[str, TimeSeries]:
        """Covariates as darts takes them."""
        if self.covariates is None or not self.reads_covariates:
            return {}
        return {"future_covariates": self.covariates}

    def parts(self) -> tuple[Any, Any]:
        """Return what is trained on, and what stops the training."""
        task = self.task
        validation = self.series[task.train_end - task.look_back : task.validation_end]
        return self.series[: task.train_end], validation

    def fit(self) -> None:
        """See `Contender`."""
        train, validation = self.parts()
        known = self.known | {f"val_{name}": value for name, value in self.known.items()}
        self.model.fit(train, val_series=validation, stride=self.budget.train_stride, **known)
        if self.validates_forecasts:
            self.validation_loss = float(self.model.trainer.early_stopping_callback.best_score)
        kind = type(self.model)
        best = kind.load_from_checkpoint("model", self.folder.name, best=True)
        best.trainer_params = self.model.trainer_params
        self.model = best

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        task = self.task
        first, last = int(origins[0]), int(origins[-1])
        forecasts = self.model.historical_forecasts(
            self.series[first - task.look_back : last + task.horizon],
            start=task.look_back,
            start_format="position",
            forecast_horizon=task.horizon,
            stride=task.stride,
            retrain=False,
            last_points_only=False,
            predict_likelihood_parameters=self.quantiles is not None,
            verbose=False,
            **self.known,
        )
        values = np.stack([one.values(copy=False) for one in forecasts]).astype(float)
        return values.reshape(*values.shape[:2], self.series.n_components, -1)

    def weights(self) -> Iterable[Tensor]:
        """See `Contender`."""
        parameters: Iterable[Tensor] = self.model.model.parameters()
        return parameters

    def streamed_network(self) -> RimerNetwork | None:
        """See `Contender`."""
        return self.model.network if isinstance(self.model, NetworkModel) else None


def _filled(series: Any) -> Any:
    """Put the last value where one is missing, or the first one that is known."""
    if not isinstance(series, TimeSeries):
        return [_filled(one) for one in series]
    return series.with_values(pd.DataFrame(series.values(copy=False)).ffill().bfill().to_numpy())
