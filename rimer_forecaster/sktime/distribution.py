"""The distribution through given quantiles, as skpro knows distributions.

Not one of skpro's own: in skpro 2.16 the quantiles of `HistogramQPD` are rounded to four decimals,
whatever the units, and neither it nor `QPD_Empirical` takes the index of a panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from skpro.distributions.base import BaseDistribution

from .quantile_curve import QuantileCurve

__all__ = ["QuantileDistribution"]

Array = NDArray[np.float64]


class QuantileDistribution(BaseDistribution):
    """A standard normal variable through the piecewise linear curve of given quantiles.

    Parameters
    ----------
    quantiles : array
        In ascending order, (rows, columns, Q), or (Q,) for a single variable; Q >= 2.
    levels : sequence of float
        Their probabilities, ascending, (Q,).
    index, columns : pandas.Index, optional
        Labels; none for a single variable.

    Examples
    --------
    >>> from rimer_forecaster.sktime.distribution import QuantileDistribution
    >>> distribution = QuantileDistribution([-2.0, 0.0, 4.0], levels=[0.1, 0.5, 0.9])
    >>> round(float(distribution.ppf(0.9)), 6)
    4.0
    """

    _tags = {  # noqa: RUF012  # skpro's way to declare tags
        "capabilities:exact": ["mean", "var", "pdf", "cdf", "ppf"],
        "capabilities:approx": ["energy", "pdfnorm"],
        "distr:measuretype": "continuous",
    }

    def __init__(
        self,
        quantiles: Array,
        levels: Sequence[float],
        index: pd.Index | None = None,
        columns: pd.Index | None = None,
    ) -> None:
        self.quantiles = quantiles
        self.levels = levels
        super().__init__(index=index, columns=columns)

    def _subset_params(
        self, rowidx: Any, colidx: Any, coerce_scalar: bool = False
    ) -> dict[str, Any]:
        chosen = np.asarray(self.quantiles)
        chosen = chosen if rowidx is None else chosen[rowidx]
        if colidx is not None:
            chosen = chosen[..., colidx, :]
        return {"quantiles": chosen, "levels": self.levels}

    def _curve(self) -> QuantileCurve:
        return QuantileCurve(np.asarray(self.quantiles), self.levels)

    def _ppf(self, p: Array) -> Array:
        return self._curve().value(norm.ppf(p))

    def _cdf(self, x: Array) -> Array:
        return norm.cdf(self._curve().score(x))

    def _pdf(self, x: Array) -> Array:
        curve = self._curve()
        with np.errstate(divide="ignore"):
            return norm.pdf(curve.score(x)) / curve.piece(x)[1]

    def _mean(self) -> Array:
        return self._curve().moments()[0]

    def _var(self) -> Array:
        return self._curve().moments()[1]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return settings for skpro's conformity suite."""
        levels = (0.1, 0.5, 0.9)
        rows = np.array([[[0.0, 1.0, 4.0], [1.0, 2.0, 3.0]], [[-3.0, 0.0, 1.0], [0.0, 0.1, 0.2]]])
        labels = {"index": pd.Index([3, 5]), "columns": pd.Index(["a", "b"])}
        return [
            {"quantiles": rows, "levels": levels, **labels},
            {"quantiles": rows[0, 0], "levels": levels},
        ]
