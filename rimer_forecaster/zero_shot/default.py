"""When the weights of the package forecast although nobody named them.

Networks that are trained on few values learn their noise. On short series the weights of the
package have lower errors and truer intervals than a training: docs/results/short-series.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..network import NetworkConfig
from .catalogue import zero_shot_network

__all__ = ["AUTO", "MOST_TIME_POINTS", "WEIGHTS", "forecasts_by_default"]

AUTO = "auto"
"""Default of the models' argument ``pretrained``."""

WEIGHTS = "rimer-zero"
"""Name of the weights that forecast then."""

MOST_TIME_POINTS = 2000
"""Of all series together, up to which they forecast."""

_OF_NETWORK = (
    "layers", "width", "head_size", "patch_length", "dropout", "layers_rate", "initial_state",
    "components",
)  # fmt: skip
_LENGTHS = {"max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "callbacks"}
"""What a trainer is given by somebody who wants it to train."""


def forecasts_by_default(
    network: Mapping[str, Any],
    training: Mapping[str, Any],
    *,
    trainer: Mapping[str, Any] | None,
    quantiles: Sequence[Any] | None,
    look_back: Any,
    time_points: int,
) -> bool:
    """Whether series are to be forecast by the weights of the package, with no training.

    Parameters
    ----------
    network
        Arguments of the model's network by their names. One that is not the default wants that
        network.
    training
        What was said about training, None where nothing was.
    trainer
        Arguments of Lightning's trainer.
    quantiles
        Probabilities to forecast, None for any. Others than the weights cover want a training.
    look_back
        Longest look-back, None for any.
    time_points
        Of all series together.
    """
    if time_points > MOST_TIME_POINTS or any(x is not None for x in training.values()):
        return False
    if trainer is not None and not (isinstance(trainer, Mapping) and _LENGTHS.isdisjoint(trainer)):
        return False
    if any(_differs(network[x], getattr(NetworkConfig, x, None)) for x in _OF_NETWORK):
        return False
    config = zero_shot_network(WEIGHTS).config
    shortest, longest = config.patch_length, config.input_chunk_length
    if look_back is not None and not (type(look_back) is int and shortest <= look_back <= longest):
        return False
    low, high = float(config.outputs[0]), float(config.outputs[-1])
    return all(isinstance(x, float) and low <= x <= high for x in quantiles or ())


def _differs(value: Any, default: Any) -> bool:
    return type(value) is not type(default) or value != default
