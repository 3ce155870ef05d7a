"""compare(): models beside each other on one series, as a table and plots."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import darts
import numpy as np
import pandas as pd
import sktime
import torch
from darts import TimeSeries
from sktime.forecasting.base import BaseForecaster

from ..network.checks import check_sizes
from ..version import __version__
from .budget import Budget, Rule
from .contenders import ALWAYS, OF_PACKAGE, Model, by_label, check_model, resolved
from .runs import Run, all_stored, every_run
from .table import markdown_of, tables
from .task import Task, make_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare", "versions"]

DEFAULT = ("rwkv7", "blockrnn-gru", "transformer", "dlinear")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    task, budget
        What was compared, and what each model was given.
    table
        A row per model: means over seeds, the standard deviation of MSE and MAE over them, and
        their number.
    runs
        A row per model and seed.
    remarks
        What a reader has to know: no MAPE and why, test targets in their own input, a budget that
        is too small, rows that failed and why.
    by_step
        Mean absolute error of each step of the horizon, z-scored; a column per model, mean over
        seeds.
    shown
        Some forecasts of the first component by the first seed, z-scored: model to (forecasts, H).
    """

    task: Task
    budget: Budget
    table: pd.DataFrame
    runs: pd.DataFrame
    remarks: tuple[str, ...]
    by_step: pd.DataFrame
    shown: Mapping[str, np.ndarray]

    @property
    def _units(self) -> str:
        return "its own units" if self.task.series.n_components == 1 else "z-scored units"

    def to_markdown(self) -> str:
        """Return the table, the remarks and how they were made, as a page."""
        task, budget = self.task, self.budget
        n, seeds = len(task.series), self.runs["seed"].nunique()
        every = "" if budget.train_stride == 1 else f" from every {budget.train_stride}th window"
        limit = "" if budget.seconds is None else f", at most {budget.seconds:g} s"
        what = (
            f"{n} time points, {task.series.n_components} components; trained on the first "
            f"{task.train_end}, stopped early by the next {task.validation_end - task.train_end}, "
            f"tested on the last {n - task.validation_end} in order of time: {len(task.origins)} "
            f"forecasts of {task.horizon} steps from {task.look_back} each. Errors are in "
            f"{self._units}. At most {budget.epochs} epochs of batches of {budget.batch_size}"
            f"{every}{limit}, patience {budget.patience}, {seeds} seed{'s' * (seeds > 1)} (means; "
            "std is over seeds)."
        )
        remarks = "".join(f"\n- {remark}" for remark in self.remarks)
        rows = markdown_of(self.table)
        return f"# {task.name}\n\n{what}\n\n{rows}\n{remarks}\n\n{versions()}.\n"

    def plot_forecasts(self) -> Figure:
        """Draw some forecasts of the test part over what came, first component."""
        from . import plots

        values = self.task.z_scored().values(copy=False)[:, 0]
        return plots.forecasts(self.task, values, self.shown)

    def plot_errors_by_step(self) -> Figure:
        """Draw the mean absolute error over the steps of the horizon."""
        from . import plots

        return plots.errors_by_step(self.by_step)

    def plot_cost(self) -> Figure:
        """Draw errors over seconds of training."""
        from . import plots

        return plots.cost(self.table, self._units)

    def save(self, folder: str | Path) -> None:
        """Write table.csv, runs.csv, table.md and three plots into a folder."""
        import matplotlib.pyplot as plt

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.table.to_csv(folder / "table.csv", float_format="%.6g")
        self.runs.to_csv(folder / "runs.csv", index=False, float_format="%.6g")
        (folder / "table.md").write_text(self.to_markdown(), encoding="utf-8")
        for name, figure in (
            ("forecasts", self.plot_forecasts()),
            ("errors_by_step", self.plot_errors_by_step()),
            ("cost", self.plot_cost()),
        ):
            figure.savefig(folder / f"{name}.png", dpi=110)
            plt.close(figure)


