"""Fitted sktime forecasters with more heads, keys or layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from ..lifecycle.grow import grow
from ..zero_shot.default import AUTO
from .forecasts import Fitted
from .pretrained import Pretrained

__all__ = ["Growable"]


class Growable:
    """A forecaster of a layer string, which grows with it."""

    _fitted: Fitted
    layers: str | None
    pretrained: Any
    pretrained_: Pretrained
    check_is_fitted: Callable[[], None]
    _twin: Callable[[], Self]

    def grow(self, *, key_dim: int = 0, heads: int = 0, layers: int = 0) -> Self:
        """Return a larger fitted forecaster that forecasts the same; this one stays as it is.

        Its ``update`` trains what is new as well. To train it further, hand its `pretrained_` on:
        ``RimerForecaster(pretrained=bigger.pretrained_, n_epochs=20).fit(y)``, by a recipe whose
        rate is a tenth for weights that were trained before.

        Parameters
        ----------
        key_dim, heads : int
            How many key channels each head of the ``rwkv7`` layers gets, and how many heads each of
            these layers; other layers stay as they are.
        layers : int
            How many layers are put behind the last, each like it.

        Returns
        -------
        RimerForecaster
            Of the same parameters but for `layers`, and for `pretrained` where that named weights,
            which are others now. Adapted states belong to the weights of this forecaster, and do
            not come along: adapt it anew.

        Raises
        ------
        ValueError
            If an argument is out of range, or nothing can grow, see
            `rimer_forecaster.lifecycle.grow`.
        """
        self.check_is_fitted()
        network = grow(self._fitted.network, key_dim=key_dim, heads=heads, layers=layers)
        bigger = self._twin()
        bigger._fitted = self._fitted.with_network(network)
        bigger.layers = network.config.layers
        bigger.pretrained_ = bigger._fitted.weights()
        if self.pretrained not in (None, AUTO) or not self._fitted.trained:
            bigger.pretrained = bigger.pretrained_
        return bigger
