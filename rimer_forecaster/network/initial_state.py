"""A state before the first token: learned with the weights, or given for each series.

Letters: B sequences, n static features, C components of a series.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import Mixer, State, fresh_memory, from_leaves, leaves
from ..layers.parts.kernel_read import KERNELS, SUPPORTS

__all__ = ["InitialState", "check_memory", "with_memory", "without_kernels"]


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
        self.sizes = [x.numel() for x in fresh_memory(layers).values()]
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


def with_memory(state: State, memory: State) -> State:
    """Add memory, (B, ...), to a fresh state, (B * C, ...): components of a series share it.

    Kernels, which a fresh state has not, are put beside it.
    """
    fresh = dict(leaves(state))
    for path, start in leaves(memory):
        own = fresh[memory_beside(path)]
        start = start.to(own).repeat_interleave(len(own) // len(start), 0)
        fresh[path] = fresh[path] + start if path in fresh else start
    return from_leaves(fresh)


def memory_beside(path: str) -> str:
    """Return the path of the memory that kernels stand beside, or of a memory itself."""
    parent, _, name = path.rpartition("/")
    return f"{parent}/wkv" if name in (KERNELS, SUPPORTS) else path


def without_kernels(state: State) -> State:
    """Return a state without its kernels, after a look at them.

    Raises
    ------
    ValueError
        If they do not fit to each other and to the memory that they stand beside.
    """
    held = dict(leaves(state))
    beside = [path for path in held if memory_beside(path) != path]
    if not beside:  # of every update of a stream
        return state
    for parent in {path.rpartition("/")[0] for path in beside}:
        memory, kernels, supports = (
            held.get(f"{parent}/{name}") for name in ("wkv", KERNELS, SUPPORTS)
        )
        fits = (
            memory is not None
            and kernels is not None
            and supports is not None
            and kernels.shape[:-1] == memory.shape[:-1]
            and supports.shape == (*memory.shape[:2], kernels.shape[-1], memory.shape[-1])
        )
        if not fits:
            raise ValueError(
                f"kernels under {parent!r} of the state are not of this model. Begin a new state "
                "with observe, or call adapt of this model."
            )
    return from_leaves({path: x for path, x in held.items() if path not in beside})


def check_memory(memory: State, layers: Mixer | None, batch_size: int) -> None:
    """Raise a ValueError that names the first tensor of a memory which the layers do not have.

    Parameters
    ----------
    memory
        What layers are to start from, a state of their memory alone, (B, ...), and of kernels
        beside it if wanted.
    layers
        Which start from it; None for a network without layers.
    batch_size
        B.
    """
    paths = () if layers is None else layers.memory
    whole, memory = memory, without_kernels(memory)
    if layers is None or not paths:
        raise ValueError(
            "start is for layers with a memory of their own, such as rwkv7 has; this network has "
            "none. Leave it out."
        )
    expected, given = fresh_memory(layers), dict(leaves(memory))
    for path in sorted(given.keys() | set(paths)):
        if path not in given or path not in paths:
            what = "lacks" if path not in given else "has, and these layers have not,"
            raise ValueError(
                f"start {what} {path!r}: it is of another network. The memory of these layers is "
                f"{', '.join(paths)}."
            )
        wanted = (batch_size, *expected[path].shape[1:])
        if given[path].shape != wanted:
            raise ValueError(
                f"{path!r} of start has shape {tuple(given[path].shape)}; it must be {wanted}: one "
                "row per series."
            )
    for path, x in leaves(whole):
        if not bool(x.isfinite().all()):
            raise ValueError(f"{path!r} of start holds values that are not finite. Leave it out.")
