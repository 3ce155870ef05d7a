"""When the weights of the package forecast although nobody named them.

Networks that are trained on few values learn their noise. On short series the weights of the
package have lower errors and truer intervals than a training: docs/results/short-series.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..network.config import OF_MODELS, NetworkConfig
from .catalogue import zero_shot_network

__all__ = ["AUTO", "MOST_TIME_POINTS", "WEIGHTS", "says_nothing", "weights_cover"]

AUTO = "auto"
"""Default of the models' argument ``pretrained``."""

WEIGHTS = "rimer-zero"
"""Name of the weights that forecast then."""

MOST_TIME_POINTS = 2000
"""Of all series together, up to which they forecast."""


def says_nothing(network: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    """Whether nothing was said about a network and its training.

    Parameters
    ----------
    network
        Arguments of the model's network by their names. One that is not the default wants that
        network.
    training
        What was said about training, None where nothing was.
    """
    return all(x is None for x in training.values()) and not any(
        _differs(network[x], getattr(NetworkConfig, x, None))
        for x in OF_MODELS
        if x != "streaming"  # streams of the weights need no training
    )


def weights_cover(look_back: Any, quantiles: Sequence[Any] | None) -> bool:
    """Whether the weights of the package read a look-back, and forecast some quantiles.

    Parameters
    ----------
    look_back
        The longest one, None for any.
    quantiles
        Probabilities to forecast, None for any.
    """
    config = zero_shot_network(WEIGHTS).config
    shortest, longest = config.patch_length, config.input_chunk_length
    if look_back is not None and not (type(look_back) is int and shortest <= look_back <= longest):
        return False
    low, high = float(config.outputs[0]), float(config.outputs[-1])
    return all(isinstance(x, float) and low <= x <= high for x in quantiles or ())


def _differs(value: Any, default: Any) -> bool:
    return type(value) is not type(default) or value != default
