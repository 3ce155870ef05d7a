"""What continuous integration runs is what the pages say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / ".ci/run"
TEST_COMMAND = 'python -m pip install -e ".[test]" && python -m pytest -n 2 --dist worksteal'


def steps() -> list[str]:
    found = re.search(r"^all_steps=\((.*)\)$", RUN.read_text(encoding="utf-8"), re.M)
    assert found is not None
    return found[1].split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script needs bash")
def test_an_unknown_step_is_refused_with_the_list_before_anything_runs() -> None:
    done = subprocess.run(
        ["bash", str(RUN), "lint", "typos"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"there is no step 'typos': there are {' '.join(steps())}." in done.stderr


def test_every_step_is_a_function_and_is_documented() -> None:
    script = RUN.read_text(encoding="utf-8")
    page = (ROOT / "docs/develop/contributing.md").read_text(encoding="utf-8")
    assert len(steps()) == 6
    for step in steps():
        assert f"\n{step}() {{\n" in script
        assert f"`{step}`" in page
    assert " ".join(f"[{step}]" for step in steps()) in script


def test_the_test_command_is_the_same_everywhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if "python -m pytest" in line] == [TEST_COMMAND]
    assert TEST_COMMAND in (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    page = (ROOT / "docs/develop/contributing.md").read_text(encoding="utf-8")
    assert TEST_COMMAND.partition(" && ")[2] in page
