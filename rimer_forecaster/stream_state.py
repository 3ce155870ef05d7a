"""The state of a stream, which a network carries from step to step: checked and stored.

A nested dict of tensors. Its size depends on the look-back and on the layers, not on how much came
before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from os import PathLike

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .layers import State

__all__ = ["check_state", "fingerprint", "leaves", "load_state", "read_metadata", "save_state"]


def leaves(state: State, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state in the order of their paths, such as ``"reader/layers/0"``."""
    for key, value in sorted(state.items()):
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def check_state(state: State, expected: State) -> None:
    """Raise a ValueError that names the first tensor which is not as in an expected state.

    An axis that is empty in the expected state may be of any size: the cache of full attention.
    """
    given, wanted = dict(leaves(state)), dict(leaves(expected))
    for name in sorted(given.keys() | wanted.keys()):
        if name not in given or name not in wanted:
            what = "lacks" if name not in given else "has, and this network's has not,"
            raise ValueError(
                f"the state {what} {name!r}: it is the state of another model. Begin a new one "
                "with observe."
            )
        shape, size = given[name].shape, wanted[name].shape
        if len(shape) != len(size) or any(
            n not in (0, m) for m, n in zip(shape, size, strict=True)
        ):
            raise ValueError(
                f"{name!r} in the state has shape {tuple(shape)}, expected {tuple(size)}: it is "
                "the state of another model, of other components or of another number of streams. "
                "Begin a new one with observe."
            )
        if given[name].dtype != wanted[name].dtype:
            raise ValueError(
                f"{name!r} in the state is of {given[name].dtype}, but the network computes in "
                f"{wanted[name].dtype}. Convert one of the two."
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
    state: State = {}
    if read_metadata(path).get("network") != fingerprint(network):
        raise ValueError(
            f"the state in {str(path)!r} was not saved with this network: its weights are others. "
            "Load the network it was saved with, or begin a new state with observe."
        )
    with safe_open(path, framework="pt", device=str(device)) as file:
        for name in file.keys():  # noqa: SIM118  # not a dict
            *parents, key = name.split("/")
            place = state
            for parent in parents:
                place = place.setdefault(parent, {})
            place[key] = file.get_tensor(name)
    return state
