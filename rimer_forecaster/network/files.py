"""Files that take the place of others only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from uuid import uuid4

__all__ = ["write_together", "write_whole"]


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
