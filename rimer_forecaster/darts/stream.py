"""RimerStream: live forecasts of darts series from a state that is carried, not read again.

Letters: B series, n steps, C components.
"""

from __future__ import annotations

import json
from io import StringIO
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.ts_utils import series2seq
from darts.utils.utils import generate_index

from ..layers import State
from ..network.network import RimerNetwork
from ..network.state import load_state, read_metadata, save_state
from .module import RimerModule
from .series import (
    Series,
    check_values,
    known_covariates,
    stacked,
    static_covariates,
    to_tensor,
)

__all__ = ["RimerStream"]


class RimerStream:
    """A live feed of one or many series under a fitted `RimerModel`; made by its ``stream``.

    What was observed is carried in a state of constant size, so that a new value costs the same
    after ten steps and after ten million. Several series are one batch: they end at the same time,
    and are updated and forecast together.

    Examples
    --------
    >>> import numpy as np
    >>> from darts import TimeSeries
    >>> from rimer_forecaster import RimerModel
    >>> series = TimeSeries.from_values(np.sin(np.arange(300, dtype=np.float32) / 4))
    >>> silent = {"enable_progress_bar": False, "enable_model_summary": False}
    >>> settings = {"n_epochs": 1, "streaming": True, "pl_trainer_kwargs": silent}
    >>> model = RimerModel(input_chunk_length=48, **settings)
    >>> stream = model.fit(series[:200]).stream(series[:200])
    >>> for t in range(200, 210):
    ...     forecast = stream.predict(24)
    ...     stream.update(series[t : t + 1])
    >>> forecast.start_time(), stream.end_time
    (209, 209)
    """

    def __init__(self, module: RimerModule, state: State, last: list[TimeSeries], single: bool):
        self._module, self._state, self._last, self._single = module, state, last, single

    @property
    def state(self) -> State:
        """The state of `RimerNetwork.update`, tensors with the series as their first axis."""
        return self._state

    @property
    def end_time(self) -> Any:
        """Time of the last step that was observed."""
        return self._last[0].end_time()

    @property
    def _network(self) -> RimerNetwork:
        return self._module.network

    @classmethod
    def begin(
        cls,
        module: RimerModule,
        series: Series,
        past_covariates: Series | None,
        future_covariates: Series | None,
    ) -> RimerStream:
        """Observe a history; see `RimerModel.stream`."""
        check_values(series, past_covariates, future_covariates)
        histories = list(series2seq(series))
        ends = {one.end_time() for one in histories}
        if len(ends) > 1 or len({one.freq for one in histories}) > 1:
            raise ValueError(
                "the series of a stream must end at the same time and have the same freq, but they "
                f"end at {', '.join(map(str, sorted(ends)))}. Make a stream of each."
            )
        longest = max(len(one) for one in histories)
        network = module.network
        static = static_covariates(network, histories)
        components = histories[0].n_components
        state = network.init_state(len(histories), components, static)
        # Shorter histories are padded on the left by steps at which nothing was observed.
        target = np.full((len(histories), longest, components), np.nan)
        for i, one in enumerate(histories):
            target[i, longest - len(one) :] = one.values(copy=False)
        times = max(histories, key=len).time_index
        known = known_covariates(network, past_covariates, future_covariates, times, histories)
        with torch.no_grad():
            state = network.update(state, to_tensor(target, network), **known)
        single = isinstance(series, TimeSeries)
        return cls(module, state, [one[-1:] for one in histories], single)

    def update(
        self,
        series: Series,
        past_covariates: Series | None = None,
        future_covariates: Series | None = None,
    ) -> None:
        """Observe what came in.

        Parameters
        ----------
        series
            The steps right after `end_time`, of as many series as the stream has; NaN where a value
            did not come.
        past_covariates, future_covariates
            As the model was fitted with; they must cover these steps.

        Raises
        ------
        ValueError
            If the steps do not follow, a value is infinite, or a covariate does not cover them. The
            stream is then as it was.
        """
        new = list(series2seq(series))
        check_values(new, past_covariates, future_covariates)
        if len(new) != len(self._last):
            raise ValueError(f"the stream is of {len(self._last)} series, but got {len(new)}.")
        for i, (one, last) in enumerate(zip(new, self._last, strict=True)):
            expected = last.end_time() + last.freq
            if one.start_time() != expected or len(one) != len(new[0]):
                raise ValueError(
                    f"series {i} runs from {one.start_time()} to {one.end_time()}, but the stream "
                    f"goes on at {expected} with as many steps for all its series."
                )
            if list(one.components) != list(last.components):
                raise ValueError(
                    f"series {i} has components {list(one.components)}, but the stream has "
                    f"{list(last.components)}. Give the same ones in the same order."
                )
        known = known_covariates(
            self._network, past_covariates, future_covariates, new[0].time_index, new
        )
        target = stacked([one.values(copy=False) for one in new], self._network)
        with torch.no_grad():
            self._state = self._network.update(self._state, target, **known)
        self._last = [
            last.with_times_and_values(one.time_index[-1:], one[-1:].values())
            for last, one in zip(self._last, new, strict=True)
        ]

    def predict(
        self,
        n: int,
        future_covariates: Series | None = None,
        num_samples: int = 1,
        predict_likelihood_parameters: bool = False,
    ) -> Series:
        """Forecast the n steps after `end_time`.

        Parameters
        ----------
        n
            Number of steps; beyond ``output_chunk_length`` forecasts are fed back.
        future_covariates
            As the model was fitted with; they must cover these steps.
        num_samples
            Above 1: that many samples of the model's likelihood. Otherwise its median or location.
        predict_likelihood_parameters
            Whether to return the parameters of the likelihood instead, named as darts names them.

        Returns
        -------
        TimeSeries or list of TimeSeries
            As the stream was made from one or several.

        Raises
        ------
        ValueError
            If `n` is below 1, a covariate does not cover the horizon, or the model has no
            likelihood where one is asked for.
        """
        likelihood = self._module.likelihood
        if likelihood is None and (num_samples > 1 or predict_likelihood_parameters):
            raise ValueError(
                "the model has no likelihood to sample or to give the parameters of; fit one with "
                "likelihood=QuantileRegression(...), for example."
            )
        if n < 1:
            raise ValueError(f"n={n} must be at least 1: it is the number of steps to forecast.")
        start = self.end_time + self._last[0].freq
        times = generate_index(start=start, length=n, freq=self._last[0].freq)
        known = known_covariates(
            self._network, None, future_covariates, times, self._last, horizon=True
        )
        with torch.inference_mode():
            output = self._network.forecast(self._state, n, **known)  # (B, n, C, Q)
            head = self._module.head
            if predict_likelihood_parameters:
                values = likelihood.predict_likelihood_parameters(head(output))[..., None]
            elif num_samples > 1:
                drawn = [likelihood.sample(head(output)) for _ in range(num_samples)]
                values = torch.stack(drawn, -1)
            else:
                values = head.point(output, self._network.config.middle)[..., None]
        forecasts = []
        for last, own in zip(self._last, values.cpu().numpy(), strict=True):
            if predict_likelihood_parameters:
                names = likelihood.component_names(last)
                forecasts.append(TimeSeries(times=times, values=own, components=names))
            else:
                forecasts.append(last.with_times_and_values(times, own))
        return forecasts[0] if self._single else forecasts

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state as safetensors, to go on with by ``RimerModel.load_stream``."""
        described = []
        for one in self._last:
            static = one.static_covariates
            described.append(
                {
                    "end": str(one.end_time()),
                    "freq": one.freq_str if one.has_datetime_index else int(one.freq),
                    "values": one.values().ravel().tolist(),
                    "components": list(one.components),
                    "static": None if static is None else static.to_json(),
                }
            )
        metadata = {"single": json.dumps(self._single), "series": json.dumps(described)}
        save_state(self._state, path, network=self._network, metadata=metadata)

    @classmethod
    def load(cls, module: RimerModule, path: str | PathLike[str]) -> RimerStream:
        """Read a stream; see `RimerModel.load_stream`."""
        state = load_state(path, module.network)
        metadata = read_metadata(path)
        last = []
        for one in json.loads(metadata["series"]):
            if isinstance(one["freq"], int):
                start = int(one["end"])
                times: Any = pd.RangeIndex(start, start + one["freq"], one["freq"])
            else:
                times = pd.DatetimeIndex([one["end"]], freq=one["freq"])
            static = None if one["static"] is None else pd.read_json(StringIO(one["static"]))
            last.append(
                TimeSeries(
                    times=times,
                    values=np.array(one["values"])[None],
                    components=one["components"],
                    static_covariates=static,
                )
            )
        return cls(module, state, last, json.loads(metadata["single"]))
