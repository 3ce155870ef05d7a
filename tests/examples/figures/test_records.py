"""What examples/figures/records.py adds to a table."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")


def test_a_table_says_how_it_was_made_without_folders_of_the_machine(
    example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["/home/me/examples/figures/panel.py", "--data", "/home/me/data", "--seeds", "3"]
    words += ["--packages", "/home/me/packages"]
    monkeypatch.setattr("sys.argv", [*words, f"--output={tmp_path}", "--layers", "rwkv7*2"])
    records = example("records")
    monkeypatch.setattr(records, "commit", lambda: "1a2b3c4+")
    path = tmp_path / "a new one" / "table.csv"
    records.write_table(pd.DataFrame({"MASE": [1 / 3, 0.5]}), path)
    found = pd.read_csv(path)
    assert list(found) == ["MASE", "commit", "machine", "command"]
    assert found["MASE"].tolist() == [0.33333, 0.5]
    assert set(found["commit"]) == {"1a2b3c4+"}
    assert all("torch" in machine and "Python" in machine for machine in found["machine"])
    options = "--data FOLDER --seeds 3 --packages FOLDER --output=FOLDER --layers 'rwkv7*2'"
    assert set(found["command"]) == {f"python examples/figures/panel.py {options}"}


def git(folder: Path, *words: str) -> str:
    """Run git as a committer of its own."""
    person = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", str(folder), *person, *words], capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_is_that_of_the_checkout_and_says_whether_files_differ(
    example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = example("records")
    file = tmp_path / "examples" / "figures" / "records.py"
    file.parent.mkdir(parents=True)
    file.write_text("1")
    monkeypatch.setattr(records, "__file__", str(file))
    assert records.commit() == ""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert records.commit() == head
    file.write_text("2")
    assert records.commit() == f"{head}+"
