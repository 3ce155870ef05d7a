"""Tables and plot of docs/results/which-model.md, from what which_model.py wrote.

    python examples/figures/which_model_page.py PAGE CSV [CSV ...]

Writes what stands between the marks of PAGE anew, one table per kind of data with the lowest errors
in bold; and beside PAGE a plot, errors over seconds of the processor. Models that were not run on
all sets of a kind have no mean over them, and are not in the plot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from zero_shot_page import filled

OURS = ("zero", "rwkv7", "rlinear")
STATISTICAL = ("autoets", "autotheta", "autoarima", "nlinear")
TITLES = {
    "short": "short series",
    "panels": "panels",
    "long": "long series",
    "prices": "prices with covariates",
    "live": "a live feed",
}
KIBI, LEAST = 1024, 1e-2


def read(paths: list[Path]) -> dict[str, pd.DataFrame]:
    """Return the rows of each kind, those of TITLES in that order."""
    found = {path.stem.removeprefix("which-model-"): pd.read_csv(path) for path in paths}
    return {kind: found[kind] for kind in (*TITLES, *found) if kind in found}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model, the lowest mean error first."""
    sets = list(dict.fromkeys(rows["set"]))
    by_model = rows.groupby("model", sort=False)
    whole = by_model["set"].count() == len(sets)
    table = rows.pivot(index="model", columns="set", values="MASE")[sets]
    for name in ("relative MASE", "relative WQL"):
        table[name] = np.exp(np.log(rows[name]).groupby(rows["model"]).mean()).where(whole)
    table["80 % covers"] = by_model["80 % covers"].mean().where(whole)
    for name in ("fit, s", "predict, s"):
        table[name] = by_model[name].sum()
    for name in ("one forecast, ms", "update, ms", "peak memory, MiB", "bytes"):
        table[name] = by_model[name].max()
    table["seeds"] = by_model["seeds"].min()
    return table.sort_values(["relative MASE", *sets], na_position="last")


def to_markdown(rows: pd.DataFrame, kind: str) -> str:
    """Return one table; MASE on each set, and the geometric means over those of seasonal naive."""
    table, sets = summary(rows), list(dict.fromkeys(rows["set"]))
    shown = {name: f"{name}, MASE" for name in sets}
    if len(sets) > 1:
        shown |= {"relative MASE": "MASE over naive"}
    shown |= {"relative WQL": "WQL over naive", "80 % covers": "80 % covers", "fit, s": "fit, s"}
    if kind == "live":
        shown |= {"update, ms": "update, ms", "one forecast, ms": "one forecast, ms"}
    else:
        shown |= {"predict, s": "predict, s"}
    shown |= {"peak memory, MiB": "peak, MiB", "bytes": "KiB", "seeds": "seeds"}
    lines = ["| model | " + " | ".join(shown.values()) + " |"]
    lines += ["| --- |" + " ---: |" * len(shown)]
    for name, row in table.iterrows():
        cells = [_cell(table[column], row[column], column, sets) for column in shown]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(column: pd.Series, value: float, name: str, sets: list[str]) -> str:
    if pd.isna(value):
        return ""
    if name in sets or name.startswith("relative"):
        text = f"{value:.3f}" if value < 10 else f"{value:.1f}"
        return f"**{text}**" if value == column.min() else text
    if name == "80 % covers":
        return f"{value:.0%}"
    if name == "bytes":
        return f"{value / KIBI:,.0f}" if value else "0"
    if name in ("seeds", "peak memory, MiB"):
        return f"{value:.0f}"
    return "0" if value < LEAST else f"{value:.2g}" if value < 1 else f"{value:,.1f}"


def plot(kinds: dict[str, pd.DataFrame]) -> Figure:
    """Draw the error of each model over seconds of training and forecasts, a field per kind."""
    count, columns = len(kinds), min(2, len(kinds))
    lines = -(-count // columns)
    size = (1 + 5.5 * columns, 0.6 + 3.6 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    for axis, (kind, rows) in zip(axes.flat, kinds.items(), strict=False):
        table = summary(rows).dropna(subset="relative MASE").drop(index="seasonal naive")
        table = table[table["relative MASE"] < 2]
        seconds = (table["fit, s"] + table["predict, s"]).clip(lower=LEAST)
        for name, row in table.iterrows():
            ours, old = str(name).startswith(OURS), name in (*STATISTICAL, "last value")
            mark, colour = ("o", "#D55E00") if ours else ("s", "#0072B2") if old else ("^", "black")
            at = seconds[name], row["relative MASE"]
            axis.scatter(*at, marker=mark, color=colour, s=34, zorder=3)
            side = (5, -9) if ours else (5, 3)  # neighbours do not hide each other
            axis.annotate(str(name), at, side, textcoords="offset points", fontsize=7.5)
        axis.axhline(1, color="0.5", ls="--", lw=1)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(NullLocator())
        low, high = min(0.95, table["relative MASE"].min()), max(1.05, table["relative MASE"].max())
        ticks = [x for x in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2) if low <= x <= high]
        axis.set_yticks(ticks, [f"{x:g}" for x in ticks])
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.18, y=0.1)
        axis.grid(color="0.92")
        axis.set_title(TITLES.get(kind, kind), loc="left", fontsize=10)
    figure.supxlabel("seconds of one core, training and forecasts of all sets (one seed)")
    figure.supylabel("MASE over that of seasonal naive")
    return figure


def main() -> None:
    """Write the tables into the page, and the plot beside it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("page", type=Path)
    options.add_argument("tables", type=Path, nargs="+")
    arguments = options.parse_args()
    kinds = read(arguments.tables)
    parts = {kind: to_markdown(rows, kind) for kind, rows in kinds.items()}
    page = filled(arguments.page.read_text(encoding="utf-8"), parts)
    arguments.page.write_text(page, encoding="utf-8")
    plot(kinds).savefig(arguments.page.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
