"""The layers that a layer string can name, and how they are built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from .block import Block, Stack
from .combinators.equilibrium import Equilibrium
from .layer_string import LayerCall, read_layers
from .mixers.attention import Attention
from .mixers.channel_mix import ChannelMix, FeedForward, LinearChannelMix
from .mixers.recurrent import Recurrent
from .mixers.rwkv7 import RWKV7TimeMix
from .protocol import LayerPosition, Mixer

__all__ = ["LAYERS", "build_layers", "check_layers"]


@dataclass(frozen=True)
class _Site:
    """What a layer is told about its place: the arguments of `build_layers`, and the position."""

    width: int
    head_size: int
    dropout: float
    position: LayerPosition


def _rwkv7(
    site: _Site, *, time_mix: str = "on", channel_mix: str = "relu2", icl_rate_max: float = 1.0
) -> Block:
    if time_mix not in ("on", "off"):
        raise ValueError(f"time_mix={time_mix} of rwkv7 must be on or off.")
    mixers: dict[str, Callable[[], Mixer | None]] = {
        "relu2": lambda: ChannelMix(site.width, position=site.position),
        "linear": lambda: LinearChannelMix(site.width),
        "off": lambda: None,
    }
    if channel_mix not in mixers:
        raise ValueError(f"channel_mix={channel_mix} of rwkv7 must be one of {', '.join(mixers)}.")
    if time_mix == channel_mix == "off":
        raise ValueError(
            "time_mix=off and channel_mix=off leave nothing of rwkv7; use layers=None for the "
            "linear skip alone."
        )
    mixer = RWKV7TimeMix(
        site.width, head_size=site.head_size, position=site.position, icl_rate_max=icl_rate_max
    )
    return Block(
        mixer if time_mix == "on" else None,
        mixers[channel_mix](),
        width=site.width,
        dropout=site.dropout,
    )


def _attention(site: _Site, *, window: int | None = None) -> Block:
    return _with_feed_forward(Attention(site.width, head_size=site.head_size, window=window), site)


def _recurrent(cell: Literal["gru", "lstm"], site: _Site) -> Block:
    return _with_feed_forward(Recurrent(site.width, cell=cell), site)


def _with_feed_forward(mixer: Mixer, site: _Site) -> Block:
    return Block(mixer, FeedForward(site.width), width=site.width, dropout=site.dropout)


def _equilibrium(site: _Site, inner: Sequence[LayerCall], **options: Any) -> Equilibrium:
    # Dropout inside would make another map of every iteration: it is held for all of them outside.
    layers = _build(inner, width=site.width, head_size=site.head_size, dropout=0.0)
    return Equilibrium(layers, width=site.width, dropout=site.dropout, **options)


@dataclass(frozen=True)
class _Kind:
    build: Callable[..., Mixer]
    options: tuple[str, ...]
    made_of_layers: bool = False


def _options_of(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


LAYERS: dict[str, _Kind] = {
    "attention": _Kind(_attention, _options_of(_attention)),
    "equilibrium": _Kind(
        _equilibrium,
        tuple(name for name in _options_of(Equilibrium) if name not in ("width", "dropout")),
        made_of_layers=True,
    ),
    "gru": _Kind(partial(_recurrent, "gru"), ()),
    "lstm": _Kind(partial(_recurrent, "lstm"), ()),
    "rwkv7": _Kind(_rwkv7, _options_of(_rwkv7)),
}
"""Layers by the name that a layer string uses."""


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
    return _build(calls, width=width, head_size=head_size, dropout=dropout)


def check_layers(layers: str, *, width: int, head_size: int) -> None:
    """Raise what `build_layers` would, without storage for a parameter."""
    with torch.device("meta"):
        build_layers(layers, width=width, head_size=head_size)


def _build(calls: Sequence[LayerCall], *, width: int, head_size: int, dropout: float) -> Stack:
    built: list[Mixer] = []
    for index, call in enumerate(calls):
        kind = LAYERS[call.name]
        for name in call.options:
            if name not in kind.options:
                raise ValueError(
                    f"{call.name} has no option {name!r}; it has "
                    f"{', '.join(kind.options) or 'none'}."
                )
        is_first = not any(
            isinstance(block, Block) and isinstance(block.token_mixer, RWKV7TimeMix)
            for block in built
        )
        position = LayerPosition(index, len(calls), first_of_kind=is_first)
        site = _Site(width, head_size, dropout, position)
        arguments = (site, call.inner) if kind.made_of_layers else (site,)
        built.append(kind.build(*arguments, **call.options))
    return Stack(built)
