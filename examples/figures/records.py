"""Tables as the scripts of figures/ and paper/ write them: with command, machine and versions."""

from __future__ import annotations

import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from rimer_forecaster.benchmark import versions


def write_table(table: pd.DataFrame, path: Path, **options: Any) -> None:
    """Write a table as CSV; in its last columns the machine, the versions and the command."""
    table = table.assign(machine=versions(), command=command())
    table.to_csv(path, **{"index": False, "float_format": "%.5g"} | options)


def command() -> str:
    """Return the command line of this process, without folders of this machine."""
    script = "/".join(Path(sys.argv[0]).resolve().parts[-3:])  # from the root of the repository
    folders = ("--data", "--output")
    words = ["FOLDER" if before in folders else word for before, word in pairwise(sys.argv)]
    words = [re.sub(rf"^({'|'.join(folders)})=.*", r"\1=FOLDER", word) for word in words]
    return shlex.join(["python", script, *words])
