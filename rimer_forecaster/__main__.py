"""A table in, forecasts out: ``python -m rimer_forecaster sales.csv --horizon 12``.

Needs no extra of the package: weights that come with it forecast series never seen. The same
command is installed as ``rimer-forecast``.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .network import RimerNetwork
from .zero_shot.catalogue import zero_shot_network
from .zero_shot.forecast import forecast
from .zero_shot.scores import naive_quantiles, origins_of, score
from .zero_shot.tables import (
    SeriesTable,
    TableError,
    name_without_ending,
    read_series,
    times_after,
    usual_season,
)

__all__ = ["main"]

_PLOTTED = 6
_DIGITS = 5
"""Of the distance between quantiles; values that lie far from zero are written with more."""


def main(argv: Sequence[str] | None = None) -> None:
    """Forecast as the command line says."""
    arguments = _parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # names that a console cannot show end no forecast
        sys.stdout.reconfigure(errors="replace")
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
    parser.add_argument("--horizon", type=int, help="steps to forecast (as a .tsf file says)")
    parser.add_argument("--time", metavar="COLUMN", help="of times (found)")
    parser.add_argument("--target", metavar="COLUMN", nargs="+", help="of values (all numbers)")
    parser.add_argument("--id", metavar="COLUMN", nargs="+", help="that tell series apart (found)")
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
    for name in ("horizon", "season"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} must be at least 1.")
    file, plot = arguments.file, arguments.plot
    out = arguments.out or Path(f"{name_without_ending(file)}.forecast.csv")
    _check_written(file, out, plot)
    network = zero_shot_network(arguments.weights)
    levels = _levels(network, arguments.intervals)
    table = read_series(file, time=arguments.time, target=arguments.target, id=arguments.id)
    horizon = arguments.horizon or table.horizon
    if horizon is None:
        raise ValueError(f"{file.name} does not say how many steps to forecast: give --horizon.")
    series, left = _with_values(table, network.config.input_chunk_length)
    lengths = [len(x) for x in series.values()]
    reach = f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)}-{max(lengths)}"
    print(f"{file.name}: {len(series)} series of {reach} steps")
    for note in (*table.notes, *left):
        print(f"  {note}")
    outputs = forecast(network, [x.to_numpy(float) for x in series.values()], horizon)
    frame = _frame(series, outputs, levels)
    _as_written(frame, outputs).to_csv(out, index=False)
    _tell_past(network, SeriesTable(series, table.freq), horizon, arguments.season)
    print(f"{horizon} steps of each written to {out}")
    if plot:
        _plot(plot, series, frame, horizon)
        print(f"picture of {min(len(series), _PLOTTED)} series written to {plot}")


def _check_written(file: Path, out: Path, plot: Path | None) -> None:
    """Raise an error, before anything is computed, if a file could not be written."""
    written = {"--out": out} | ({"--plot": plot} if plot else {})
    for name, path in written.items():
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"{name} {path}: there is no folder {str(path.parent)!r}.")
        if path.is_dir() or path.resolve() == file.resolve():
            what = "a folder" if path.is_dir() else "the file to read"
            raise ValueError(f"{name} {path} is {what}: name another file.")
    if plot is None:
        return
    if plot.resolve() == out.resolve():
        raise ValueError(f"--plot {plot} is the file of --out: name another one.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install matplotlib") from error
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if plot.suffix.lstrip(".").lower() not in kinds:
        raise ValueError(f"--plot {plot} must end with .png or another of .{', .'.join(kinds)}.")


def _levels(network: RimerNetwork, intervals: Sequence[int]) -> dict[str, int]:
    """Columns of the CSV, by the place of their quantile."""
    outputs = network.config.outputs
    if not {0.1, 0.5, 0.9} <= set(outputs):
        raise ValueError(f"--weights forecast {list(outputs)}, not quantiles with .1, .5 and .9.")
    trained = [float(x) for x in outputs]
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


def _with_values(table: SeriesTable, longest: int) -> tuple[dict[str, pd.Series], list[str]]:
    """Return the series that can be forecast, and what to tell of others."""
    series = {x: y for x, y in table.series.items() if y.iloc[-longest:].notna().any()}
    if not series:
        raise TableError(f"no series has a value in its last {longest} steps.")
    left = [x for x in table.series if x not in series]
    shown = ", ".join(map(repr, left[:5])) + " ..." * (len(left) > 5)
    return series, [f"left out for want of a value: {shown}"] * bool(left)


def _frame(
    series: dict[str, pd.Series], outputs: NDArray[np.float64], levels: dict[str, int]
) -> pd.DataFrame:
    """One row per series and step."""
    horizon = outputs.shape[1]
    indices = {id(x.index): x.index for x in series.values()}
    times = {key: times_after(index, horizon) for key, index in indices.items()}
    return pd.DataFrame(
        {
            "series": np.repeat(np.array(list(series), object), horizon),
            "time": np.concatenate([times[id(x.index)] for x in series.values()]),
            **{level: outputs[..., place].ravel() for level, place in levels.items()},
        }
    )


def _as_written(frame: pd.DataFrame, outputs: NDArray[np.float64]) -> pd.DataFrame:
    """Return text of as many digits as show how quantiles differ."""
    size = np.abs(outputs).max((1, 2))
    spread = outputs.max((1, 2)) - outputs.min((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        more = np.log10(size / np.maximum(spread, 1e-15 * size))
    digits = np.clip(_DIGITS + np.ceil(np.nan_to_num(more)), _DIGITS + 1, 16).astype(int)
    rows = np.repeat(digits, outputs.shape[1]).tolist()
    text = {
        name: [f"{x:.{n}g}" for x, n in zip(frame[name].tolist(), rows, strict=True)]
        for name in frame.columns[2:]
    }
    return frame.assign(**text)


def _tell_past(network: RimerNetwork, table: SeriesTable, horizon: int, said: int | None) -> None:
    """Say how good forecasts of the last values would have been."""
    season = said or usual_season(table.freq)
    quantiles = [float(x) for x in network.config.outputs]
    origins = origins_of(table, horizon, context=network.config.input_chunk_length)
    if not origins.past:
        return
    own = forecast(network, origins.past, horizon)
    naive = naive_quantiles(quantiles, origins.past, horizon, season)
    ours, theirs = (score(x, quantiles, origins.past, origins.future, season) for x in (own, naive))
    if not math.isfinite(ours.mase):
        return
    some = f" of {len(origins.past)} series" if len(origins.past) < len(table.series) else ""
    print(
        f"the last {horizon} values{some}, held back: MASE {ours.mase:.3f}, seasonal naive (season "
        f"{season}) {theirs.mase:.3f}; {ours.coverage:.0%} within the 80 % interval"
    )


def _plot(path: Path, series: dict[str, pd.Series], frame: pd.DataFrame, horizon: int) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    names = list(series)[:_PLOTTED]
    percents = sorted({int(x.split()[1]) for x in frame.columns if " " in x}, reverse=True)
    figure = Figure(figsize=(9, 2.4 * len(names)), layout="constrained")
    for place, axes in enumerate(figure.subplots(len(names), squeeze=False)[:, 0]):
        past = series[names[place]].iloc[-max(60, 5 * horizon) :]
        rows = frame.iloc[place * horizon : (place + 1) * horizon]
        dots = "." if len(past) < 200 else ""
        axes.plot(past.index, past, color="black", linewidth=1, marker=dots, ms=3, label="observed")
        axes.plot(rows["time"], rows["median"], color="C0", marker=dots, ms=3, label="median")
        for percent in percents:
            low, high = rows[f"lower {percent}"], rows[f"upper {percent}"]
            shade = 0.15 + 0.15 * percents.index(percent)
            axes.fill_between(
                rows["time"], low, high, color="C0", alpha=shade, linewidth=0, label=f"{percent} %"
            )
        if isinstance(past.index, pd.DatetimeIndex):
            ticks = AutoDateLocator()  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(ticks)
            dates = ConciseDateFormatter(ticks)  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_formatter(dates)
        axes.set_title(names[place][:80].replace("$", r"\$"), loc="left", fontsize="medium")
        axes.margins(x=0)
    shown = figure.axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper right", fontsize="small", ncols=2 + len(percents))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # of names
        figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
