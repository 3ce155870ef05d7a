"""examples/figures/which_model.py: what it compares, and the page that holds its tables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")

DOCS = Path(__file__).parents[3] / "docs/results"
TABLES = sorted((DOCS / "data").glob("which-model-*.csv"))


def test_a_quick_run_writes_a_row_per_model(
    example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--quick", "--kinds", "short", "--models", "zero", "nlinear", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["which_model.py", *options, "--output", str(tmp_path)])
    module = example("which_model")
    module.main()
    table = pd.read_csv(tmp_path / "which-model-short.csv", index_col="model")
    rows = ["zero", "nlinear", "rlinear", "seasonal naive", "last value"]
    assert list(table.index) == rows
    assert table["seeds"].tolist() == [1, 2, 2, 1, 1]
    assert table.loc["seasonal naive", "relative MASE"] == 1
    naive = table.loc["seasonal naive", "MASE"]
    np.testing.assert_allclose(table["relative MASE"], table["MASE"] / naive, rtol=1e-4)
    assert (table["forecasts"] == 3).all()
    assert table.loc["zero", "bytes"] > 1e6
    assert table.loc["nlinear", ["fit, s", "peak memory, MiB"]].notna().all()


def test_what_is_trained_gets_the_steps_that_are_asked_for(
    example: Callable[[str], ModuleType],
) -> None:
    module = example("which_model")
    for given in (*module.sines("short"), *module.sines("long")):
        settings = module.settings_of(given, 300)
        rule = module.Rule.of(given, settings["batch_size"], settings["train_stride"])
        assert 300 <= settings["epochs"] * rule.steps < 300 + rule.steps
        assert rule.steps <= 60


def rows(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Errors of models on sets "a" and "b"."""
    return pd.DataFrame(
        {"model": model, "set": name, "MASE": error, "relative MASE": error, "relative WQL": error}
        | {"80 % covers": 0.8, "fit, s": 1.0, "predict, s": 0.5, "one forecast, ms": 2.0}
        | {"update, ms": np.nan, "peak memory, MiB": 3.0, "bytes": 2048.0, "seeds": 3}
        for model, own in errors.items()
        for name, error in zip("ab", own, strict=False)
    )


def test_the_lowest_error_is_marked_and_a_model_without_all_sets_has_no_mean(
    example: Callable[[str], ModuleType],
) -> None:
    page = example("which_model_page")
    table = rows({"zero": [0.5, 2.0], "tft": [0.25], "seasonal naive": [1.0, 1.0]})
    _, _, first, second, third = page.to_markdown(table, "panels").splitlines()
    assert first.startswith("| `zero` | 0.500 | 2.000 | **1.000** | **1.000** | 80% | 2.0 |")
    assert second.startswith("| `seasonal naive` | 1.000 | **1.000** | **1.000** |")
    assert third.startswith("| `tft` | **0.250** |  |  |  |  | 1.0 | 0.5 | 3 | 2 | 3 |")
    fields = page.plot({"panels": table}).axes
    assert [text.get_text() for text in fields[0].texts] == ["zero"]


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_the_page_holds_the_committed_table(
    example: Callable[[str], ModuleType], table: Path
) -> None:
    page = example("which_model_page")
    ((kind, rows),) = page.read([table]).items()
    assert page.to_markdown(rows, kind) in (DOCS / "which-model.md").read_text(encoding="utf-8")


def test_tables_are_of_kinds_that_the_script_knows(example: Callable[[str], ModuleType]) -> None:
    kinds = {path.stem.removeprefix("which-model-") for path in TABLES}
    assert "short" in kinds
    assert kinds <= set(example("which_model").KINDS)
