"""The Lightning module that trains on windows by the quantile loss.

Letters: B windows, L input steps, H output steps, C target components, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..layers import State
from ..network import RimerNetwork
from .held_out import KeepBest, quantile_loss
from .recipe import Recipe
from .windows import WindowBatch

__all__ = ["TrainingModule"]


class TrainingModule(pl.LightningModule):
    """Trains a network on windows by the quantile loss; logs ``train_loss`` and ``val_loss``.

    Parameters
    ----------
    network
        Its outputs must be quantiles; trained in place.
    recipe
        How.
    best
        Which is told of validation.
    """

    quantiles: Tensor

    def __init__(self, network: RimerNetwork, recipe: Recipe, best: KeepBest | None = None) -> None:
        super().__init__()
        self.network, self.recipe, self.best = network, recipe, best
        levels = torch.tensor(network.config.outputs, dtype=network.dtype)
        self.register_buffer("quantiles", levels, persistent=False)

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.loss(batch)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch.target))
        return loss + self.network.penalty()

    def validation_step(self, batch: WindowBatch, batch_idx: int) -> None:
        """Log the loss of a batch that is not trained on."""
        loss, n = self.loss(batch), len(batch.target)
        self.log("val_loss", loss, prog_bar=True, batch_size=n, sync_dist=True)

    def loss(self, batch: WindowBatch, start: State | None = None) -> Tensor:
        """Return the mean quantile loss of windows, in units of their series.

        For the start see `RimerNetwork.forward`.
        """
        H = self.network.config.output_chunk_length
        past, target = batch.target[:, :-H], batch.target[:, -H:]  # of at most L steps
        forecast = self.network(past, future_covariates=batch.covariates, start=start)
        unit = self.recipe.unit(past, past.new_ones(()))  # each series was standardised
        forecast, target = forecast / unit[..., None], target / unit
        if self.best is not None and not self.training:
            self.best.add(forecast, target)
        return quantile_loss(forecast, target, self.quantiles)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return what else the recipe consists of."""
        return self.recipe.callbacks(self.trainer)

    def configure_optimizers(self) -> Any:
        """Return the package's recipe."""
        steps = self.trainer.estimated_stepping_batches
        return self.recipe.optimisation(self.network, total_steps=steps)
