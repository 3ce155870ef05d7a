"""The optimiser's memory of a training, for a model that was grown to go on from."""

from __future__ import annotations

from typing import Any

import torch

from ..network import RimerNetwork
from ..training.moments import Moments, give_moments, moments_in, moments_of
from .starts import StartedModule

__all__ = ["MomentsModule"]

_KEY = "moments"


class MomentsModule(StartedModule):
    """A module that knows the moments of its last training, and may begin the next from some.

    Those of an optimiser of the user are not known.
    """

    network: RimerNetwork
    _optimizer: torch.optim.Optimizer | None = None
    _loaded: dict[str, Any] | None = None
    _carried: Moments | None = None

    def moments(self) -> Moments:
        """Return those of the last training, or those that the next begins from; or none."""
        if self._optimizer is not None:
            return moments_of(self.network, self._optimizer)
        if self._loaded is not None:
            return moments_in(self.network, self._loaded)
        return self._carried or {}

    def carry(self, moments: Moments) -> None:
        """Let the next training begin from moments, in the network's names."""
        self._carried = moments or None

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """Take note of the recipe's optimiser of a training that begins."""
        if self._carried is not None:
            give_moments(self.network, optimizer, self._carried)
        self._optimizer, self._loaded, self._carried = optimizer, None, None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the next training is to begin from."""
        super().on_save_checkpoint(checkpoint)
        if self._carried is not None and "optimizer_states" in checkpoint:
            checkpoint[_KEY] = self._carried

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take note of it, and of the optimiser of the last training."""
        super().on_load_checkpoint(checkpoint)
        if self._trainer is None:
            self._carried = checkpoint.get(_KEY)
            states = checkpoint.get("optimizer_states")
            self._loaded = states[0] if states else None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the optimiser out: a copy has other parameters."""
        return {name: x for name, x in super().__getstate__().items() if name != "_optimizer"}
