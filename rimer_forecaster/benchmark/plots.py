"""Plots of a comparison, readable without colours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from .contenders import ALWAYS
from .runs import shown_places
from .task import Task

__all__ = ["cost", "errors_by_step", "forecasts"]

_LINES = ("-", "--", "-.", ":")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito

_NO_TIME = 1e-3
"""Seconds of a fit in which nothing is trained."""


def forecasts(task: Task, values: np.ndarray, shown: Mapping[str, np.ndarray]) -> Figure:
    """Draw forecasts of the first component over what came.

    Parameters
    ----------
    task
        Its origins are where the forecasts may begin.
    values
        First component, z-scored, (n,).
    shown
        Model to (forecasts, H), from origins evenly over the test part.
    """
    models = [name for name in shown if name not in ALWAYS] + [ALWAYS[2]]
    places = shown_places(task)
    figure, axes = plt.subplots(
        len(models),
        len(places),
        figsize=(12, 1.9 * len(models)),
        sharex="col",
        sharey="col",
        layout="constrained",
        squeeze=False,
    )
    times = task.series.time_index
    lead = min(task.look_back, 2 * task.horizon)
    for row, name in enumerate(models):
        for column, place in enumerate(places):
            origin, axis = int(task.origins[place]), axes[row, column]
            seen = slice(origin - lead, origin + task.horizon)
            axis.plot(times[seen], values[seen], color="0.55", lw=1.5, label="measured")
            ahead = times[origin : origin + task.horizon]
            axis.plot(ahead, shown[name][column], color="black", lw=1, ls="--", label="forecast")
            axis.axvline(times[origin], color="0.3", lw=0.8, ls=":")
        axes[row, 0].set_title(name, loc="left", fontsize=10)
    axes[0, 0].legend(fontsize=8)
    for axis in axes[-1]:
        axis.tick_params("x", rotation=25, labelsize=8)
    figure.supylabel(f"{task.series.components[0]}, in deviations of the training part")
    figure.suptitle("Forecasts in the test part; the dotted line is where they begin")
    return figure


def errors_by_step(by_step: pd.DataFrame) -> Figure:
    """Draw mean absolute errors, z-scored, a line a model."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    often = max(1, len(by_step) // 8)
    for i, name in enumerate(by_step):
        axis.plot(
            by_step.index,
            by_step[name],
            label=name,
            lw=1.4,
            color=_COLOURS[i % len(_COLOURS)],
            ls=_LINES[i % len(_LINES)],
            marker=_MARKS[i % len(_MARKS)],
            ms=4,
            markevery=(i % often, often),
        )
    axis.set_xlabel("step of the horizon")
    axis.set_ylabel("mean absolute error, in deviations of the training part")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    return figure


def cost(table: pd.DataFrame, units: str) -> Figure:
    """Draw errors over seconds of training; models that take none are lines."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for (name, row), mark in zip(table.iterrows(), cycle(_MARKS), strict=False):
        if row["fit, s"] > _NO_TIME:
            axis.scatter(row["fit, s"], row["MAE"], marker=mark, s=50, color="black")
            axis.annotate(
                str(name),
                (row["fit, s"], row["MAE"]),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8,
            )
        else:
            axis.axhline(row["MAE"], color="0.6", ls="--", lw=1)
            axis.text(
                0.99,
                row["MAE"],
                str(name),
                transform=axis.get_yaxis_transform(),
                ha="right",
                va="bottom",
                fontsize=8,
                color="0.4",
            )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axis.margins(x=0.15)
    axis.set_xlabel("seconds of training")
    axis.set_ylabel(f"mean absolute error, in {units}")
    return figure
