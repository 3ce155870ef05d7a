"""All results of standard_protocol.py in one table and one plot.

    python examples/protocol_page.py FOLDER [--output FOLDER]

FOLDER holds protocol-NAME.csv of every task. Writes protocol.md, errors of each task and model with
the lowest in bold, and protocol.png: each model's mean absolute error in units of that of the
linear skip alone (rlinear), so that what lies to the right of 1 does worse than a linear map.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

MARKS = {
    "rwkv7": ("o", "#D55E00"),
    "rwkv7, streaming=True": ("p", "#D55E00"),
    "gru": ("s", "#0072B2"),
    "attention": ("^", "#009E73"),
    "blockrnn-gru": ("D", "#56B4E9"),
    "transformer": ("P", "#000000"),
    "dlinear": ("<", "#CC79A7"),
    "nlinear": (">", "#E69F00"),
    "seasonal naive": ("x", "0.45"),
    "last value": ("+", "0.45"),
}
"""Mark and colour of each model; the mark alone is enough to tell them."""


def read(folder: Path) -> pd.DataFrame:
    """Return a row a task and model."""
    tables = [pd.read_csv(path) for path in sorted(folder.glob("protocol-*.csv"))]
    return pd.concat(tables, ignore_index=True)


def to_markdown(table: pd.DataFrame) -> str:
    """Return MSE / MAE, a row a task and a column a model; the lowest of each in bold."""
    models = [name for name in ("rlinear", *MARKS) if name in set(table["model"])]
    lines = ["| task | " + " | ".join(models) + " |", "| --- |" + " ---: |" * len(models)]
    for task, rows in table.groupby("task"):
        own = rows.set_index("model")
        cells = []
        for name in models:
            parts = []
            for error in ("MSE", "MAE"):
                if name not in own.index:
                    continue
                value = own.loc[name, error]
                shown = f"{value:.3f}" if value < 10 else f"{value:.4g}"
                parts.append(f"**{shown}**" if value == own[error].min() else shown)
            cells.append(" / ".join(parts))
        lines.append(f"| [{task}](benchmarks/protocol-{task}.csv) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(table: pd.DataFrame) -> Figure:
    """Draw mean absolute errors over that of rlinear."""
    tasks = sorted(set(table["task"]))
    figure, axis = plt.subplots(figsize=(9, 0.6 * len(tasks) + 1.6), layout="constrained")
    for number, (name, (mark, colour)) in enumerate(MARKS.items()):
        place, ratios = [], []
        for row, task in enumerate(tasks):
            own = table[table["task"] == task].set_index("model")
            if name in own.index:
                place.append(row + 0.08 * (number - len(MARKS) / 2))  # none hides another
                ratios.append(own.loc[name, "MAE"] / own.loc["rlinear", "MAE"])
        if not place:
            continue
        is_line = mark in "x+"
        style = {"color": colour} if is_line or name == "rwkv7" else {"ec": colour, "fc": "none"}
        axis.scatter(ratios, place, s=46, marker=mark, label=name, zorder=3, **style)
    axis.axvline(1, color="0.3", lw=1)
    axis.set_xscale("log")
    ticks = (0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(tasks)), tasks)
    axis.set_ylim(len(tasks) - 0.4, -0.6)
    axis.hlines(np.arange(1, len(tasks)) - 0.5, *axis.get_xlim(), color="0.85", lw=0.8)
    axis.grid(axis="x", color="0.9")
    axis.set_xlabel(
        "mean absolute error on the test part, in units of the linear skip's (less is better)"
    )
    axis.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure


def main() -> None:
    """Write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="of protocol-NAME.csv")
    parser.add_argument("--output", type=Path, default=Path())
    arguments = parser.parse_args()
    table = read(arguments.folder)
    (arguments.output / "protocol.md").write_text(to_markdown(table), encoding="utf-8")
    plot(table).savefig(arguments.output / "protocol.png", dpi=120)


if __name__ == "__main__":
    main()
