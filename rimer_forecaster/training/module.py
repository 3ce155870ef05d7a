"""The Lightning module that trains on windows by the quantile loss.

Letters: B windows, L input steps, H output steps, C target components, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..network import RimerNetwork
from .recipe import Ratios, Recipe
from .windows import WindowBatch

__all__ = ["TrainingModule", "quantile_loss"]


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
    recipe
        How.
    """

    quantiles: Tensor

    def __init__(self, network: RimerNetwork, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self._ratios = Ratios(network)
        self.register_buffer("quantiles", torch.tensor(network.config.outputs, dtype=network.dtype), persistent=False)

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
        L = self.network.config.input_chunk_length
        past, target = batch.target[:, :L], batch.target[:, L:]
        forecast = self.network(past, future_covariates=batch.covariates)
        if self.recipe.loss_unit != "series":  # which is 1: each series was standardised
            unit = self.recipe.unit(past, None)
            forecast, target = forecast / unit[..., None], target / unit
        return quantile_loss(forecast, target, self.quantiles)

    def on_train_epoch_start(self) -> None:
        """Keep the groups' ratios where a callback gives all one rate."""
        self._ratios.apply_to_epoch(self.trainer)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Keep the groups' ratios where a callback gives all one rate."""
        self._ratios.apply_to_step(self.trainer)
        super().optimizer_step(*args, **kwargs)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return what else the recipe consists of."""
        return self.recipe.callbacks(self.trainer)

    def configure_optimizers(self) -> Any:
        """Return the package's recipe."""
        steps = self.trainer.estimated_stepping_batches
        return self.recipe.optimisation(self.network, total_steps=steps)
