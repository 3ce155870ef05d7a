"""Fitted darts models with more heads, keys or layers."""

from __future__ import annotations

from typing import Any, Self

from ..lifecycle.grow import grow, spread
from .base import NetworkModel

__all__ = ["GrowableModel"]


class GrowableModel(NetworkModel):
    """A darts model of a layer string, which grows with it."""

    _pretrained: str | None
    _own_params: dict[str, Any]
    _network_params: dict[str, Any]
    _says_nothing: bool

    def grow(self, *, key_dim: int = 0, heads: int = 0, layers: int = 0) -> Self:
        """Return a larger fitted model that forecasts the same; this one stays as it is.

        Fit it on: its optimiser goes on from the moments of the last training, where the recipe's
        optimiser made it, and what is new begins without any.

        Parameters
        ----------
        key_dim, heads
            How many key channels each head of the ``rwkv7`` layers gets, and how many heads each of
            these layers; other layers stay as they are.
        layers
            How many layers are put behind the last, each like it.

        Returns
        -------
        RimerModel
            Of the same arguments but for ``layers``, and for ``pretrained``: where that named
            weights it is None, as they are others now, and the learning rate stays a tenth. Streams
            and adapted states belong to the weights of this model, and do not come along.

        Raises
        ------
        ValueError
            If the model is not fitted, an argument is out of range, or nothing can grow, see
            `rimer_forecaster.lifecycle.grow`.
        """
        self._check_network()
        with self.model.turn:
            small = self.model.network_to_read()
            network = grow(small, key_dim=key_dim, heads=heads, layers=layers)
            moments = spread(small, network, self.model.moments())
        bigger = self._fitted_alike(self._with_layers(network.config.layers), network)
        bigger.model.carry(moments)
        return bigger

    def _with_layers(self, layers: str | None) -> Self:
        """Return an untrained model of other layers."""
        other = self.untrained_model()
        others = {"layers": layers}
        other._own_params = self._own_params | others
        other._network_params = self._network_params | others
        other._model_params = other._model_params | others | {"pretrained": None}
        other._pretrained, other._says_nothing = None, False
        if self._pretrained is not None:
            other._recipe = self._recipe.for_training_on()
        return other
