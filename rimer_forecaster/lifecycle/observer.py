"""What a large network remembers, as a small one sees it: through linear maps of its own states.

Source: the observer of State Tuning, Xiao, Li and Lin (2025), arXiv:2504.05097, in which a small
model follows the states of a large one; that it does so through a linear map is inferred.

Letters: B windows, H output steps, C target components, Q outputs per value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import State, fresh_memory, from_leaves, leaves
from ..layers.parts.initialisation import uniform_linear
from ..network import RimerNetwork

__all__ = ["Observer", "read"]


def read(network: RimerNetwork, inputs: dict[str, Tensor]) -> tuple[Tensor, list[State]]:
    """Return forecasts of windows, and what the layers remember after each pass over tokens."""
    found: list[State] = []
    inputs = {name: x.to(network.skip.offset) for name, x in inputs.items()}
    if network.reader is None:
        return network(**inputs), found
    layers, rows = network.reader.layers, len(inputs["past_target"])
    start = None
    if layers.memory:  # from zeros, with which layers say what they remember in the end
        start = from_leaves(fresh_memory(layers, rows))
    with _overheard(layers, found):
        return network(**inputs, start=start), found


@contextmanager
def _overheard(layers: nn.Module, found: list[State]) -> Iterator[None]:
    """Add the states that layers return to a list."""

    def listen(_: nn.Module, __: Any, returned: tuple[Tensor, State | None]) -> None:
        if returned[1] is not None:
            found.append(returned[1])

    handle = layers.register_forward_hook(listen)
    try:
        yield
    finally:
        handle.remove()


class Observer:
    """Linear maps from the memory of each layer of a network to that of a larger one.

    Parameters
    ----------
    small, large
        The networks.
    inputs
        Windows that say where the large one's states lie, and how far they spread.
    generator
        Source of the maps.
    """

    def __init__(
        self,
        small: RimerNetwork,
        large: RimerNetwork,
        inputs: dict[str, Tensor],
        generator: torch.Generator,
    ) -> None:
        # Else there are no states to follow.
        assert small.reader is not None
        assert large.reader is not None
        own, its = small.reader.layers.memory, large.reader.layers.memory
        depths = [math.ceil((i + 1) * len(its) / len(own)) - 1 for i in range(len(own))]
        self.pairs = [(path, its[depth]) for path, depth in zip(own, depths, strict=True)]
        with torch.no_grad():
            states = dict(leaves(read(large.eval(), inputs)[1][0]))
            watched = dict(leaves(read(small.eval(), inputs)[1][0]))
        self.means = {path: states[path].flatten(1).mean(0) for _, path in self.pairs}
        self.spreads = {
            path: (states[path].flatten(1) - self.means[path]).square().mean().clamp_min(1e-12)
            for _, path in self.pairs
        }
        like = small.skip.offset
        self.linears = [
            nn.utils.skip_init(
                *(nn.Linear, watched[path][0].numel(), states[other][0].numel()),
                device=like.device,
                dtype=like.dtype,
            )
            for path, other in self.pairs
        ]
        self.maps = nn.ModuleList(self.linears)
        for linear in self.linears:
            uniform_linear(linear, generator)

    def __call__(self, own: State, its: State) -> Tensor:
        """Return the share of the variance of the large network's states that is unexplained."""
        known, wanted = dict(leaves(own)), dict(leaves(its))
        shares = []
        for linear, (path, other) in zip(self.linears, self.pairs, strict=True):
            guess = linear(known[path].flatten(1).to(linear.weight))
            scale = self.spreads[other].sqrt()
            target = (wanted[other].flatten(1) - self.means[other]) / scale
            shares.append((guess - target.to(guess)).square().mean())
        return torch.stack(shares).mean()
