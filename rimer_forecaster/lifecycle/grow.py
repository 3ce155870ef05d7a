"""A trained network with more heads, keys or layers, whose forecasts are the same at first.

Source: Meta-State, Xiao, Li and Lin (2025), arXiv:2504.08247, whose state grows; that what is new
starts at zero where it would be heard is borrowed from TokenFormer, Wang et al. (2024),
arXiv:2410.23168. Values do not grow: the normalisation over the values of a head would change.

Letters: H heads, K key channels and V value channels of a head, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ..layers import LAYERS, RWKV7TimeMix, build_layers, fresh_memory
from ..layers.layer_string import LayerCall, read_layers, write_layers
from ..network import RimerNetwork
from ..network.checks import plain_size
from ..network.compressed import is_compressed
from ..network.config import NetworkConfig
from ..network.initial_state import InitialState
from ..training.moments import Moments

__all__ = ["grow", "spread"]

Put = Callable[[Tensor, Tensor], object]
"""Writes a tensor of the small network into that of the large one, at the places of the old."""

_BY_KEYS = (
    "receptance.weight", "key.weight", "decay.up.weight", "decay.up.bias",
    "learning_rate.up.weight", "learning_rate.up.bias", "removal", "replacement",
)  # fmt: skip
"""Parameters of a time mix whose rows are the keys of all heads, (H * K, ...)."""

_BY_VALUES = (
    "value.weight", "gate.up.weight", "value_residual.up.weight", "value_residual.up.bias",
    "norm.weight", "norm.bias", "second_read",
)  # fmt: skip
"""Parameters of a time mix whose rows are the values of all heads, (H * V, ...)."""


@torch.no_grad()
def grow(
    network: RimerNetwork,
    *,
    key_dim: int = 0,
    heads: int = 0,
    layers: int = 0,
    generator: torch.Generator | None = None,
) -> RimerNetwork:
    """Return a larger network that forecasts the same; the given one stays as it is.

    New layers add nothing, the output map does not hear new heads, and nothing is written under new
    keys: each is a matrix of zeros, which gradients reach. All else that is new is drawn as in a
    new network.

    Parameters
    ----------
    network
        Trained.
    key_dim, heads
        How many key channels each head of the ``rwkv7`` layers gets, wherever they stand, and how
        many heads each of these layers. Other layers stay as they are. The width D and the values
        of a head stay.
    layers
        How many layers are put behind the last, each like it; ``rwkv7`` behind one of your own that
        does not begin by adding nothing.
    generator
        Source of what is drawn; the same for every call if None.

    Returns
    -------
    RimerNetwork
        Of the same arguments but for its layer string, which says the new sizes.

    Raises
    ------
    ValueError
        If an argument is out of range or all are zero, the network is compressed or has no layers,
        or has none with heads or keys where such are to grow; it names what cannot grow.
    """
    key_dim = plain_size("key_dim", key_dim, least=0)
    heads, layers = (
        plain_size(name, x, least=0) for name, x in (("heads", heads), ("layers", layers))
    )
    if not (key_dim or heads or layers):
        raise ValueError(
            "key_dim=0, heads=0 and layers=0 leave nothing to grow: give one of them at least 1."
        )
    if is_compressed(network):
        raise ValueError(
            "a compressed network does not grow: grow the one that it was made of, train that on, "
            "and compress it then."
        )
    config = _grown(network.config, key_dim, heads, layers)
    generator = generator or torch.Generator().manual_seed(0)
    arguments = config.to_json()
    large = RimerNetwork(**arguments, generator=generator, dtype=network.dtype).to(network.device)
    for name, put in _puts(network, large):
        put(large.get_parameter(name), network.get_parameter(name))
    for _, small_mix, large_mix in _time_mixes(network, large):
        keys = large_mix.key.weight.unflatten(0, (large_mix.heads, large_mix.key_size))
        keys[: small_mix.heads, small_mix.key_size :] = 0  # under which nothing is written then
        heard = large_mix.output.weight.unflatten(1, (large_mix.heads, large_mix.head_size))
        heard[:, small_mix.heads :] = 0
    return large.eval()


@torch.no_grad()
def spread(small: RimerNetwork, large: RimerNetwork, moments: Moments) -> Moments:
    """Return what an optimiser remembers of a network, for what it was grown to.

    Old entries of a parameter then take the step that they would have taken; new ones have moments
    of zero, and a new parameter has none.

    Parameters
    ----------
    small, large
        A network, and what `grow` made of it.
    moments
        Of the small one.
    """
    found: Moments = {}
    for name, put in _puts(small, large):
        for key, own in moments.get(name, {}).items():
            size = large.get_parameter(name).shape if own.ndim else own.shape
            spread_out = own.new_zeros(size)
            (put if own.ndim else Tensor.copy_)(spread_out, own)
            found.setdefault(name, {})[key] = spread_out
    return found


def _grown(config: NetworkConfig, key_dim: int, heads: int, layers: int) -> NetworkConfig:
    """Return the arguments of the larger network."""
    if config.layers is None:
        raise ValueError("layers=None is a network without layers, of which nothing can grow.")
    calls = read_layers(config.layers, {name: kind.made_of_layers for name, kind in LAYERS.items()})
    if key_dim or heads:
        found = [_larger(call, config, key_dim, heads) for call in calls]
        if found == calls:
            names = ", ".join(dict.fromkeys(call.name for call in calls))
            raise ValueError(
                f"key_dim={key_dim}, heads={heads} are for rwkv7 layers with a time mix, and "
                f"layers={config.layers!r} has none: {names} cannot grow. Use layers= alone."
            )
        calls = found
    last = calls[-1] if layers and _begins_as_nothing(calls, config) else LayerCall("rwkv7")
    return replace(config, layers=write_layers([*calls, *layers * [last]]))


def _larger(call: LayerCall, config: NetworkConfig, key_dim: int, heads: int) -> LayerCall:
    """Return a layer whose time mixes, also those inside of it, are larger."""
    call = replace(call, inner=tuple(_larger(x, config, key_dim, heads) for x in call.inner))
    if call.name != "rwkv7" or call.options.get("time_mix") == "off":
        return call
    sizes: dict[str, int] = {}
    before = {"heads": config.width // config.head_size, "key_size": config.head_size}
    for name, more in (("heads", heads), ("key_size", key_dim)):
        size = call.options.get(name, before[name])
        assert isinstance(size, int)
        if more or name in call.options:
            sizes[name] = size + more
    return replace(call, options=call.options | sizes)


def _begins_as_nothing(calls: Sequence[LayerCall], config: NetworkConfig) -> bool:
    """Whether another layer like the last one would leave tokens as they are at first."""
    stack = build_layers(
        write_layers([*calls, calls[-1]]), width=config.width, head_size=config.head_size
    ).double()
    stack.reset_parameters(torch.Generator().manual_seed(0))
    x = torch.randn(1, 3, config.width, generator=torch.Generator().manual_seed(1)).double()
    before = stack.eval()(x)[0]
    stack.layers = stack.layers[:-1]
    return torch.equal(stack(x)[0], before)


def _time_mixes(
    small: RimerNetwork, large: RimerNetwork
) -> Iterator[tuple[str, RWKV7TimeMix, RWKV7TimeMix]]:
    """Yield the time mixes that both networks have, by name."""
    for name, module in small.named_modules():
        other = large.get_submodule(name)
        if isinstance(module, RWKV7TimeMix) and isinstance(other, RWKV7TimeMix):
            yield name, module, other


def _puts(small: RimerNetwork, large: RimerNetwork) -> Iterator[tuple[str, Put]]:
    """Yield, for each parameter of the small network, how a tensor like it is spread."""
    special: dict[str, Put] = {}
    for name, own, other in _time_mixes(small, large):
        keys, values = _by_heads(0, own, other, keys=True), _by_heads(0, own, other, keys=False)
        special |= {f"{name}.{x}": keys for x in _BY_KEYS}
        special |= {f"{name}.{x}": values for x in _BY_VALUES}
        special[f"{name}.output.weight"] = _by_heads(1, own, other, keys=False)
        special[f"{name}.bonus"] = _into_the_corner
    for name, module in small.named_modules():
        if isinstance(module, InitialState):
            put = _by_memory(small, large)
            special |= {f"{name}.{x}": put for x in ("learned", "from_static.weight")}
    for name, _ in small.named_parameters():
        yield name, special.get(name, _into_the_corner)


def _into_the_corner(large: Tensor, small: Tensor) -> None:
    large[tuple(slice(size) for size in small.shape)] = small


def _by_heads(axis: int, small: RWKV7TimeMix, large: RWKV7TimeMix, *, keys: bool) -> Put:
    """Return how a tensor is spread whose axis is of heads by keys, or of heads by values."""
    before, after = ((mix.heads, mix.key_size if keys else mix.head_size) for mix in (small, large))

    def put(large: Tensor, small: Tensor) -> None:
        _into_the_corner(large.unflatten(axis, after), small.unflatten(axis, before))

    return put


def _by_memory(small: RimerNetwork, large: RimerNetwork) -> Put:
    """Return how a tensor is spread whose rows are the memory of all layers, one after another."""
    assert small.reader is not None  # else it has no initial state
    assert large.reader is not None
    before, after = (
        {path: x.shape[1:] for path, x in fresh_memory(layers).items()}
        for layers in (small.reader.layers, large.reader.layers)
    )
    order = small.reader.layers.memory, large.reader.layers.memory

    def put(large: Tensor, small: Tensor) -> None:
        parts = (
            dict(zip(paths, x.split([prod(sizes[path]) for path in paths]), strict=True))
            for paths, sizes, x in zip(order, (before, after), (small, large), strict=True)
        )
        olds, news = parts
        for path, old in olds.items():
            _into_the_corner(news[path].unflatten(0, after[path]), old.unflatten(0, before[path]))

    return put
