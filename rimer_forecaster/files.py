"""Files that replace others only when they are whole, and digests that tell if they still are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open

__all__ = ["digest_of", "read_verified", "write_together", "write_whole"]


def digest_of(
    tensors: Iterable[tuple[str, str, Sequence[int], bytes]], metadata: Mapping[str, str]
) -> str:
    """Return a SHA-256 of tensors and of what is written beside them.

    Parameters
    ----------
    tensors
        Name, dtype as torch writes it, shape and bytes of each.
    metadata
        What is beside them.
    """
    ordered = sorted(tensors)
    sizes = {name: [dtype, list(shape)] for name, dtype, shape, _ in ordered}
    digest = hashlib.sha256(json.dumps([dict(metadata), sizes], sort_keys=True).encode())
    for *_, content in ordered:
        digest.update(content)
    return digest.hexdigest()


def read_verified(
    path: str | PathLike[str],
    framework: str,
    *,
    digest: Callable[[dict[str, Any], dict[str, str]], str],
    damaged: Callable[[str | PathLike[str], str], ValueError],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the tensors of a file of safetensors and what is beside them, if its digest holds.

    Parameters
    ----------
    path
        Of the file.
    framework
        Whose tensors they are to be, as safetensors calls it.
    digest
        Gives the digest of tensors and of what is beside them.
    damaged
        Gives the error for a file, by what is wrong with it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged.
    """
    try:
        with safe_open(path, framework=framework) as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    written = metadata.pop("sha256", None)
    if written is None:
        raise damaged(path, "there is no SHA-256 of its content in it")
    if written != (found := digest(tensors, metadata)):
        raise damaged(path, f"the SHA-256 of its content is {found}, not {written}")
    return tensors, metadata


def write_whole(path: str | PathLike[str], content: bytes) -> None:
    """Write a file under another name, and give it its own when all of it is there.

    Raises
    ------
    OSError
        If it cannot be written, with the path; what was there before is then as it was.
    """
    write_together({path: content})


def write_together(contents: Mapping[str | PathLike[str], bytes]) -> None:
    """Write files as `write_whole` does: none takes its name before all of them are there."""
    beside = {Path(path): Path(path).with_name(f".{uuid4().hex}") for path in contents}
    path = Path()
    try:
        for path, content in zip(beside, contents.values(), strict=True):
            beside[path].write_bytes(content)
        for path, written in beside.items():
            os.replace(written, path)
    except OSError as error:
        why = f"{error.strerror}; nothing was written, and a file that was there is as it was"
        raise OSError(error.errno, why, fspath(path)) from error
    finally:
        for written in beside.values():
            written.unlink(missing_ok=True)
