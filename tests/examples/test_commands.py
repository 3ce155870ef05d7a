"""Commands that tables and pages name can be run: the scripts exist and know their options."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
SOURCES = [
    path
    for folder in ("rimer_forecaster", "kernels", "examples", "tests")
    for path in (ROOT / folder).rglob("*.py")
]


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


def test_scripts_that_a_page_or_a_docstring_names_exist() -> None:
    absent = {
        (path.relative_to(ROOT).as_posix(), script)
        for path in (*PAGES, *SOURCES)
        for script in re.findall(r"(?<!tests/)\bexamples/[\w/]+\.py", path.read_text("utf-8"))
        if not (ROOT / script).is_file()
    }
    assert absent == set()
