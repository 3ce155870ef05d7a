"""A table in, forecasts out: ``python -m rimer_forecaster sales.csv --horizon 12``.

Needs no extra of the package: weights that come with it forecast series never seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .network import RimerNetwork
from .zero_shot.catalogue import zero_shot_network
from .zero_shot.forecast import forecast
from .zero_shot.scores import naive_quantiles, origins_of, score
from .zero_shot.tables import SeriesTable, TableError, read_series, usual_season

__all__ = ["main"]

_PLOTTED = 6


def main(argv: Sequence[str] | None = None) -> None:
    """Forecast as the command line says."""
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"rimer-forecast: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rimer-forecast",
        description="Forecast the series of a table with weights that were trained on others.",
    )
    parser.add_argument("file", type=Path, help=".csv, .tsv, .parquet or .tsf, wide or long")
    parser.add_argument("--horizon", type=int, required=True, help="steps to forecast")
    parser.add_argument("--time", metavar="COLUMN", help="of times (found)")
    parser.add_argument("--target", metavar="COLUMN", nargs="+", help="of values (all numbers)")
    parser.add_argument("--id", metavar="COLUMN", help="that tells series apart (found)")
    parser.add_argument(
        "--season", type=int, metavar="STEPS", help="of the naive forecast beside (by the step)"
    )
    parser.add_argument(
        "--intervals", type=int, nargs="*", default=[80, 95], metavar="PERCENT", help="(80 95)"
    )
    parser.add_argument("--out", type=Path, help="CSV of forecasts (FILE.forecast.csv, here)")
    parser.add_argument("--plot", type=Path, help="picture of the first series; needs matplotlib")
    parser.add_argument("--weights", default="rimer-zero", help="name or file (rimer-zero)")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    if arguments.horizon < 1:
        raise ValueError(f"--horizon {arguments.horizon} must be at least 1.")
    network = zero_shot_network(arguments.weights)
    levels = _levels(network, arguments.intervals)
    table = read_series(
        arguments.file, time=arguments.time, target=arguments.target, id=arguments.id
    )
    empty = [name for name, x in table.series.items() if x.isna().all()]
    series = {name: x for name, x in table.series.items() if name not in set(empty)}
    if not series:
        raise TableError(f"no series of {arguments.file.name} has a value.")
    lengths = [len(x) for x in series.values()]
    reach = f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)}-{max(lengths)}"
    print(f"{arguments.file.name}: {len(series)} series of {reach} steps")
    for note in (*table.notes, *([f"{len(empty)} series without a value left out"] * bool(empty))):
        print(f"  {note}")
    outputs = forecast(network, [x.to_numpy(float) for x in series.values()], arguments.horizon)
    frame = _frame(series, table, outputs, levels)
    out = arguments.out or Path(f"{arguments.file.name.partition('.')[0]}.forecast.csv")
    frame.to_csv(out, index=False, float_format="%.6g")
    _tell_past(network, table, series, arguments.horizon, arguments.season)
    print(f"{arguments.horizon} steps of each written to {out}")
    if arguments.plot:
        _plot(arguments.plot, series, frame, arguments.horizon, levels)
        print(f"picture of {min(len(series), _PLOTTED)} series written to {arguments.plot}")


def _levels(network: RimerNetwork, intervals: Sequence[int]) -> dict[str, int]:
    """Columns of the CSV, by the place of their quantile."""
    trained = [float(x) for x in network.config.outputs]
    known = {round(100 * (1 - 2 * x)): x for x in trained if x < 0.5}
    for percent in intervals:
        if percent not in known:
            allowed = ", ".join(map(str, sorted(known)))
            raise ValueError(f"--intervals {percent} is none of {allowed}, which were trained.")
    levels = {"median": network.config.middle}
    for percent in sorted(set(intervals)):
        low = trained.index(known[percent])
        levels |= {f"lower {percent}": low, f"upper {percent}": len(trained) - 1 - low}
    return levels


def _frame(
    series: dict[str, pd.Series],
    table: SeriesTable,
    outputs: NDArray[np.float64],
    levels: dict[str, int],
) -> pd.DataFrame:
    """One row per series and step."""
    horizon = outputs.shape[1]
    parts = []
    for (name, x), values in zip(series.items(), outputs, strict=True):
        if table.freq is None:
            step = x.index.step if isinstance(x.index, pd.RangeIndex) else 1
            times: Any = x.index[-1] + step * np.arange(1, horizon + 1)
        else:
            times = pd.date_range(x.index[-1], periods=horizon + 1, freq=table.freq)[1:]
        columns = {level: values[:, place] for level, place in levels.items()}
        parts.append(pd.DataFrame({"series": name, "time": times, **columns}))
    return pd.concat(parts, ignore_index=True)


def _tell_past(
    network: RimerNetwork,
    table: SeriesTable,
    series: dict[str, pd.Series],
    horizon: int,
    season: int | None,
) -> None:
    """Say how good forecasts of the last values would have been."""
    season = season or usual_season(table.freq)
    quantiles = [float(x) for x in network.config.outputs]
    origins = origins_of(SeriesTable(series, table.freq), horizon)
    if not origins.past:
        return
    own = forecast(network, origins.past, horizon)
    naive = naive_quantiles(quantiles, origins.past, horizon, season)
    ours, theirs = (score(x, quantiles, origins.past, origins.future, season) for x in (own, naive))
    print(
        f"the last {horizon} values, held back: MASE {ours.mase:.3f}, seasonal naive (season "
        f"{season}) {theirs.mase:.3f}; {ours.coverage:.0%} within the 80 % interval"
    )


def _plot(
    path: Path,
    series: dict[str, pd.Series],
    frame: pd.DataFrame,
    horizon: int,
    levels: dict[str, int],
) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install matplotlib") from error
    names = list(series)[:_PLOTTED]
    figure = Figure(figsize=(9, 2.4 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        past, rows = series[name].iloc[-max(60, 5 * horizon) :], frame[frame["series"] == name]
        axes.plot(past.index, past, color="black", linewidth=1, label="observed")
        axes.plot(rows["time"], rows["median"], color="C0", label="median")
        percents = sorted({int(x.split()[1]) for x in levels if " " in x}, reverse=True)
        for percent in percents:
            low, high = rows[f"lower {percent}"], rows[f"upper {percent}"]
            shade = 0.15 + 0.15 * percents.index(percent)
            axes.fill_between(
                rows["time"], low, high, color="C0", alpha=shade, linewidth=0, label=f"{percent} %"
            )
        axes.set_title(name, loc="left", fontsize="medium")
        axes.margins(x=0)
    figure.axes[0].legend(loc="upper left", fontsize="small", ncols=2)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
