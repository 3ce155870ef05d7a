"""A learned state before the first token, one for all sequences or made from static features.

Letters: B sequences, n static features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import Mixer, State, from_leaves, leaves

__all__ = ["InitialState"]


class InitialState(nn.Module):
    """Adds a learned start to the memory of layers: ``learned + static @ weight``.

    It is zero at first, and padding leaves it alone, bit for bit: a masked token neither decays nor
    writes.

    Parameters
    ----------
    layers
        Whose memory it is.
    features
        n, or 0 for one start for all sequences.

    Raises
    ------
    ValueError
        If the layers declare no memory.
    """

    def __init__(self, layers: Mixer, features: int = 0) -> None:
        super().__init__()
        self.paths = layers.memory
        if not self.paths:
            raise ValueError(
                "initial_state must be 'zero' for layers without a memory of their own, such "
                "as rwkv7 has."
            )
        state = dict(leaves(layers.init_state(1)))
        self.sizes = [state[path].numel() for path in self.paths]
        self.learned = nn.Parameter(torch.empty(sum(self.sizes)))
        self.from_static = nn.Linear(features, sum(self.sizes), bias=False) if features else None
        # A memory is of the size of a sum of tokens, far from the size of a weight.
        self.learning_rates = {"learned": 10.0}

    def forward(self, state: State, static: Tensor | None = None) -> State:
        """Add the start to a fresh state; static features are (B, n)."""
        fresh = dict(leaves(state))
        start = self.learned.expand(len(fresh[self.paths[0]]), -1)
        if self.from_static is not None:
            start = start + self.from_static(static)
        parts = zip(self.paths, start.split(self.sizes, 1), strict=True)
        return from_leaves(fresh | {x: fresh[x] + part.view_as(fresh[x]) for x, part in parts})

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.learned)
        if self.from_static is not None:
            nn.init.zeros_(self.from_static.weight)
