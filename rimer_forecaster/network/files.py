"""Files that take the place of others only when they are whole."""

from __future__ import annotations

import os
from os import PathLike, fspath
from pathlib import Path
from uuid import uuid4

__all__ = ["write_whole"]


def write_whole(path: str | PathLike[str], content: bytes) -> None:
    """Write a file under another name, and give it its own when all of it is there.

    Raises
    ------
    OSError
        If it cannot be written, with the path; what was there before is then as it was.
    """
    place = Path(path)
    beside = place.with_name(f".{place.name}.{uuid4().hex}")
    try:
        beside.write_bytes(content)
        os.replace(beside, place)
    except OSError as error:
        why = f"{error.strerror}; nothing was written, and a file that was there is as it was"
        raise OSError(error.errno, why, fspath(path)) from error
    finally:
        beside.unlink(missing_ok=True)
