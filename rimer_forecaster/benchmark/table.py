"""Results of runs as tables: one row per model and seed, one per model, and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from .runs import Run

__all__ = ["markdown_of", "tables"]

_HIDDEN = ("failed", "mape_remark", "reads_covariates", "by_step", "shown")

_OF_STREAMS = ("state, bytes", "update, ms")
"""Columns of models that a stream can carry on."""

_WHOLE = ("parameters", "weights, bytes", "seeds", "state, bytes")


def tables(
    runs: Sequence[Run], results: Sequence[dict[str, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a row per model and seed, and a row per model: the means over seeds."""
    rows = pd.DataFrame(
        [
            {"model": run.label, "seed": run.seed}
            | {name: value for name, value in result.items() if name not in _HIDDEN}
            for run, result in zip(runs, results, strict=True)
        ]
    )
    grouped = rows.groupby("model", sort=False)
    table = grouped.mean().drop(columns="seed")
    for name in ("MSE", "MAE"):
        table.insert(list(table).index(name) + 1, f"{name} std", grouped[name].std())
    table = table.dropna(axis=1, how="all")
    for name in ("parameters", "weights, bytes"):
        table[name] = table[name].round().astype("Int64")  # NA where all failed
    table["seeds"] = grouped["MSE"].count()
    return rows, table


def markdown_of(table: pd.DataFrame) -> str:
    """Return a row per model as text; seconds of the processor are left to the files."""
    columns = [name for name in map(str, table) if "CPU" not in name]
    lines = ["| model | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for name, row in table.iterrows():
        lines.append(f"| {name} | " + " | ".join(_shown(c, row[c]) for c in columns) + " |")
    return "\n".join(lines)


def _shown(column: str, value: float) -> str:
    if pd.isna(value):
        return "-" if column in _OF_STREAMS else ""
    if column in _WHOLE:
        return f"{value:,.0f}"
    coarse = column.startswith(("fit", "predict", "peak", "update"))
    return f"{value:.3g}" if coarse else f"{value:.4f}"
