"""Fitted sktime forecasters in fewer bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from ..lifecycle import Compression, compress
from .forecasts import Fitted
from .learning import calibration

__all__ = ["Compressible"]


class Compressible:
    """A forecaster that can be compressed."""

    _fitted: Fitted
    check_is_fitted: Callable[[], None]
    _twin: Callable[[], Self]

    def compress(
        self, rank: float | None = 0.25, *, bits: int | None = 8
    ) -> tuple[Self, Compression]:
        """Return a fitted forecaster in fewer bytes, and what was done; this one stays as it is.

        It is calibrated by the series that were fitted, of which 256 windows at most are read.

        Parameters
        ----------
        rank : float or None
            Share of the full rank that matrices of the layers keep; None leaves them whole.
        bits : int or None
            8, or None for floating point. See `rimer_forecaster.lifecycle.compress`.

        Returns
        -------
        small : RimerForecaster
            Forecasts, is updated and saved as any other. An update that trains moves no whole
            numbers, only what they are scaled by. Adapted states belong to other weights, and do
            not come along: adapt it anew.
        report : rimer_forecaster.lifecycle.Compression
            Bytes before and after, and how far forecasts moved.

        Raises
        ------
        ValueError
            If an argument is out of range, or a rank is given and every series has one time point.
        """
        self.check_is_fitted()
        network, memory = self._fitted[:2]
        windows, covariates = calibration(network, memory)
        if rank is not None and windows is None:
            raise ValueError(
                f"rank={rank} needs a series of two time points and more to calibrate by. Use "
                "rank=None, which needs none."
            )
        network, report = compress(
            network, rank, bits=bits, calibrate=windows, covariates=covariates
        )
        small = self._twin()
        small._fitted = self._fitted.with_network(network)
        return small, report
