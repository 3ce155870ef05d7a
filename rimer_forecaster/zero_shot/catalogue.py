"""Weights that come with the package: by name, once per process, and only if they are intact."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from importlib.resources import as_file, files
from os import PathLike, fspath
from threading import Lock
from typing import Any

from torch import Tensor

from ..network import RimerNetwork, load_network
from ..network.transfer import network_like
from ..network.weights import load_described_network

__all__ = ["describe", "names", "zero_shot_network"]

_LATEST = {"rimer-zero": "rimer-zero-1"}
"""What a name without a version stands for."""

_FOLDER = files(__package__) / "weights"
_LOADING = Lock()


def names() -> list[str]:
    """Return the names of the weights in the package."""
    own = (x.name.partition(".safetensors") for x in _FOLDER.iterdir())
    return sorted(name for name, kind, _ in own if kind)


def zero_shot_network(name: str | PathLike[str] = "rimer-zero") -> RimerNetwork:
    """Return the network of weights of the package, in single precision on the CPU.

    All callers of a process get the same object, which is frozen: who trains on takes
    `rimer_forecaster.network.transfer.trainable_copy`. Other copies are this object too, and a
    pickle holds its name and no weights. A path, which ends with .safetensors, gives the network of
    a file.

    Raises
    ------
    ValueError
        If there are no weights of this name, or the file is not the one that was published.
    """
    if fspath(name).endswith(".safetensors"):
        return load_network(name).float().requires_grad_(False)
    return _load(_resolved(fspath(name)))[0]


def describe(name: str = "rimer-zero") -> dict[str, Any]:
    """Return what is known of weights of the package: how they were made, and of what."""
    return deepcopy(_load(_resolved(name))[1])


class _Packaged(RimerNetwork):
    """A network that stands for its name: there is one of it per process."""

    name: str

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RimerNetwork:
        """Refuse to be moved or cast, once it has its name."""
        if hasattr(self, "name"):
            own = self.skip.offset
            if ((found := fn(own)).dtype, found.device) == (own.dtype, own.device):
                return self
            raise RuntimeError(
                f"the weights {self.name!r} are shared by all models of this process, and stay as "
                "they are. Move or cast a copy: trainable_copy of rimer_forecaster.network."
                "transfer makes one."
            )
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def __reduce__(self) -> tuple[Callable[[str], RimerNetwork], tuple[str]]:
        return zero_shot_network, (self.name,)  # copies are made by this too


def _resolved(name: str) -> str:
    found = _LATEST.get(name, name)
    if found not in names():
        known = ", ".join(map(repr, [*_LATEST, *names()]))
        raise ValueError(
            f"there are no weights {name!r} in this version of the package: there are {known}. A "
            "file is given by its path, which ends with .safetensors."
        )
    return found


def _load(name: str) -> tuple[RimerNetwork, dict[str, Any]]:
    with _LOADING:  # threads that begin at once get the same object too
        return _read(name)


@lru_cache(maxsize=4)
def _read(name: str) -> tuple[RimerNetwork, dict[str, Any]]:
    with as_file(_FOLDER) as folder:
        path = folder / f"{name}.safetensors"
        network, known = load_described_network(path)
    network = network.float()
    own = network_like(_Packaged, network)
    own.load_state_dict(network.state_dict())
    own.name = name
    return own.eval().requires_grad_(False), known
