"""Tables as the scripts of figures/ and paper/ write them: they say how they were made."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from rimer_forecaster.benchmark import versions


def write_table(table: pd.DataFrame, path: Path, **options: Any) -> None:
    """Write a table as CSV into a folder that need not be there yet.

    Its last columns are commit, machine with versions, and command.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table.assign(commit=commit(), machine=versions(), command=command())
    table.to_csv(path, **{"index": False, "float_format": "%.5g"} | options)


def commit() -> str:
    """Return the commit of this checkout, with "+" if files differ from it; "" without git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    words = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def command() -> str:
    """Return the command line of this process, without folders of this machine."""
    script = "/".join(Path(sys.argv[0]).resolve().parts[-3:])  # from the root of the repository
    folders = ("--data", "--output", "--packages")
    words = ["FOLDER" if before in folders else word for before, word in pairwise(sys.argv)]
    words = [re.sub(rf"^({'|'.join(folders)})=.*", r"\1=FOLDER", word) for word in words]
    return shlex.join(["python", script, *words])
