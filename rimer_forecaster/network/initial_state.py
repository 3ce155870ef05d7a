"""A learned state before the first token, one for all sequences or made from static features.

Letters: B sequences, H heads, N head size, n static features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers.protocol import Mixer, State, from_leaves, leaves

__all__ = ["InitialState"]


class InitialState(nn.Module):
    """Adds a learned start to the WKV states of layers: ``learned + static @ weight``.

    It is zero at first, and padding leaves it alone, bit for bit: a masked token neither decays nor
    writes.

    Parameters
    ----------
    layers
        Whose state it is.
    features
        n, or 0 for one start for all sequences.

    Raises
    ------
    ValueError
        If the layers have no WKV state.
    """

    def __init__(self, layers: Mixer, features: int = 0) -> None:
        super().__init__()
        shapes = [leaf.shape[1:] for leaf in _wkv(layers.init_state(1)).values()]
        if not shapes:
            raise ValueError(
                "initial_state must be 'zero' for layers without rwkv7: others have no state to "
                "learn."
            )
        self.sizes = [shape.numel() for shape in shapes]
        self.learned = nn.Parameter(torch.empty(sum(self.sizes)))
        self.from_static = nn.Linear(features, sum(self.sizes), bias=False) if features else None
        # A state is of the size of a sum of tokens, far from the size of a weight.
        self.learning_rates = {"learned": 10.0}

    def forward(self, state: State, static: Tensor | None = None) -> State:
        """Add the start to a fresh state; static features are (B, n)."""
        wkv = _wkv(state)
        start = self.learned.expand(len(next(iter(wkv.values()))), -1)
        if self.from_static is not None:
            start = start + self.from_static(static)
        parts = zip(wkv.items(), start.split(self.sizes, 1), strict=True)
        added = {path: leaf + part.view_as(leaf) for (path, leaf), part in parts}
        return from_leaves({**dict(leaves(state)), **added})

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.learned)
        if self.from_static is not None:
            nn.init.zeros_(self.from_static.weight)


def _wkv(state: State) -> dict[str, Tensor]:
    """WKV states of a state by path."""
    return {path: leaf for path, leaf in leaves(state) if path.split("/")[-1] == "wkv"}
