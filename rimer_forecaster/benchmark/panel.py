"""Many series, of each of which the end is to be forecast by one model of all or one of each.

Letters: n series, L look-back, H horizon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import ArrayLike, NDArray

from ..network.checks import check_sizes

__all__ = ["Panel", "make_panel"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """Series of any lengths; the last H values of each test, the H before them validate.

    Scores take it for one forecast of n components, so that errors are means over series.

    Attributes
    ----------
    name
        For titles.
    series
        In their own units, NaN where missing.
    look_back, horizon, season
        L, H and the period of seasonal naive, in steps.
    """

    name: str
    series: tuple[Array, ...]
    look_back: int
    horizon: int
    season: int

    @property
    def origins(self) -> NDArray[np.int64]:
        """Return the one place that is forecast from: the start of the test part."""
        return np.zeros(1, np.int64)

    @property
    def validation_end(self) -> int:
        """Return the steps of the longest series before the test part."""
        return max(len(values) for values in self.past)

    @property
    def past(self) -> list[Array]:
        """What comes before the test part."""
        return [values[: -self.horizon] for values in self.series]

    @property
    def validation_share(self) -> float:
        """Share of the validation part in what comes before the test part, by the median length."""
        return self.horizon / float(np.median([len(values) for values in self.past]))

    def training_windows(self, stride: int) -> int:
        """Return how many windows are trained on, of which every so many-th is taken."""
        kept = self.look_back + 2 * self.horizon
        return sum((len(values) - kept) // stride + 1 for values in self.past)

    def true_values(self, origins: NDArray[np.int64]) -> Array:
        """Return what came, in own units, (1, H, n)."""
        return np.stack([values[-self.horizon :] for values in self.series], 1)[None]

    def test_values(self) -> Array:
        """Return the test part in own units, (H, n)."""
        values: Array = self.true_values(self.origins)[0]
        return values

    def pasts(self, origins: NDArray[np.int64]) -> list[Array]:
        """Return what comes before the test part in own units, one series after the other."""
        return self.past

    def scale(self) -> tuple[Array, Array]:
        """Mean and standard deviation of each series before the test part, (n,)."""
        deviation = np.array([np.nanstd(values) for values in self.past])
        mean = np.array([np.nanmean(values) for values in self.past])
        return mean, np.where(deviation > 0, deviation, 1.0)

    def naive_error(self) -> Array:
        """Mean absolute error of seasonal naive before the test part, in own units, (n,)."""
        errors = (np.abs(values[self.season :] - values[: -self.season]) for values in self.past)
        return np.array([np.nan if np.isnan(x).all() else np.nanmean(x) for x in errors])

    def z_scored(self) -> list[TimeSeries]:
        """Return what comes before the test part, each series in units of its own."""
        return [
            TimeSeries.from_values(((values - mean) / deviation).astype(np.float32))
            for values, mean, deviation in zip(self.past, *self.scale(), strict=True)
        ]

    def z_scored_covariates(self) -> None:
        """None: a panel has none."""

    def frame(self, *, z_scored: bool) -> pd.DataFrame:
        """Return what comes before the test part as sktime takes it."""
        series = [x.values()[:, 0] for x in self.z_scored()] if z_scored else self.past
        parts = {i: pd.DataFrame({"y": values.astype(float)}) for i, values in enumerate(series)}
        return pd.concat(parts, names=["series", "time"])

    def fingerprint(self) -> bytes:
        """Return a digest of all that results depend on."""
        parts = hashlib.sha256(repr((self.look_back, self.horizon, self.season)).encode())
        for values in self.series:
            parts.update(str(len(values)).encode() + np.ascontiguousarray(values).tobytes())
        return parts.digest()


def make_panel(
    series: Sequence[ArrayLike],
    horizon: int,
    *,
    look_back: int,
    season: int = 1,
    name: str = "panel",
) -> Panel:
    """Check series of one kind, of each of which the last values are to be forecast.

    Parameters
    ----------
    series
        Of one component each, NaN where missing.
    horizon
        Steps to forecast, H; as many before them stop trainings early.
    look_back
        Steps that a network that is trained forecasts from, L.
    season
        Period in steps.
    name
        For titles.

    Raises
    ------
    ValueError
        If there is no series, or one is too short or has no value.

    Examples
    --------
    >>> import numpy as np
    >>> from rimer_forecaster.benchmark import make_panel
    >>> panel = make_panel([np.arange(40.0), np.arange(50.0)], 6, look_back=12, season=4)
    >>> panel.training_windows(1)
    32
    """
    check_sizes(horizon=horizon, look_back=look_back, season=season)
    values = tuple(np.asarray(one, np.float64) for one in series)
    least = max(look_back + 3 * horizon, season + horizon + 1)
    if not values:
        raise ValueError("series is empty: give at least one.")
    for i, one in enumerate(values):
        if one.ndim != 1:
            raise ValueError(f"series {i} has the shape {one.shape}; each must have one dimension.")
        if len(one) < least:
            raise ValueError(
                f"series {i} has {len(one)} values, but needs at least {least} for look_back="
                f"{look_back}, horizon={horizon} and season={season}. Leave it out, or give a "
                "shorter look_back or horizon."
            )
        if np.isnan(one[: -2 * horizon]).all():
            raise ValueError(f"series {i} has no value in its training part. Leave it out.")
    return Panel(name, values, look_back, horizon, season)
