"""What examples/figures/records.py adds to a table."""

from __future__ import annotations

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
    monkeypatch.setattr("sys.argv", [*words, f"--output={tmp_path}", "--layers", "rwkv7*2"])
    example("records").write_table(pd.DataFrame({"MASE": [1 / 3, 0.5]}), tmp_path / "table.csv")
    found = pd.read_csv(tmp_path / "table.csv")
    assert list(found) == ["MASE", "machine", "command"]
    assert found["MASE"].tolist() == [0.33333, 0.5]
    assert all("torch" in machine and "Python" in machine for machine in found["machine"])
    options = "--data FOLDER --seeds 3 --output=FOLDER --layers 'rwkv7*2'"
    assert set(found["command"]) == {f"python examples/figures/panel.py {options}"}
