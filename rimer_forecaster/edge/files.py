"""Arrays in safetensors with a digest, as networks and states are stored for a device."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, TypeAlias

from numpy.typing import NDArray
from safetensors.numpy import save

from ..files import digest_of, read_verified, write_whole

__all__ = ["Arrays", "damaged", "read_arrays", "write_arrays"]

Arrays: TypeAlias = dict[str, NDArray[Any]]
"""Arrays by name."""


def write_arrays(path: str | PathLike[str], arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Write arrays, what belongs to them, and a digest of both.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there before is then as it was.
    """
    described = {**metadata, "sha256": _digest(arrays, metadata)}
    write_whole(path, save({name: x.copy(order="C") for name, x in arrays.items()}, described))


def read_arrays(path: str | PathLike[str]) -> tuple[Arrays, dict[str, str]]:
    """Return the arrays of a file and what is beside them, verified.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged.
    """
    return read_verified(path, "np", digest=_digest, damaged=damaged)


def damaged(path: str | PathLike[str], why: str) -> ValueError:
    """Return the error for a file that is not what was written."""
    return ValueError(
        f"{fspath(path)!r} is damaged, or is no file of this version: {why}. Nothing was loaded. "
        "Take another copy of the file, or write it again."
    )


def _digest(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    """Return the digest that torch's tensors of the same values have."""
    return digest_of(
        ((name, f"torch.{x.dtype}", x.shape, x.tobytes()) for name, x in arrays.items()), metadata
    )
