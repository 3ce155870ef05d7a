"""The state of a stream, which a network carries from step to step: checked and stored.

A nested dict of tensors. Its size depends on the look-back and on the layers, not on how much came
before.
"""

from __future__ import annotations

import hashlib
from os import PathLike
from typing import TypeAlias

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ..layers import State, from_leaves, leaves

__all__ = [
    "Layout",
    "check_state",
    "compact",
    "fingerprint",
    "layout_of",
    "load_state",
    "read_metadata",
    "save_state",
]

Layout: TypeAlias = dict[str, tuple[torch.Size, torch.dtype]]
"""Shape and dtype by path."""


def layout_of(state: State) -> Layout:
    """Return shape and dtype of the tensors of a state, by path."""
    return {name: (leaf.shape, leaf.dtype) for name, leaf in leaves(state)}


def compact(state: State) -> State:
    """Return a state whose tensors keep nothing alive that they were cut from.

    The last of what was read at once would hold memory for all of it, and a pickle write it.
    """
    held = dict(leaves(state))
    cut = [name for name, x in held.items() if x.untyped_storage().nbytes() > 2 * x.nbytes]
    return from_leaves(held | {name: held[name].clone() for name in cut}) if cut else state


def check_state(state: State, expected: Layout) -> None:
    """Raise a ValueError that names the first tensor which is not as expected.

    An axis that is expected to be empty may be of any size: the cache of full attention.
    """
    given = layout_of(state)
    for name in sorted(given.keys() | expected.keys()):
        if name not in given or name not in expected:
            what = "lacks" if name not in given else "has, and this network's has not,"
            raise ValueError(
                f"the state {what} {name!r}: it is the state of another model. Begin a new one "
                "with observe."
            )
        (shape, dtype), (wanted, wanted_dtype) = given[name], expected[name]
        fits = len(shape) == len(wanted) and all(
            size in (0, own) for own, size in zip(shape, wanted, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{name!r} in the state has shape {tuple(shape)}, expected {tuple(wanted)}: it is "
                "the state of another model, of other components or of another number of streams. "
                "Begin a new one with observe."
            )
        if dtype != wanted_dtype:
            raise ValueError(
                f"{name!r} in the state is of {dtype}, but the network computes in {wanted_dtype}. "
                "Convert one of the two."
            )


def fingerprint(network: nn.Module) -> str:
    """Return a digest of the weights, which a state belongs to."""
    digest = hashlib.sha256()
    for name, parameter in sorted(network.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_state(
    state: State,
    path: str | PathLike[str],
    *,
    network: nn.Module,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a state as safetensors, with the fingerprint of the network that it belongs to."""
    tensors = {name: leaf.detach().cpu().contiguous().clone() for name, leaf in leaves(state)}
    save_file(tensors, path, metadata={**(metadata or {}), "network": fingerprint(network)})


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """Return what was written beside a state."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def load_state(path: str | PathLike[str], network: nn.Module) -> State:
    """Read a state, onto the network's device.

    Raises
    ------
    ValueError
        If the state was saved with a network of other weights.
    """
    device = next(network.parameters()).device
    with safe_open(path, framework="pt", device=str(device)) as file:
        if (file.metadata() or {}).get("network") != fingerprint(network):
            raise ValueError(
                f"the state in {str(path)!r} was not saved with this network: its weights are "
                "others. Load the network it was saved with, or begin a new state with observe."
            )
        return from_leaves({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
