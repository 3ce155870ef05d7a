"""From a trained network to the file that `EdgeForecaster` reads: this side has torch."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath

import numpy as np
import torch
from torch import Tensor

from ..layers import LAYERS, leaves
from ..layers.layer_string import read_layers
from ..network import NetworkConfig, RimerNetwork
from ..network.state import fingerprint
from ..version import __version__
from .network_file import START, NetworkFile

__all__ = ["export"]


def export(network: RimerNetwork, path: str | PathLike[str]) -> None:
    """Write a network to one file, for `EdgeForecaster`.

    The file is safetensors with a JSON head, so that no code can hide in it. Weights are in single
    precision, or in half precision where that changes none of them. Those of a compressed network
    stay whole numbers of eight bits.

    Parameters
    ----------
    network
        Trained, with ``streaming=True`` if its streams are to forecast as its windows do; it may be
        compressed.
    path
        Must end with ``.safetensors``.

    Raises
    ------
    ValueError
        If the path ends otherwise, a weight is not finite, or the network does what a device
        cannot: read covariates, let components read each other, forecast the scale of a
        distribution, or have layers other than ``rwkv7``, or more keys than values. It names what
        that is.
    OSError
        If the file cannot be written; one that was there before is then as it was.
    """
    if not fspath(path).endswith(".safetensors"):
        raise ValueError(f"path={fspath(path)!r} must end with .safetensors.")
    for what in _refused(network.config):
        raise ValueError(
            f"{what}, which the edge does not do. It forecasts networks of rwkv7 layers without "
            "covariates, to locations or quantiles. Keep torch on the device, or fit a model "
            "without it."
        )
    arrays = {name: _stored(name, x) for name, x in network.state_dict().items()}
    start = dict(leaves(network.init_state(1, 1)))
    layers = {name: x[0] for name, x in start.items() if name.startswith("reader/")}
    arrays |= {START + name: _stored(name, x) for name, x in layers.items() if bool(x.any())}
    NetworkFile(
        arrays,
        fingerprint(network),
        network.config.to_json(),
        icl_rates=_icl_rates(network),
        layout={name: list(x.shape) for name, x in layers.items()},
    ).write(path, __version__)


def _refused(config: NetworkConfig) -> Iterator[str]:
    """Name what a network does that a device cannot."""
    for name in ("past_covariates", "future_covariates", "static_covariates"):
        if count := getattr(config, name):
            yield f"the network reads covariates ({name}={count})"
    if config.crosses:
        yield f"the components of the network read each other (components={config.components!r})"
    if "scale" in config.outputs:
        yield f"the network forecasts outputs={list(config.outputs)} of a distribution"
    if config.layers is not None:
        known = {name: kind.made_of_layers for name, kind in LAYERS.items()}
        for call in read_layers(config.layers, known):
            if call.name != "rwkv7":
                yield f"layers={config.layers!r} have a layer {call.name!r}"
            elif call.options.get("retrospect", "off") != "off":
                yield f"layers={config.layers!r} have rwkv7 with the option 'retrospect'"
            elif call.options.get("key_size", config.head_size) != config.head_size:
                yield f"layers={config.layers!r} have rwkv7 with more keys than values (key_size)"


def _icl_rates(network: RimerNetwork) -> list[float]:
    """Largest in-context learning rate of each layer; 1 where there is no time mix."""
    if network.reader is None:
        return []
    mixers = [getattr(block, "token_mixer", None) for block in network.reader.layers.layers]
    return [float(getattr(mixer, "icl_rate_max", 1.0)) for mixer in mixers]


def _stored(name: str, x: Tensor) -> np.ndarray:
    """Return a weight as it is stored, or raise a ValueError if it is not finite."""
    x = x.detach().cpu()
    if x.is_floating_point():
        x = x.float()
        if not bool(x.isfinite().all()):
            raise ValueError(
                f"the weights {name!r} are not finite: a training went wrong. Export other ones."
            )
        half = x.half()
        x = half if torch.equal(half.float(), x) else x
    array: np.ndarray = x.numpy()
    return array
