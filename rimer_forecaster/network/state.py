"""The state of a stream, which a network carries from step to step: checked and stored.

A nested dict of tensors. Its size depends on the look-back and on the layers, not on how much came
before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, TypeAlias

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..files import digest_of, read_verified, write_whole
from ..layers import State, from_leaves, leaves

if TYPE_CHECKING:
    from .streams import StreamedNetwork

__all__ = [
    "KnownWeights",
    "Layout",
    "check_finite_state",
    "check_state",
    "compact",
    "fingerprint",
    "layout_of",
    "load_described_state",
    "load_state",
    "read_metadata",
    "read_tensors",
    "save_state",
    "write_tensors",
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


def check_finite_state(state: State) -> None:
    """Raise a ValueError that names the first tensor which holds what no stream can leave.

    Covariates alone are NaN where they are not known.
    """
    for name, leaf in leaves(state):
        if leaf.is_floating_point():
            unusable = leaf.isinf() if name == "covariates" else ~leaf.isfinite()
            if bool(unusable.any()):
                raise ValueError(
                    f"{name!r} in the state holds {leaf[unusable][0]}: values were so large that "
                    "the state overflowed. Begin a new one with observe, without them."
                )
    steps = state.get("steps")
    if steps is not None and int(steps) < 0:
        raise ValueError(f"the state counts {int(steps)} steps; there cannot be fewer than 0.")


def fingerprint(network: nn.Module) -> str:
    """Return a digest of the weights, which a state belongs to."""
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):  # whole numbers are no parameters
        digest.update(name.encode())
        digest.update(_bytes_of(weight))
    return digest.hexdigest()


class KnownWeights:
    """The weights of a network at one moment, to ask later whether they are still there.

    Attributes
    ----------
    fingerprint
        Their digest.
    """

    def __init__(self, network: nn.Module) -> None:
        self.fingerprint = fingerprint(network)
        self._look_at(network)

    def are_of(self, network: nn.Module) -> bool:
        """Whether a network has them; where nobody wrote to it, that is known at once."""
        if network is self._network and self._look_the_same():
            return True
        if fingerprint(network) != self.fingerprint:
            return False
        self._look_at(network)  # moved, or written anew with the same values
        return True

    def _look_at(self, network: nn.Module) -> None:
        self._network = network
        self._places = [
            (module._parameters, name, parameter)
            for module in network.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        self._marks = self._marks_now()
        # Views of the weights, and what they show now.
        self._views = [x.detach().flatten()[:_LOOKED_AT] for _, _, x in self._places]
        self._values = torch.cat(self._views)

    def _look_the_same(self) -> bool:
        return (
            all(own.get(name) is parameter for own, name, parameter in self._places)
            and self._marks == self._marks_now()
            and torch.equal(torch.cat(self._views), self._values)
        )

    def _marks_now(self) -> list[tuple[int, int]]:
        """Where the weights lie, and how often torch says that they were written to."""
        weights = [parameter for _, _, parameter in self._places]
        return [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in weights]


_LOOKED_AT = 64
"""Values of each parameter that are compared: fused optimisers write to weights and do not count
it. A step of training changes nearly all values."""


def save_state(
    state: State,
    path: str | PathLike[str],
    *,
    network: nn.Module,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a state as safetensors, with the fingerprint of the network that it belongs to.

    A digest of all that the file says is in it: `load_state` notices every bit that has changed.

    Raises
    ------
    ValueError
        If the state is not finite.
    OSError
        If the file cannot be written; one that was there before is then as it was.
    """
    check_finite_state(state)
    write_tensors(path, dict(leaves(state)), {**(metadata or {}), "network": fingerprint(network)})


def write_tensors(
    path: str | PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write safetensors with what is said about them, and with a digest of both.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there before is then as it was.
    """
    plain = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    described = {**metadata, "sha256": _digest(plain, metadata)}
    write_whole(path, save(plain, metadata=described))


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """Return what was written beside a state.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    return read_tensors(path)[1]


def load_state(path: str | PathLike[str], network: StreamedNetwork) -> State:
    """Read a state, onto the network's device.

    Raises
    ------
    ValueError
        If the file is damaged, or if the state was saved with a network of other weights, is not
        one of this network's, or is not finite.
    """
    return load_described_state(path, network)[0]


def load_described_state(
    path: str | PathLike[str], network: StreamedNetwork
) -> tuple[State, dict[str, str]]:
    """Return what `load_state` and `read_metadata` do, of one reading."""
    tensors, metadata = read_tensors(path)
    if metadata.get("network") != fingerprint(network):
        raise ValueError(
            f"the state in {fspath(path)!r} was not saved with this network: its weights are "
            "others. Load the network it was saved with, or begin a new state with observe."
        )
    state = from_leaves({name: tensor.to(network.device) for name, tensor in tensors.items()})
    network.check_stream(state)
    check_finite_state(state)
    return state, metadata


def read_tensors(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors that `write_tensors` wrote and what was said about them, verified.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged.
    """
    return read_verified(path, "pt", digest=_digest, damaged=_damaged)


def _damaged(path: str | PathLike[str], why: str) -> ValueError:
    return ValueError(
        f"{fspath(path)!r} is damaged, or is no state that this version wrote: {why}. Nothing was "
        "loaded. Take another copy of the file, or begin a new state with observe."
    )


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return a digest of tensors, with their names, dtypes and shapes, and of what is beside."""
    return digest_of(
        ((name, str(x.dtype), x.shape, _bytes_of(x)) for name, x in tensors.items()), metadata
    )


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
