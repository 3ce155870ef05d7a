"""The face that every layer shares: the state is the interface.

A mixer maps tokens to tokens of the same width and carries a state of declared size:

    state = mixer.init_state(batch_size)
    y, state = mixer(x, state, mask=None)        # x, y: (B, T, D)

Cutting a sequence anywhere and carrying the state gives the output of one pass. Without a state
the mixer starts afresh and returns None in its place, which spares a window model the work of a
state that nobody reads.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["LayerPosition", "Mixer", "Shared", "State", "from_leaves", "leaves"]

State: TypeAlias = dict[str, Any]
"""Nested dict of tensors, batch first. A layer without a state has an empty one, or none at all."""

Shared: TypeAlias = dict[str, Tensor]
"""What earlier layers leave for later ones about the same tokens; lives for one pass."""


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
class LayerPosition:
    """Where a layer stands in its stack; the published initialisation depends on it.

    Attributes
    ----------
    index, depth
        Number of the layer from 0, and number of layers.
    first_of_kind
        Whether no earlier layer is an RWKV-7 one, whose value the later ones share.
    """

    index: int = 0
    depth: int = 1
    first_of_kind: bool = True


class Mixer(nn.Module, ABC):
    """A layer under the protocol above.

    A parameter that learns at a multiple of the learning rate is named in the dict
    ``learning_rates`` of the module that holds it.

    Attributes
    ----------
    penalty
        What a layer wants added to the loss of its last training pass, or None.
    """

    penalty: Tensor | None = None

    @abstractmethod
    def init_state(self, batch_size: int) -> State:
        """Return the state before the first token, on the device and in the dtype of the layer."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        mask: Tensor | None = None,
        shared: Shared | None = None,
    ) -> tuple[Tensor, State | None]:
        """Mix tokens.

        Parameters
        ----------
        x
            Tokens, (B, T, D).
        state
            State before the first token; None starts afresh and returns None as the new state.
        mask
            True for real tokens, (B, T). A masked token leaves the state alone, bit for bit, and
            no other token sees it; its own output is undefined.
        shared
            Filled and read by the layers of one stack in one pass.

        Returns
        -------
        y, state
            Mixed tokens (B, T, D) and the state after the last one.
        """

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the process's own generator is used if none is given."""
