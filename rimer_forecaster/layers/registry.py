"""The layers that a layer string can name; each registers itself, beside its own code."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from .block import Stack
from .layer_string import LayerCall, read_layers
from .protocol import LayerPosition, Mixer, leaves

__all__ = [
    "LAYERS",
    "Kind",
    "Site",
    "Variant",
    "build_call",
    "build_calls",
    "build_layers",
    "check_layers",
    "register",
    "state_size",
]

_MOST_STATE = 2**28
"""Values in the state of one stream, 1 GiB: a layer string may come from a file."""

Build = TypeVar("Build", bound=Callable[..., Mixer])


@dataclass(frozen=True)
class Site:
    """What a layer is told about its place: the arguments of `build_layers`, and the position.

    Attributes
    ----------
    perspectives
        How many token shifts a layer that has one is to have, for `Pass.perspective` to choose.
    """

    width: int
    head_size: int
    dropout: float
    position: LayerPosition
    perspectives: int = 1


@dataclass(frozen=True)
class Variant:
    """What is known of one way to use a layer.

    Attributes
    ----------
    layers
        The layer string.
    paper
        Whose layer it is: authors, year and number at arXiv.
    cost
        How time grows with the number T of tokens, as in ``"T * window"``.
    """

    layers: str
    paper: str
    cost: str


@dataclass(frozen=True)
class Kind:
    """How the layers of one name are built.

    Attributes
    ----------
    build
        From a `Site`, the inner layers if there are some, and options to a layer.
    options
        Names of the options.
    made_of_layers
        Whether the name takes other layers in its parentheses.
    variants
        What is known of the layer, for each way to use it.
    """

    build: Callable[..., Mixer]
    options: tuple[str, ...]
    made_of_layers: bool = False
    variants: tuple[Variant, ...] = ()


LAYERS: dict[str, Kind] = {}
"""Layers by the name that a layer string uses."""


def register(
    name: str,
    *variants: Variant,
    made_of_layers: bool = False,
    options: Sequence[str] | None = None,
) -> Callable[[Build], Build]:
    """Let a layer string name what the decorated function builds.

    Parameters
    ----------
    name
        A word that no other layer has.
    *variants
        What is known of it, for the table of layers.
    made_of_layers
        Whether the layer is made of others: the function then takes their `LayerCall` objects after
        the site, for `build_calls`.
    options
        What may stand in the parentheses of the name; by default the keyword-only arguments of the
        function.

    Raises
    ------
    ValueError
        If the name is no word, or is that of another layer.

    Examples
    --------
    >>> from rimer_forecaster.layers import Block, FeedForward, Site, build_layers, register
    >>> @register("channels")
    ... def channels(site: Site) -> Block:
    ...     return Block(None, FeedForward(site.width), width=site.width, dropout=site.dropout)
    >>> len(build_layers("channels*2, rwkv7", width=32, head_size=16).layers)
    3
    """

    def add(build: Build) -> Build:
        known = LAYERS.get(name)
        if not name.isidentifier() or (
            known is not None and _origin(known.build) != _origin(build)
        ):
            raise ValueError(
                f"name={name!r} must be a word that is not the name of another layer: "
                f"{', '.join(sorted(LAYERS))}."
            )
        parameters = inspect.signature(build).parameters.values()
        own = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        options_of_it = own if options is None else tuple(options)
        LAYERS[name] = Kind(build, options_of_it, made_of_layers, variants)
        return build

    return add


def _origin(build: Callable[..., Mixer]) -> tuple[str, str]:
    """Where a function was written: a module may be read anew."""
    return build.__module__, build.__qualname__


def build_layers(layers: str, *, width: int, head_size: int, dropout: float = 0.0) -> Stack:
    """Build the stack that a layer string describes.

    Parameters
    ----------
    layers
        See `layer_string`.
    width, head_size, dropout
        D, N and the dropout probability of every layer.

    Raises
    ------
    ValueError
        If the string cannot be read, a layer does not take one of its options, or the head size
        does not divide the width.
    """
    calls = read_layers(layers, {name: kind.made_of_layers for name, kind in LAYERS.items()})
    if width % head_size:
        raise ValueError(
            f"width={width} is not a multiple of head_size={head_size}: a layer has "
            "width / head_size heads. Change one of the two."
        )
    return build_calls(calls, width=width, head_size=head_size, dropout=dropout)


def check_layers(layers: str, *, width: int, head_size: int) -> None:
    """Raise what `build_layers` would, by the name of the argument, without storage."""
    try:
        with torch.device("meta"):
            stack = build_layers(layers, width=width, head_size=head_size)
            count = sum(leaf.numel() for _, leaf in leaves(stack.init_state(1)))
        if count > _MOST_STATE:
            raise ValueError(
                f"its state has {count:,} values. There can be {_MOST_STATE:,} at most: make its "
                "options smaller."
            )
    except (TypeError, ValueError, OverflowError) as error:
        if "layers" in str(error) or "width" in str(error):
            raise
        raise ValueError(f"layers={layers!r}: {error}") from error


def build_calls(
    calls: Sequence[LayerCall],
    *,
    width: int,
    head_size: int,
    dropout: float,
    perspectives: int = 1,
) -> Stack:
    """Build the stack that a layer string was read as; see `build_layers` and `Site`."""
    built: list[Mixer] = []
    given: frozenset[str] = frozenset()
    for index, call in enumerate(calls):
        position = LayerPosition(index, len(calls), given)
        built.append(build_call(call, Site(width, head_size, dropout, position, perspectives)))
        given |= built[-1].gives
    return Stack(built)


def build_call(call: LayerCall, site: Site) -> Mixer:
    """Build one layer that a layer string was read as; see `build_layers` and `Site`."""
    kind = LAYERS[call.name]
    for name in call.options:
        if name not in kind.options:
            raise ValueError(
                f"{call.name} has no option {name!r}; it has {', '.join(kind.options) or 'none'}."
            )
    arguments: tuple[Any, ...] = (site, call.inner) if kind.made_of_layers else (site,)
    return kind.build(*arguments, **call.options)


def state_size(layers: str, *, width: int, head_size: int) -> tuple[int, int]:
    """Return the bytes that layers remember of one stream, in float32.

    Parameters
    ----------
    layers, width, head_size
        As in `build_layers`.

    Returns
    -------
    fixed, per_token
        Bytes whatever the stream, and those that every token adds, as in full attention.
    """
    with torch.device("meta"):
        stack = build_layers(layers, width=width, head_size=head_size)
        state = [leaf for _, leaf in leaves(stack.init_state(1))]
    # The cache of full attention is empty at first, along the axis that grows.
    growing = [leaf for leaf in state if not leaf.numel()]
    per_token = sum(leaf.itemsize * math.prod(size or 1 for size in leaf.shape) for leaf in growing)
    return sum(leaf.nbytes for leaf in state), per_token
