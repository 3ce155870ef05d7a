"""What a Lightning module begins from, where it is not nothing: states that were adapted.

Letters: n series, B windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..layers import State, rows_of
from .resume import ResumableModule

__all__ = ["StartedModule"]


class StartedModule(ResumableModule):
    """A module whose network may begin from given states, while a caller says so."""

    _memory: State | None = None
    _series: list[int] | None = None

    @contextmanager
    def beginning_from(self, memory: State | None) -> Iterator[None]:
        """Begin from a memory, to a thread whose turn it is.

        Parameters
        ----------
        memory
            In `predict_step`, that of the series of the data set, (n, ...). Elsewhere that of the
            windows, (B, ...). None for nothing.
        """
        self._memory = memory
        try:
            yield
        finally:
            self._memory = self._series = None

    def start(self, count: int) -> State | None:
        """Return what the windows of a batch begin from, (B, ...), or None.

        Parameters
        ----------
        count
            B; a multiple of the number of series where samples are drawn.
        """
        if self._memory is None or self._series is None:
            return self._memory
        rows = torch.tensor(self._series).repeat(count // len(self._series))
        return rows_of(self._memory, rows)

    def predict_step(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """Take note of the series that the windows are of."""
        if self._memory is not None:
            self._series = [schema.place for schema in batch.series_schema]
        return super().predict_step(batch, *args, **kwargs)
