"""The layers that a layer string can name; each registers itself, beside its own code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from .block import Stack
from .layer_string import LayerCall, read_layers
from .protocol import LayerPosition, Mixer

__all__ = ["LAYERS", "Kind", "Site", "build_calls", "build_layers", "check_layers", "register"]

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
    """

    build: Callable[..., Mixer]
    options: tuple[str, ...]
    made_of_layers: bool = False


LAYERS: dict[str, Kind] = {}
"""Layers by the name that a layer string uses."""


def register(
    name: str, *, made_of_layers: bool = False, options: Sequence[str] | None = None
) -> Callable[[Build], Build]:
    """Let a layer string name what the decorated function builds.

    Parameters
    ----------
    name
        A word that no other layer has.
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
        LAYERS[name] = Kind(build, own if options is None else tuple(options), made_of_layers)
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
    """Raise what `build_layers` would, without storage for a parameter."""
    with torch.device("meta"):
        build_layers(layers, width=width, head_size=head_size)


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
        kind = LAYERS[call.name]
        for name in call.options:
            if name not in kind.options:
                raise ValueError(
                    f"{call.name} has no option {name!r}; it has "
                    f"{', '.join(kind.options) or 'none'}."
                )
        position = LayerPosition(index, len(calls), given)
        site = Site(width, head_size, dropout, position, perspectives)
        arguments: tuple[Any, ...] = (site, call.inner) if kind.made_of_layers else (site,)
        built.append(kind.build(*arguments, **call.options))
        given |= built[-1].gives
    return Stack(built)
