"""What a file of series holds, and the error where it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

__all__ = ["SeriesTable", "TableError"]


class TableError(ValueError):
    """A file that cannot be read as series, with the reason."""


@dataclass(frozen=True)
class SeriesTable:
    """Series of one step.

    Attributes
    ----------
    series
        Values by name, NaN where missing, each over an index of times, or of whole numbers, without
        a gap; the index knows its step.
    freq
        Step as pandas' alias; None where the index holds whole numbers.
    notes
        What was taken for what.
    horizon
        Steps that the file itself wants forecast, or None.
    """

    series: dict[str, pd.Series]
    freq: str | None
    notes: tuple[str, ...] = ()
    horizon: int | None = None