def compare(
    series: TimeSeries | pd.DataFrame | pd.Series | Task,
    horizon: int | None = None,
    *,
    models: Sequence[str] | Mapping[str, Model] = DEFAULT,
    seeds: int = 1,
    epochs: int | None = None,
    seconds: float | None = None,
    batch_size: int = 32,
    train_stride: int = 1,
    patience: int | None = None,
    quantiles: Sequence[float] | None = None,
    results: str | Path | None = None,
    isolated: bool = True,
    progress: bool = True,
    **task: Any,
) -> Comparison:
    """Train models with the same windows and budget, and test them on what comes after.

    The series is split in order of time and z-scored by its training part; every window of the
    test part is forecast. Last value, seasonal naive and the linear skip of `RimerModel` alone
    (``"rlinear"``) are rows of every table.

    Parameters
    ----------
    series
        A darts series, a pandas object, or a task of `make_task`.
    horizon
        Steps to forecast; none if `series` is a task.
    models
        Names (`rimer_forecaster.benchmark.contenders.NAMES`), layer strings such as ``"rwkv7*2"``,
        forecasters of sktime such as ``"ThetaForecaster(sp=12)"``, by `sktime.registry.craft`; or a
        mapping of labels to these, to arguments of `RimerModel`
        (``{"wide": {"layers": "rwkv7*2", "width": 64}}``) and to forecasters of sktime.
    seeds
        Number of seeds; naive rows, statistical models and ``"zero"`` have none.
    epochs, patience
        See `Budget`. By default those of the package's own `Recipe`: as many epochs as make about
        2,000 optimiser steps, between 5 and 100, and as many without a lower validation loss as
        make 100 steps, at least 10.
    seconds, batch_size, train_stride, quantiles
        See `Budget`.
    results
        Folder in which results of single runs are kept: a comparison that was interrupted goes on
        from there.
    isolated
        Whether each run has a process of its own. Without, peaks of memory are those of everything
        so far.
    progress
        Whether to show a bar.
    **task
        Further arguments of `make_task`, if `series` is none.

    Raises
    ------
    ValueError
        If the time points are out of order, a part is too short, or a model is unknown or cannot
        do what is asked.

    Examples
    --------
    >>> import numpy as np
    >>> from darts import TimeSeries
    >>> from rimer_forecaster.benchmark import compare
    >>> series = TimeSeries.from_values(np.sin(np.arange(300) / 5))
    >>> found = compare(series, 6, look_back=24, models=["rwkv7"], epochs=1, isolated=False,
    ...                 progress=False, season=31)
    >>> list(found.table.index)
    ['rwkv7', 'rlinear', 'seasonal naive', 'last value']
    """
    if isinstance(series, Task):
        if horizon is not None or task:
            given = ["horizon"] * (horizon is not None) + list(task)
            raise ValueError(f"{given} cannot be given with a task, which has them or needs none.")
    elif horizon is None:
        raise ValueError("horizon is missing: give the number of steps to forecast.")
    else:
        series = make_task(series, horizon, **task)
    check_sizes(seeds=seeds, batch_size=batch_size, train_stride=train_stride)
    rule = Rule.of(series, batch_size, train_stride)
    budget = rule.budget(
        epochs=epochs,
        patience=patience,
        seconds=seconds,
        batch_size=batch_size,
        train_stride=train_stride,
        quantiles=quantiles,
    )
    named = by_label(models)
    named = {label: resolved(model) for label, model in named.items()}
    for model in named.values():
        check_model(model, series, budget)
    named |= {name: name for name in reversed(ALWAYS) if name not in named}
    runs = every_run(named, series, budget, seeds)
    found = all_stored(runs, results, isolated=isolated, progress=progress)
    return _gathered(series, budget, runs, found, rule.remarks(budget.epochs))


def versions() -> str:
    """Say what figures of this process are measured with: versions and machine."""
    threads = torch.get_num_threads()
    return (
        f"rimer_forecaster {__version__}, darts {darts.__version__}, sktime "
        f"{sktime.__version__}, torch {torch.__version__}, Python {platform.python_version()}; "
        f"{threads} thread{'s' if threads > 1 else ''} of {os.cpu_count()} {platform.machine()} "
        "cores"
    )


def _gathered(
    task: Task,
    budget: Budget,
    runs: Sequence[Run],
    results: Sequence[dict[str, Any]],
    remarks: list[str],
) -> Comparison:
    remarks = [*remarks, *(result["failed"] for result in results if "failed" in result)]
    rows, table = tables(runs, results)
    runs, found = zip(
        *((run, one) for run, one in zip(runs, results, strict=True) if "failed" not in one),
        strict=True,
    )
    remarks += [result["mape_remark"] for result in found[:1] if result["mape_remark"]]
    remarks += [*task.remarks(), *_differences(task, runs, found)]
    steps = {
        label: np.mean(
            [r["by_step"] for run, r in zip(runs, found, strict=True) if run.label == label], axis=0
        )
        for label in dict.fromkeys(run.label for run in runs)
    }
    by_step = pd.DataFrame(steps, index=pd.RangeIndex(1, task.horizon + 1, name="step"))
    shown = {
        run.label: np.array(result["shown"])
        for run, result in zip(runs, found, strict=True)
        if run.seed == 0
    }
    return Comparison(task, budget, table, rows, tuple(remarks), by_step, shown)


def _differences(task: Task, runs: Sequence[Run], found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Say which rows were not made as the others."""
    own = dict.fromkeys(run.label for run in runs if isinstance(run.model, BaseForecaster))
    if own:
        yield (
            f"{', '.join(own)}: forecasters of sktime keep their own look-back, batches and "
            "epochs, are fitted to the training part and not stopped early."
        )
    zero = dict.fromkeys(run.label for run in runs if run.model in list(OF_PACKAGE))
    if zero:
        yield (
            f"{', '.join(zero)}: weights of the package, which read up to 2,048 values before the "
            "time of the forecast; trained on, 512."
        )
    blind = dict.fromkeys(
        run.label for run, result in zip(runs, found, strict=True) if not result["reads_covariates"]
    )
    if task.future_covariates is not None and blind:
        yield f"{', '.join(blind)}: without the future covariates, which they cannot read."
    recursive = dict.fromkeys(run.label for run in runs if run.model in ("rnn-lstm", "rnn-gru"))
    if recursive:
        yield (
            f"{', '.join(recursive)}: trained and stopped by the error one step ahead over true "
            "values, which is no validation loss of the forecasts."
        )
