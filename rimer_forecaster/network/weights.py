"""The weights of a network as safetensors, and beside them in JSON what they belong to."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..files import write_together
from ..version import __version__
from .network import RimerNetwork
from .state import fingerprint

__all__ = [
    "check_holds",
    "load_described_network",
    "load_network",
    "read_description",
    "save_weights",
]


def save_weights(
    network: RimerNetwork, path: str | PathLike[str], description: dict[str, Any] | None = None
) -> None:
    """Write the weights to ``path`` and what they belong to beside it, in a file of suffix .json.

    Parameters
    ----------
    network
        The network.
    path
        Must end with ``.safetensors``.
    description
        What a caller wants to find there again, as plain values.

    Raises
    ------
    ValueError
        If the path ends otherwise.
    OSError
        If one of the files cannot be written; those that were there before are then as they were.
    """
    description = {
        "package": "rimer_forecaster",
        "version": __version__,
        "dtype": _name(network.dtype),
        "fingerprint": fingerprint(network),
        "arguments": network.config.to_json(),
        **(description or {}),
    }
    beside = _beside(path)
    tensors = {name: x.detach().cpu().contiguous() for name, x in network.state_dict().items()}
    # Twice, and with a digest, so that no bit of either file changes unnoticed.
    weights = save(tensors, metadata={"description": json.dumps(description, indent=2)})
    text = json.dumps({**description, "sha256": _digest(weights)}, indent=2)
    write_together({path: weights, beside: f"{text}\n".encode()})


def read_description(path: str | PathLike[str]) -> dict[str, Any]:
    """Return what was written beside the weights in ``path``.

    Raises
    ------
    FileNotFoundError
        If one of the two files is missing.
    ValueError
        If one is damaged, or they were not written together.
    """
    beside = _beside(path)
    for file in (Path(path), beside):
        if not file.exists():
            raise FileNotFoundError(
                f"{str(file)!r} does not exist. Weights are two files, and {str(path)!r} and "
                f"{str(beside)!r} belong together."
            )
    try:
        description = json.loads(beside.read_text(encoding="utf-8"))
        digest = description.pop("sha256")
        with safe_open(path, framework="pt") as file:
            inner = json.loads((file.metadata() or {})["description"])
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    check_holds(path, inner, "arguments", "dtype", "fingerprint")
    if inner != description:
        raise _damaged(path, f"it does not say the same as {str(beside)!r}")
    if digest != (found := _digest(Path(path).read_bytes())):
        raise _damaged(path, f"its SHA-256 is {found}, not {digest}")
    return {**inner, "sha256": digest}


def check_holds(path: str | PathLike[str], description: dict[str, Any], *keys: str) -> None:
    """Raise a ValueError that names the first key which what was written beside weights lacks."""
    for key in keys:
        if key not in description:
            raise _damaged(path, f"it holds no {key!r}")


def load_network(path: str | PathLike[str]) -> RimerNetwork:
    """Return the network that `save_weights` wrote, on the CPU and ready to forecast.

    Raises
    ------
    FileNotFoundError
        If one of the two files is missing.
    ValueError
        If one is damaged, they were not written together, or the arguments are not those of this
        version's `RimerNetwork`.
    """
    return load_described_network(path)[0]


def load_described_network(path: str | PathLike[str]) -> tuple[RimerNetwork, dict[str, Any]]:
    """Return what `load_network` and `read_description` do, of one reading of the files."""
    description = read_description(path)
    try:
        with torch.device("cpu"):  # a generator of its own: the process's is left alone
            network = RimerNetwork(**description["arguments"], generator=torch.Generator())
        network.to(getattr(torch, description["dtype"]))
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network.load_state_dict(tensors)
    except (AttributeError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{str(path)!r} was written by rimer_forecaster {description.get('version')}, and "
            f"version {__version__} cannot build its network: {error}"
        ) from error
    if fingerprint(network) != description["fingerprint"]:
        raise _damaged(path, "the weights are not those whose fingerprint it holds")
    return network.eval(), description


def _beside(path: str | PathLike[str]) -> Path:
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} must end with .safetensors.")
    return Path(path).with_suffix(".json")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _damaged(path: str | PathLike[str], why: str) -> ValueError:
    return ValueError(
        f"the weights in {str(path)!r} are damaged, or were changed: {why}. Nothing was loaded. "
        "Take another copy of the file and of the .json beside it, or save the model again."
    )
