"""Files that torch.save wrote, verified before anything is read from them.

Such a file is a zip archive with a CRC-32 of every record, which torch writes and does not check:
a flipped bit loads, and gives another forecast.
"""

from __future__ import annotations

import zipfile
from os import PathLike, fspath

__all__ = ["check_saved_file"]

_END = b"PK\x05\x06"
_END_SIZE = 22
"""Of the zip record that ends the file, which torch writes without a comment."""


def check_saved_file(path: str | PathLike[str]) -> None:
    """Raise a ValueError unless the file is a whole archive whose checksums agree.

    This notices accidents, not intent: who changes a file on purpose can change its checksums.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
                for record in archive.infolist():
                    if not _is_plain(record):
                        damaged = record.filename
            file.seek(-_END_SIZE, 2)
            if file.read(len(_END)) != _END:
                damaged = "it does not end where its archive does"
        except Exception as error:  # whatever zipfile and zlib make of it
            damaged = f"{type(error).__name__}: {error}"
    if damaged is not None:
        raise ValueError(
            f"the file {fspath(path)!r} is damaged ({damaged}); nothing was loaded. Take another "
            "copy of it, or save or fit the model again. If it is a checkpoint, an older one may "
            "lie beside it: remove this one to have that loaded, or name it as file_name."
        )


def _is_plain(record: zipfile.ZipInfo) -> bool:
    """Whether torch and zipfile agree on what the record holds.

    torch leaves memory as it was for a record that is marked as a directory, and takes sizes
    on trust; it compresses and marks none.
    """
    sizes_agree = record.compress_size == record.file_size
    return record.compress_type == zipfile.ZIP_STORED and sizes_agree and not record.external_attr
