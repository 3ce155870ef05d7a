"""A training that was interrupted goes on as if it had not been.

Lightning's checkpoints hold weights, optimiser and schedule, but not the random generators that
order the windows and draw the dropout.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule

__all__ = ["ResumableModule"]


class ResumableModule(PLForecastingModule):
    """A module whose checkpoints hold the states of torch's random generators.

    They are exact where a checkpoint ends an epoch, as darts' do, and training is on one device.
    """

    _resumed: Mapping[str, torch.Tensor] = MappingProxyType({})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the generators of the CPU and of the device that the module is on."""
        super().on_save_checkpoint(checkpoint)
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint["random_states"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the generators, if it is a training that goes on and not a model that is loaded."""
        super().on_load_checkpoint(checkpoint)
        if self._trainer is not None:
            self._resumed = checkpoint.get("random_states", {})
            self._set_generators()

    # The order of an epoch's windows is drawn in two steps, the first when their iterator is made.
    # After a checkpoint that ended an epoch, Lightning makes it once, after on_load_checkpoint.
    # After one that a validation ended, it makes another, after on_train_epoch_start.

    def on_train_epoch_start(self) -> None:
        """Set the generators again, if that is where the training goes on."""
        super().on_train_epoch_start()
        if not self.trainer.fit_loop.is_resuming:
            self._set_generators()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Forget the states: the training has gone on."""
        self._resumed = {}

    def _set_generators(self) -> None:
        if "cpu" in self._resumed:
            torch.set_rng_state(self._resumed["cpu"].cpu())
        device = self.trainer.strategy.root_device
        if "cuda" in self._resumed and device.type == "cuda":
            torch.cuda.set_rng_state(self._resumed["cuda"].cpu(), device)
