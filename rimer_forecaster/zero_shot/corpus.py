"""Windows of real series to pretrain on, and the rows that decisions are made on.

The corpus is a parquet file with a row per series: ``name``, ``source``, ``freq`` (pandas'
alias), ``season``, ``split`` (``train`` or ``validation``) and ``values``. It is read from a folder
that the user names; no series is part of the package.

Letters: N steps that are read, H steps after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["FILE", "Corpus", "Held", "read_held"]

Array = NDArray[np.floating[Any]]

FILE = "corpus.parquet"

_SHARES = {
    "hourly": 0.30,
    "faster": 0.14,
    "daily": 0.14,
    "weekly": 0.12,
    "monthly": 0.14,
    "quarterly": 0.07,
    "yearly": 0.09,
}
"""Of the windows, by frequency; within one, a series weighs as the root of its length."""

_SHORT = 64
"""Windows of so few steps are of series slower than daily alone, of which many are as short."""

_POOLED = {"hourly", "faster", "daily"}
"""Of which a quarter of the windows are means of several steps: other frequencies of the same."""

_POOLINGS = (2, 3, 4, 6, 7, 12, 24)
_FEWEST_POOLED = 40

_FEWEST_READ = 16
_ALL_READ = 128
"""Windows of so few steps are of all series; of more, only of those that fill a good part."""

_HORIZONS = {"weekly": 13, "monthly": 18, "quarterly": 8, "yearly": 6, "daily": 30}
"""Steps of the validation rows that are forecast; 48 of those faster than daily."""


def kind_of(freq: str) -> str:
    """Name the kind of a frequency, by pandas' alias."""
    kinds = {"h": "hourly", "D": "daily", "B": "daily", "W": "weekly", "M": "monthly"}
    kinds |= {"Q": "quarterly", "Y": "yearly"}
    letters = freq.partition("-")[0].lstrip("0123456789")
    return "faster" if letters in ("min", "s") else kinds[letters[0]]


@dataclass(frozen=True)
class Held:
    """A series that is held back, and what it is judged by.

    Attributes
    ----------
    freq, season
        Step, as pandas' alias, and usual period in steps.
    past, future
        What a forecast is made from, and what came.
    """

    freq: str
    season: int
    past: Array
    future: Array


def read_held(folder: str | Path) -> list[Held]:
    """Return the validation rows, each split where its last values begin to be forecast."""
    frame = _read(folder, "validation")
    found = []
    for freq, season, values in zip(frame["freq"], frame["season"], frame["values"], strict=True):
        horizon = _HORIZONS.get(kind_of(freq), 48)
        series = np.asarray(values, np.float32)
        if len(series) >= horizon + 8:
            found.append(Held(freq, int(season), series[:-horizon], series[-horizon:]))
    return found


class Corpus:
    """The training rows of a corpus.

    Parameters
    ----------
    folder
        Which holds the file `FILE`.

    Raises
    ------
    FileNotFoundError
        If it does not.
    """

    def __init__(self, folder: str | Path) -> None:
        frame = _read(folder, "train")
        kinds = frame["freq"].map(kind_of)
        self._reaches: dict[int, dict[str, NDArray[np.float64]]] = {}
        self._series = {
            kind: [np.asarray(values, np.float32) for values in frame["values"][kinds == kind]]
            for kind in _SHARES
        }

    def windows(self, seed: int, number: int, count: int, length: int, horizon: int) -> Array:
        """Draw one batch of windows, standardised, with alterations.

        Parameters
        ----------
        seed, number
            Of the training, and of the batch in it.
        count
            How many windows.
        length, horizon
            N and H.

        Returns
        -------
        array
            (count, N + H), NaN where missing. Series shorter than N end at its end, or some steps
            later.
        """
        rng = np.random.default_rng([seed, number])
        x = np.full((count, length + horizon), np.nan, np.float32)
        reach = {kind: sizes for kind, sizes in self._reach(length).items() if sizes[-1] > 0}
        if length <= _SHORT:
            reach = {kind: sizes for kind, sizes in reach.items() if kind not in _POOLED} or reach
        shares = np.array([_SHARES[kind] for kind in reach])
        kinds = rng.choice(list(reach), size=count, p=shares / shares.sum())
        for row, kind in zip(x, kinds, strict=True):
            place = int(np.searchsorted(reach[kind], rng.random() * reach[kind][-1], side="right"))
            window = _cut(rng, self._series[kind][place], kind in _POOLED, length, len(row))
            m = len(window)
            later = min(horizon, len(row) - m, max(0, m - _FEWEST_READ))
            end = max(m, length + int(rng.integers(0, later + 1)))
            if m > length:
                end = len(row)
            row[end - m : end] = window
        x[rng.random(count) < 0.3] *= -1
        _mix(rng, x)
        for i in np.flatnonzero(rng.random(count) < 0.12):
            _damage(rng, x[i])
        return x

    def _reach(self, length: int) -> dict[str, NDArray[np.float64]]:
        """Sums of the weights of series that are long enough, by kind."""
        if length not in self._reaches:
            least = 0.4 * length if length > _ALL_READ else 0
            self._reaches[length] = {
                kind: np.cumsum([np.sqrt(len(x)) * (len(x) >= least) for x in series])
                for kind, series in self._series.items()
                if series
            }
        return self._reaches[length]


def _cut(rng: np.random.Generator, series: Array, pooled: bool, length: int, longest: int) -> Array:
    """Cut a window of a series, and standardise it."""
    if pooled and rng.random() < 0.25:
        size = int(rng.choice(_POOLINGS))
        if len(series) // size >= _FEWEST_POOLED:
            series = series[len(series) % size :].reshape(-1, size).mean(1)
    n = len(series)
    end = int(rng.integers(min(n, _FEWEST_READ + 8 if n <= longest else length), n + 1))
    window = series[max(0, end - longest) : end]
    if np.isnan(window).all():
        return window
    mean, deviation = np.nanmean(window), np.nanstd(window)
    return (window - mean) / (deviation if deviation > 1e-6 * abs(mean) else 1)


def _mix(rng: np.random.Generator, x: Array) -> None:
    """Let some windows be means of two, where both are known."""
    mixed = np.flatnonzero(rng.random(len(x)) < 0.15)
    other = x[rng.integers(0, len(x), len(mixed))]
    weight = rng.beta(1.5, 1.5, (len(mixed), 1)).astype(np.float32)
    both = weight * x[mixed] + (1 - weight) * other
    x[mixed] = np.where(np.isnan(both), x[mixed], both)


def _damage(rng: np.random.Generator, row: Array) -> None:
    """Take away single values, or up to three blocks of them."""
    if rng.random() < 0.5:
        row[rng.random(len(row)) < rng.uniform(0.01, 0.4)] = np.nan
        return
    for _ in range(int(rng.integers(1, 4))):
        size = int(np.exp(rng.uniform(np.log(2), np.log(len(row) / 4))))
        start = int(rng.integers(0, len(row)))
        row[start : start + size] = np.nan


def _read(folder: str | Path, split: str) -> pd.DataFrame:
    path = Path(folder) / FILE
    if not path.exists():
        raise FileNotFoundError(f"{str(path)!r} does not exist: name the folder that holds {FILE}.")
    frame = pd.read_parquet(path)
    return frame[frame["split"] == split]
