"""States that are tuned on windows, as networks that read windows of one length are trained.

Letters: B windows, n series.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..layers import State
from .objective import Objective, StartOf

__all__ = ["OfWindows", "calibration_places"]

_MOST_CALIBRATED = 256
"""Windows that a network is calibrated by: some thousand tokens."""

_SHARE = 0.2
"""Of the steps of a series that are held back, or the steps of a horizon if they are more."""

_MOST_HELD_BACK = 64
"""Windows of each series, the last ones."""

_PARTS = 2
"""In which they are judged."""


class OfWindows(Objective):
    """Windows of n series, and their loss.

    Parameters
    ----------
    owners
        Number of the series of each window.
    left
        How many steps of its series come after what each window reads.
    lengths
        Steps of each series, (n,).
    horizon
        Steps that are forecast from a window.
    batch_size
        Windows of a step.
    loss
        Mean loss of windows, by their numbers, that begin from given states, (B, ...), or from
        none.
    """

    def __init__(
        self,
        owners: Tensor,
        left: Tensor,
        lengths: Tensor,
        *,
        horizon: int,
        batch_size: int,
        loss: Callable[[list[int], State | None], Tensor],
    ) -> None:
        self._owners, self._lengths = owners, lengths
        self._batch_size, self._loss = batch_size, loss
        held = (_SHARE * lengths).ceil().long().clamp_min(horizon)[owners]
        self._held = left <= held
        self._trains = left >= held + horizon  # sees nothing of what is held back

    @property
    def count(self) -> int:
        """See `Objective`."""
        return len(self._lengths)

    def loss(
        self, start_of: StartOf, among: Tensor, generator: torch.Generator, *, whole: bool
    ) -> Tensor:
        """See `Objective`."""
        own = torch.isin(self._owners, among)
        if not whole:
            own = own & self._trains
        places = own.nonzero()[:, 0]
        if not len(places):
            raise ValueError(
                "the series are too short to adapt to: no window is left of them beside the last "
                f"part of {_SHARE:.0%}, or one horizon, which says whether a state helps. Give "
                "longer ones, or keep='always'."
            )
        order = torch.randperm(len(places), generator=generator)[: self._batch_size]
        chosen = places[order]
        return self._loss(chosen.tolist(), start_of(self._owners[chosen]))

    def held_back(self, start_of: StartOf | None) -> Tensor:
        """See `Objective`; the windows are held back in two parts."""
        found = torch.full((self.count, _PARTS), float("nan"), dtype=torch.float64)
        for i in range(self.count):
            places = (self._held & (self._owners == i)).nonzero()[:, 0][:_MOST_HELD_BACK]
            for k, part in enumerate(places.tensor_split(_PARTS)):
                if len(part):
                    start = None if start_of is None else start_of(self._owners[part])
                    found[i, k] = float(self._loss(part.tolist(), start))
        return found


def calibration_places(count: int) -> list[int]:
    """Return which of so many windows are enough to calibrate by, spread over all."""
    kept = min(count, _MOST_CALIBRATED)
    return torch.linspace(0, count - 1, kept, dtype=torch.float64).long().tolist()
