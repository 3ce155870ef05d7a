"""A model of this package that forecasts from a state, which is carried on from step to step."""

from __future__ import annotations

import numpy as np
from darts import TimeSeries
from numpy.typing import NDArray

from ..darts.stream import RimerStream
from .contender import Array
from .of_darts import Darts

__all__ = ["Streamed"]


class Streamed(Darts):
    """Reads every value once, also those before the test part, and no window again."""

    stream: RimerStream | None = None
    end = 0

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        forecasts = []
        for origin in origins:
            stream = self._read(int(origin))
            forecast = stream.predict(
                self.task.horizon,
                predict_likelihood_parameters=self.quantiles is not None,
                **self.known,
            )
            assert isinstance(forecast, TimeSeries)
            forecasts.append(forecast.values().astype(float))
        values = np.stack(forecasts)
        return values.reshape(*values.shape[:2], self.series.n_components, -1)

    def _read(self, end: int) -> RimerStream:
        """Bring the stream to the time before a step."""
        if self.stream is None or end < self.end:
            self.stream = self.model.stream(self.series[:end], **self.known)
        elif end > self.end:
            self.stream.update(self.series[self.end : end], **self.known)
        self.end = end
        return self.stream
