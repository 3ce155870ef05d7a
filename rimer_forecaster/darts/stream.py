"""RimerStream: live forecasts of darts series from a state that is carried, not read again.

Letters: B series, n steps, C components.
"""

from __future__ import annotations

import copy
import json
import weakref
from numbers import Integral
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.ts_utils import series2seq
from darts.utils.utils import generate_index

from ..layers import State
from ..network import RimerNetwork
from ..network.state import KnownWeights, load_described_state, save_state
from .components import places_in
from .module import RimerModule
from .schemas import described, series_from
from .series import (
    Series,
    check_one_sample,
    check_values,
    known_covariates,
    stacked,
    static_covariates,
    step_of,
    to_tensor,
)

if TYPE_CHECKING:
    from .base import NetworkModel

__all__ = ["RimerStream"]


class RimerStream:
    """A live feed of one or many series under a fitted `RimerModel`; made by its ``stream``.

    What was observed is carried in a state of constant size, so that a new value costs the same
    after ten steps and after ten million. Several series are one batch: they end at the same time,
    and are updated and forecast together.

    A stream belongs to the weights that it began with. Once its model has been trained on or has
    loaded others it says so; begin another one then. Threads may share a stream. A copy, by
    deepcopy or pickle, goes its own way; one that was pickled takes the weights with it.

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

    def __init__(
        self, module: RimerModule, place: _Place, single: bool, model: NetworkModel | None
    ) -> None:
        self._module, self._place, self._single = module, place, single
        self._model = _nothing if model is None else weakref.ref(model)
        self._weights = KnownWeights(module.network)

    @property
    def state(self) -> State:
        """The state of `RimerNetwork.update`, tensors with the series as their first axis."""
        return self._place.state

    @property
    def end_time(self) -> Any:
        """Time of the last step that was observed."""
        return self._place.last[0].end_time()

    def __repr__(self) -> str:
        state, last = self._place
        count = f"{len(last)} series" if len(last) > 1 else "1 series"
        return (
            f"{type(self).__name__}({count} of components {list(last[0].components)}, "
            f"{int(state['steps'])} steps of {step_of(last[0])} read, end_time={self.end_time})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: the weights too, which then belong to no model."""
        module = self._owner()
        with module.turn:
            self._network_of(module)
            return {
                "module": module,
                "place": self._place,
                "single": self._single,
                "fingerprint": self._weights.fingerprint,
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        fingerprint = state.pop("fingerprint")
        self.__init__(**state, model=None)  # type: ignore[misc]
        if self._weights.fingerprint != fingerprint:  # a training began while it was written
            raise _weights_are_gone()

    def __deepcopy__(self, memo: dict[int, Any]) -> RimerStream:
        """Return a stream of the same model: what streams hold never changes in place."""
        return copy.copy(self)

    def __copy__(self) -> RimerStream:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def _owner(self) -> RimerModule:
        """Return the module to read by: that of the model, if there still is one.

        Its turn is to be held by a plain ``with``, whose lock no interrupt can leave behind.
        """
        model = self._model()
        module = self._module if model is None else model.model
        if module is None:
            raise _weights_are_gone()
        return module

    def _network_of(self, module: RimerModule) -> RimerNetwork:
        """Return the network, if it has the weights that the stream began with."""
        network = module.network_to_read()
        if not self._weights.are_of(network):
            raise _weights_are_gone()
        return network

    @classmethod
    def begin(
        cls,
        model: NetworkModel,
        series: Series,
        past_covariates: Series | None,
        future_covariates: Series | None,
        start: State | None = None,
    ) -> RimerStream:
        """Observe a history; see `NetworkModel.stream`."""
        histories = _checked(series, past_covariates, future_covariates)
        first = histories[0]
        for i, one in enumerate(histories):
            if one.end_time() != first.end_time() or one.freq != first.freq:
                raise ValueError(
                    "the series of a stream must end at the same time and have the same step, but "
                    f"series 0 ends at {first.end_time()} in steps of {step_of(first)}, and series "
                    f"{i} at {one.end_time()} in steps of {step_of(one)}. Make a stream of each."
                )
            if one.n_components != first.n_components:
                raise ValueError(
                    "the series of a stream must have as many components each, but series 0 has "
                    f"{first.n_components}, and series {i} {one.n_components}. Make a stream of "
                    "each."
                )
        module, longest = model.model, max(map(len, histories))
        with module.turn, torch.no_grad():
            network = module.network_to_read()
            static = static_covariates(network, histories)
            places = places_in(network.config, [one.schema(copy=False) for one in histories])
            state = network.init_state(len(histories), first.n_components, static, places, start)
            # Shorter histories are padded on the left by steps at which nothing was observed.
            target = np.full((len(histories), longest, first.n_components), np.nan)
            for i, one in enumerate(histories):
                target[i, longest - len(one) :] = one.values(copy=False)
            times = max(histories, key=len).time_index
            known = known_covariates(network, past_covariates, future_covariates, times, histories)
            state = network.update(state, to_tensor(target, network), **known)
            last = tuple(_ended(one, _times_from(one.end_time(), one, 1)) for one in histories)
            return cls(module, _Place(state, last), isinstance(series, TimeSeries), model)

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
            If the steps do not follow or are not those of the stream, a value is infinite, a
            covariate does not cover them, or the weights are gone. The stream is then as it was.
        """
        new = _checked(series, past_covariates, future_covariates)
        module = self._owner()
        with module.turn, torch.no_grad():
            network, (state, last) = self._network_of(module), self._place
            if len(new) != len(last):
                raise ValueError(f"the stream is of {len(last)} series, but got {len(new)}.")
            for i, (one, before) in enumerate(zip(new, last, strict=True)):
                _check_follows(i, one, before, len(new[0]))
            times = new[0].time_index
            known = known_covariates(network, past_covariates, future_covariates, times, new)
            target = stacked([one.values(copy=False) for one in new], network)
            state = network.update(state, target, **known)
            end = _times_from(new[0].end_time(), last[0], 1)
            # One assignment, which no interrupt can halve.
            self._place = _Place(state, tuple(_ended(one, end) for one in last))

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
            Above 1: that many samples of the model's likelihood. 1: its median or location.
        predict_likelihood_parameters
            Whether to return the parameters of the likelihood instead, named as darts names them.

        Returns
        -------
        TimeSeries or list of TimeSeries
            As the stream was made from one or several.

        Raises
        ------
        ValueError
            If `n` or `num_samples` is below 1, a covariate does not cover the horizon, the model
            has no likelihood where one is asked for, or the weights are gone.
        """
        _check_count("n", n, "steps to forecast")
        _check_count("num_samples", num_samples, "samples to draw")
        if predict_likelihood_parameters and num_samples > 1:
            raise ValueError(
                f"num_samples={num_samples} is not for predict_likelihood_parameters=True: the "
                "parameters are no samples. Leave one of the two out."
            )
        module = self._owner()
        likelihood, head = module.likelihood, module.head
        with module.turn, torch.inference_mode():
            network = self._network_of(module)
            if likelihood is None and (num_samples > 1 or predict_likelihood_parameters):
                raise ValueError(
                    "the model has no likelihood to sample or to give the parameters of; fit one "
                    "with likelihood=QuantileRegression(...), for example."
                )
            state, last = self._place
            times = _times_after(last[0], n)
            known = known_covariates(
                network, None, future_covariates, times, list(last), horizon=True
            )
            output = network.forecast(state, n, **known)
            parameters = head(output)  # (B, n, C, Q)
            if predict_likelihood_parameters:
                values = likelihood.predict_likelihood_parameters(parameters)[..., None]
            elif num_samples > 1:
                drawn = [likelihood.sample(parameters) for _ in range(num_samples)]
                values = torch.stack(drawn, -1)
            else:
                values = head.point(output, network.config.middle)[..., None]
            forecasts = []
            for one, own in zip(last, values.cpu().numpy(), strict=True):
                if predict_likelihood_parameters:
                    names = likelihood.component_names(one)
                    forecasts.append(TimeSeries(times=times, values=own, components=names))
                else:
                    forecasts.append(one.with_times_and_values(times, own))
        return forecasts[0] if self._single else forecasts

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state as safetensors, to go on with by ``RimerModel.load_stream``.

        The file holds a digest of all its content, and the fingerprint of the weights.

        Raises
        ------
        ValueError
            If the weights are gone, the state is not finite, or a part of a series cannot be
            written exactly, such as an offset that is none of pandas' own.
        OSError
            If the file cannot be written; one that was there before is then as it was.
        """
        module = self._owner()
        with module.turn:
            network, (state, last) = self._network_of(module), self._place
            metadata = {
                "single": json.dumps(self._single),
                "series": json.dumps([described(one) for one in last]),
            }
            save_state(state, path, network=network, metadata=metadata)

    @classmethod
    def load(cls, model: NetworkModel, path: str | PathLike[str]) -> RimerStream:
        """Read a stream; see `NetworkModel.load_stream`."""
        module = model.model
        with module.turn:
            network = module.network_to_read()
            state, metadata = load_described_state(path, network)
            if "series" not in metadata:
                raise ValueError(
                    f"{fspath(path)!r} was not saved by RimerStream.save. "
                    "rimer_forecaster.network.state.load_state returns its state."
                )
            last = tuple(series_from(one) for one in json.loads(metadata["series"]))
            return cls(module, _Place(state, last), json.loads(metadata["single"]), model)


class _Place(NamedTuple):
    """Where a stream stands; replaced as a whole.

    Attributes
    ----------
    state
        After the last step, of all series.
    last
        Of each series its last step: the time, and what forecasts take over. Values are not read.
    """

    state: State
    last: tuple[TimeSeries, ...]


def _nothing() -> None:
    """Stand in for a weak reference to a model, where there is none."""


def _checked(
    series: Series, past_covariates: Series | None, future_covariates: Series | None
) -> list[TimeSeries]:
    """Return the series as a list, of values that a stream can read."""
    if not isinstance(series, TimeSeries) and not series:
        raise ValueError(f"series={series!r} is empty: a stream is of at least one series.")
    check_values(series, past_covariates, future_covariates)
    check_one_sample(series, past_covariates, future_covariates)
    return list(series2seq(series))


def _check_count(name: str, x: Any, what: str) -> None:
    if isinstance(x, bool) or not isinstance(x, Integral) or x < 1:
        raise ValueError(f"{name}={x!r} must be at least 1: it is the number of {what}.")


def _times_from(start: Any, series: TimeSeries, n: int) -> pd.Index:
    """Return n time points in the steps of a series."""
    return generate_index(start=start, length=n, freq=series.freq, name=series.time_index.name)


def _times_after(last: TimeSeries, n: int) -> pd.Index:
    """Return the n time points after the last step."""
    return _times_from(last.end_time() + last.freq, last, n)


def _ended(series: TimeSeries, end: pd.Index) -> TimeSeries:
    """Return a series of its last step alone, which keeps no value and no history in memory."""
    return series.with_times_and_values(end, np.full((1, series.n_components), np.nan))


def _check_follows(i: int, one: TimeSeries, last: TimeSeries, length: int) -> None:
    """Raise a ValueError unless a series goes on where another ended, in its steps."""
    times = _times_after(last, len(one))
    # Three time points or more, of which pandas infers a step, are in its steps if they are there.
    same_step = one.freq == last.freq or len(one) > 2
    if len(one) != length or not same_step or not bool((one.time_index == times).all()):
        raise ValueError(
            f"series {i} runs from {one.start_time()} to {one.end_time()} in steps of "
            f"{step_of(one)}, but the stream goes on at {times[0]} in steps of {step_of(last)}, "
            "with as many steps for all its series."
        )
    if list(one.components) != list(last.components):
        raise ValueError(
            f"series {i} has components {list(one.components)}, but the stream has "
            f"{list(last.components)}. Give the same ones in the same order."
        )


def _weights_are_gone() -> ValueError:
    return ValueError(
        "the weights that this stream began with are gone: its model has been trained, has loaded "
        "others or was converted since. Its state says nothing to the new ones: begin another "
        "stream with the model's stream."
    )
