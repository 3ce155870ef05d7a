"""All results of standard_protocol.py in one table and one plot.

    python examples/figures/protocol_page.py FOLDER [--output FOLDER]

FOLDER holds protocol-NAME.csv of every task. Writes protocol.md, errors of each task and model on
the test part and mean absolute errors on the validation part, with the lowest in bold; and
protocol.png: each model's mean absolute error in units of that of the linear skip alone (rlinear).
What lies to the right of 1 does worse than a linear map.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

MARKS = {
    "rwkv7": ("o", "#D55E00"),
    "gru": ("s", "#0072B2"),
    "attention": ("^", "#009E73"),
    "dlinear": ("<", "#CC79A7"),
    "nlinear": (">", "#E69F00"),
    "seasonal naive": ("x", "0.45"),
    "last value": ("+", "0.45"),
}
"""Mark and colour of each model; the mark alone is enough to tell them."""


def read(folder: Path) -> pd.DataFrame:
    """Return one row per task and model."""
    tables = [pd.read_csv(path) for path in sorted(folder.glob("protocol-*.csv"))]
    return pd.concat(tables, ignore_index=True)


def to_markdown(table: pd.DataFrame, errors: tuple[str, ...]) -> str:
    """Return some errors, one row per task and one column per model; the lowest in bold."""
    table = table.dropna(subset=errors)
    models = [name for name in ("rlinear", *MARKS) if name in set(table["model"])]
    lines = ["| task | " + " | ".join(models) + " |", "| --- |" + " ---: |" * len(models)]
    for task, rows in table.groupby("task"):
        models_of_task = rows.set_index("model")
        cells = [
            " / ".join(_shown(models_of_task[error], name) for error in errors)
            if name in models_of_task.index
            else ""
            for name in models
        ]
        lines.append(f"| [{task}](data/protocol-{task}.csv) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(errors: pd.Series, name: str) -> str:
    value = errors[name]
    shown = f"{value:.3f}" if value < 10 else f"{value:.4g}"
    return f"**{shown}**" if value == errors.min() else shown


def plot(table: pd.DataFrame) -> Figure:
    """Draw mean absolute errors over that of rlinear."""
    tasks = sorted(set(table["task"]))
    figure, axis = plt.subplots(figsize=(9, 0.75 * len(tasks) + 1.8), layout="constrained")
    for number, (name, (mark, colour)) in enumerate(MARKS.items()):
        place, ratios = [], []
        for row, task in enumerate(tasks):
            errors = table[table["task"] == task].set_index("model")["MAE"]
            if name in errors.index:
                place.append(row + 0.08 * (number - len(MARKS) / 2))  # none hides another
                ratios.append(errors[name] / errors["rlinear"])
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
    for row in range(1, len(tasks)):
        axis.axhline(row - 0.5, color="0.85", lw=0.8)
    axis.grid(axis="x", color="0.9")
    axis.set_xlabel(
        "mean absolute error on the test part, in units of the linear skip's (less is better)"
    )
    figure.legend(ncols=4, loc="outside upper center", frameon=False)
    return figure


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("folder", type=Path, help="of protocol-NAME.csv")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Write the table and the plot."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = read(arguments.folder)
    tables = [to_markdown(table, errors) for errors in (("MSE", "MAE"), ("validation loss",))]
    (arguments.output / "protocol.md").write_text("\n".join(tables), encoding="utf-8")
    plot(table).savefig(arguments.output / "protocol.png", dpi=120)


if __name__ == "__main__":
    main()
