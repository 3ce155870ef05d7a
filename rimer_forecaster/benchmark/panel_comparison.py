"""compare_panel(): models beside each other on the ends of many series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..network.checks import check_sizes
from .budget import Budget, Rule
from .contenders import ALWAYS, Model, by_label
from .panel import Panel
from .panel_contenders import check_panel_model
from .runs import all_stored, every_run
from .table import markdown_of, tables

__all__ = ["PanelComparison", "compare_panel"]


@dataclass(frozen=True)
class PanelComparison:
    """What `compare_panel` found.

    Attributes
    ----------
    panel, budget
        What was compared, and what each model was given.
    table, runs
        A row per model, and a row per model and seed; see `Comparison`.
    remarks
        A budget that is too small; rows that failed, and why.
    """

    panel: Panel
    budget: Budget
    table: pd.DataFrame
    runs: pd.DataFrame
    remarks: tuple[str, ...]

    def to_markdown(self) -> str:
        """Return the table and the remarks as text."""
        remarks = "".join(f"\n- {remark}" for remark in self.remarks)
        return f"# {self.panel.name}\n\n{markdown_of(self.table)}\n{remarks}\n"


def compare_panel(
    panel: Panel,
    *,
    models: Sequence[str] | Mapping[str, Model],
    seeds: int = 1,
    epochs: int | None = None,
    patience: int | None = None,
    seconds: float | None = None,
    batch_size: int = 32,
    train_stride: int = 1,
    quantiles: Sequence[float] | None = None,
    results: str | Path | None = None,
    isolated: bool = True,
    progress: bool = True,
) -> PanelComparison:
    """Forecast the last values of every series of a panel by each model.

    A model that is trained is one of all series: it learns from their training parts, and the H
    values before the test part stop it early. Statistical models are fitted to each series by
    itself. Last value, seasonal naive and the linear skip alone are rows of every table.

    Parameters
    ----------
    panel
        See `make_panel`.
    models, seeds, epochs, patience, seconds, batch_size, train_stride, quantiles, results, isolated
        See `compare`. Forecasters of sktime are not compared on panels.
    progress
        Whether to show a bar.

    Raises
    ------
    ValueError
        If a model is unknown or cannot do what is asked.

    Examples
    --------
    >>> import numpy as np
    >>> from rimer_forecaster.benchmark import compare_panel, make_panel
    >>> waves = [np.sin(np.arange(90 + i) / 5 + i) for i in range(4)]
    >>> panel = make_panel(waves, 6, look_back=24, season=31)
    >>> found = compare_panel(panel, models=["zero"], epochs=1, isolated=False, progress=False)
    >>> list(found.table.index)
    ['zero', 'rlinear', 'seasonal naive', 'last value']
    """
    check_sizes(seeds=seeds, batch_size=batch_size, train_stride=train_stride)
    rule = Rule.of(panel, batch_size, train_stride)
    budget = rule.budget(
        epochs=epochs,
        patience=patience,
        seconds=seconds,
        batch_size=batch_size,
        train_stride=train_stride,
        quantiles=quantiles,
    )
    named = by_label(models)
    for model in named.values():
        check_panel_model(model, panel)
    named |= {name: name for name in reversed(ALWAYS) if name not in named}
    runs = every_run(named, panel, budget, seeds)
    found = all_stored(runs, results, isolated=isolated, progress=progress)
    failed = [result["failed"] for result in found if "failed" in result]
    rows, table = tables(runs, found)
    return PanelComparison(panel, budget, table, rows, (*rule.remarks(budget.epochs), *failed))
