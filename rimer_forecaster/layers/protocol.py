"""The face that every layer shares: the state is the interface.

A mixer maps tokens to tokens of the same width and carries a state of declared size:

    state = mixer.init_state(batch_size)
    y, state = mixer(x, state, Pass(...))        # x, y: (B, T, D)

Cutting a sequence anywhere and carrying the state gives the output of one pass. Without a state
the mixer starts afresh and returns None in its place, which spares a window model the work of a
state that nobody reads.

Letters: B sequences, T tokens, D width, H heads, N channels of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

__all__ = [
    "ALONE",
    "LayerPosition",
    "Mixer",
    "Pass",
    "State",
    "fresh_memory",
    "from_leaves",
    "leaves",
    "rows_of",
]

State: TypeAlias = dict[str, Any]
"""Nested dict of tensors, batch first. A layer without a state has an empty one, or none at all."""


def leaves(state: State, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state in the order of their paths, such as ``"0/token_mixer/wkv"``."""
    for key, value in sorted(state.items()):
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def from_leaves(tensors: Mapping[str, Tensor]) -> State:
    """Return the state whose `leaves` these are, by path."""
    state: State = {}
    for path, tensor in tensors.items():
        *parents, key = path.split("/")
        place = state
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = tensor
    return state


@dataclass(frozen=True)
class Pass:
    """What accompanies tokens through the layers; lives for one pass.

    Attributes
    ----------
    mask
        True for real tokens, (B, T); None if all are. A masked token leaves the state alone, bit
        for bit, and no other token sees it; its own output is undefined.
    source
        Tokens that write the state in place of those that read it, (B, T, D). A block whose mixers
        were not built to be written by a source refuses one.
    shared
        What earlier layers leave for later ones about the same tokens, by name. None outside a
        stack, which makes one for its layers.
    medium
        What a block read of the segments before each token, (B, T, D), for the token shifts of its
        mixers.
    perspective
        Which of several token shifts to take, for layers that have several.
    """

    mask: Tensor | None = None
    source: Tensor | None = None
    shared: dict[str, Tensor] | None = None
    medium: Tensor | None = None
    perspective: int = 0


ALONE = Pass()
"""Tokens without companions."""


def rows_of(state: State, rows: Any) -> State:
    """Return these rows of every tensor of a state, by anything that a tensor takes as an index."""
    return from_leaves({path: x[rows] for path, x in leaves(state)})


def fresh_memory(layer: Mixer, batch_size: int = 1) -> dict[str, Tensor]:
    """Return what the memory of a layer begins with, by path, in the order of `Mixer.memory`."""
    fresh = dict(leaves(layer.init_state(batch_size)))
    return {path: fresh[path] for path in layer.memory}


@dataclass(frozen=True)
class LayerPosition:
    """Where a layer stands in its stack; the published initialisation depends on it.

    Attributes
    ----------
    index, depth
        Number of the layer from 0, and number of layers.
    given
        Names of what earlier layers leave in `Pass.shared`.
    """

    index: int = 0
    depth: int = 1
    given: frozenset[str] = frozenset()


class Mixer(nn.Module, ABC):
    """A layer under the protocol above.

    A parameter that learns at a multiple of the learning rate is named in the dict
    ``learning_rates`` of the module that holds it.

    Attributes
    ----------
    memory
        Paths of those leaves of the state, (B, H, ...), that are the layer's memory: they may start
        from a learned value, and their norms are looked at by diagnostics.
    shifts
        Paths of those leaves that are the last token, (B, D). They may also hold the last L tokens,
        (B, L, D): every token then stands beside the one L places before it.
    gives
        Names of what the layer leaves in `Pass.shared` for later ones.
    from_source
        Whether `Pass.source` writes the state.
    penalty
        What a layer wants added to the loss of its last training pass, or None.
    """

    memory: tuple[str, ...] = ()
    shifts: tuple[str, ...] = ()
    gives: frozenset[str] = frozenset()
    from_source: bool = False
    penalty: Tensor | None = None

    @abstractmethod
    def init_state(self, batch_size: int) -> State:
        """Return the state before the first token, on the device and in the dtype of the layer."""

    @abstractmethod
    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens.

        Parameters
        ----------
        x
            Tokens, (B, T, D).
        state
            State before the first token; None starts afresh and returns None as the new state.
        companions
            What accompanies the tokens.

        Returns
        -------
        y, state
            Mixed tokens (B, T, D) and the state after the last one.
        """

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the process's own generator is used if none is given."""

    def log_decay(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> Tensor | None:
        """Return the natural logarithm of the factor by which tokens let the memory decay.

        Takes what `forward` does. (B, T, H, N), at most 0; None for a layer without a memory that
        decays channel by channel.
        """
        return None
