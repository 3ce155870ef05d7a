"""The page that examples/figures/protocol_page.py makes of results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")


def test_the_page_marks_the_lowest_error_of_each_task(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    page = example("protocol_page")
    for task, better in (("a-1-1", "rwkv7"), ("b-1-1", "rlinear")):
        rows = [
            {"model": name, "MSE": 0.1 if name == better else 0.2, "MAE": 0.3, "task": task}
            for name in ("rwkv7", "rlinear", "last value")
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"protocol-{task}.csv", index=False)
    table = page.read(tmp_path)
    _, _, first, second = page.to_markdown(table, ("MSE", "MAE")).splitlines()
    low, high = "**0.100** / **0.300**", "0.200 / **0.300**"
    link = "| [{0}](data/protocol-{0}.csv) |"
    assert first == f"{link.format('a-1-1')} {high} | {low} | {high} |"
    assert second == f"{link.format('b-1-1')} {low} | {high} | {high} |"
    (axis,) = page.plot(table).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a-1-1", "b-1-1"]
