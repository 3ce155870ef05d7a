"""Commands that committed tables name can be run: scripts exist and know their options."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def commands_of_tables() -> list[str]:
    found = set()
    for table in (ROOT / "docs").rglob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            found |= {row["command"] for row in csv.DictReader(file) if "command" in row}
    return sorted(found)


@pytest.mark.parametrize("command", commands_of_tables())
def test_a_command_of_a_committed_table_can_be_run(
    example: Callable[[str], ModuleType], command: str
) -> None:
    for extra in ("darts", "sktime"):
        pytest.importorskip(extra, reason=f"the scripts need the extra {extra!r}")
    python, script, *options = shlex.split(command)
    assert python == "python"
    assert (ROOT / script).is_file()
    module = example(Path(script).stem)
    assert Path(module.__file__ or "") == ROOT / script
    module.parser().parse_args(options)  # ends the process at an option that it does not know


def test_there_are_commands_in_tables() -> None:
    assert len(commands_of_tables()) > 50
