"""A report as two plots: how large the memory of the layers is, and how long it lasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["QUANTILES", "draw", "norms_at"]

QUANTILES = {"10 %": 0.1, "median": 0.5, "90 %": 0.9}
"""Of the half-lives of a head, by their names."""


def draw(
    state_norms: pd.DataFrame, half_lives: pd.DataFrame, axes: Sequence[Any] | None = None
) -> Figure:
    """Draw norms and half-lives; see `Diagnostics`, whose tables these are, and its ``plot``."""
    try:
        from matplotlib import pyplot as plt
    except ModuleNotFoundError as error:
        raise ImportError(
            "plot needs the package 'matplotlib', which is not installed. Install it with: "
            "pip install matplotlib"
        ) from error
    count = len(half_lives)
    if axes is None:
        size = (11, max(4.0, 1.5 + 0.25 * count))
        _, axes = plt.subplots(1, 2, figsize=size, layout="constrained")
    if len(axes) != 2:
        raise ValueError(f"axes has {len(axes)} axes; give two, of norms and of half-lives.")
    norm_axis, half_life_axis = axes
    figure: Any = norm_axis.figure
    norm_axis.set(xlabel="steps read", ylabel="Frobenius norm of the memory")
    if state_norms.columns.get_level_values("component").nunique() > 1:
        norm_axis.set_title("of the component where it is largest", fontsize="medium")
    half_life_axis.set(xlabel="half-life, steps: 10 % to 90 %, median marked")
    if not count:
        for axis in axes:
            place = {"transform": axis.transAxes, "ha": "center", "va": "center"}
            axis.text(0.5, 0.5, "no memory was read", **place)
        return figure
    steps = state_norms.index.to_numpy()
    spans = half_lives[list(QUANTILES)].to_numpy()
    finite = spans[np.isfinite(spans)]
    edge = 10 * max(steps[-1], finite.max(initial=0.0))  # stands for infinity
    for i, half_life in enumerate(half_lives.to_dict("records")):
        norms = norms_at(state_norms, half_life)
        # 4 line styles and 7 marks: 28 lines before a pair of them comes again.
        marker, color = "osD^vXP"[i % 7], f"C{i % 10}"
        if norms.size:
            largest = np.nan_to_num(norms.max(0), nan=np.inf).argmax()
            norm_axis.plot(
                steps,
                norms[:, largest],
                linestyle=("-", "--", ":", "-.")[i % 4],
                color=color,
                marker=marker,
                markersize=4,
                markevery=max(1, len(steps) // 8),
                label=_name_of(half_life),
            )
        low, median, high = np.minimum(spans[i], edge)
        half_life_axis.plot([low, high], [i, i], color=color, linewidth=3, alpha=0.5)
        half_life_axis.plot(median, i, color=color, marker=marker, markersize=8)
        if high == edge:
            half_life_axis.plot(1.5 * edge, i, color=color, marker=">", markersize=8)
    half_life_axis.axvline(steps[-1], color="black", linewidth=0.8, linestyle=":")
    half_life_axis.text(
        steps[-1], 1.01, "history", transform=half_life_axis.get_xaxis_transform(), ha="center"
    )
    names = [_name_of(half_life) for half_life in half_lives.to_dict("records")]
    half_life_axis.set_yticks(range(count), names)
    half_life_axis.set_ylim(count - 0.5, -0.5)
    half_life_axis.set_xscale("log")
    if len(finite) < spans.size:
        half_life_axis.set_xlabel(half_life_axis.get_xlabel() + "; > does not decay")
    norm_axis.set_ylim(bottom=0)
    if norm_axis.lines:
        norm_axis.legend(fontsize="small", ncols=math.ceil(count / 12))
    return figure


def norms_at(state_norms: pd.DataFrame, place: Mapping[Any, Any]) -> np.ndarray:
    """Return the norms of one layer and head, (T, C); (T, 0) where a memory has none."""
    key = place["layer"], place["head"]
    columns: list[Any] = state_norms.columns.to_list()
    return state_norms[[column for column in columns if column[1:] == key]].to_numpy()


def _name_of(place: Mapping[Any, Any]) -> str:
    return f"layer {place['layer']}, head {place['head']}"
