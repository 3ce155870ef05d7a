"""EdgeForecaster: streams of a trained network on a device, by NumPy and safetensors alone.

Letters: n new steps, C target components, L look-back, P patch length, T patches, H output steps,
Q outputs per value.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from .files import damaged, read_arrays, write_arrays
from .layers import transposed
from .network_file import NetworkFile
from .reader import Reader
from .window import interpolated, resolution, window_scale

__all__ = ["EdgeForecaster", "EdgeState"]

EdgeState: TypeAlias = dict[str, NDArray[Any]]
"""State of one stream of C components, arrays by path; its size does not depend on the history."""

_AT_ONCE = 32
"""Patches that are read at once; bounds memory."""

_LARGEST = float(np.finfo(np.float32).max ** 0.5)


class EdgeForecaster:
    """Forecasts from the state of a stream, by the weights that ``export_edge`` wrote.

    It needs NumPy and safetensors, and neither torch nor pandas. Its forecasts are those of the
    network that was exported, up to rounding in single precision, and so are its states: a stream
    that `rimer_forecaster.network.state.save_state` wrote goes on here, and the other way round.

    Parameters
    ----------
    path
        File of `rimer_forecaster.edge.export.export`, or of ``export_edge`` of a model.

    Attributes
    ----------
    input_chunk_length, output_chunk_length
        L and H, in steps.
    outputs
        What the Q outputs per value are: ``"location"``, or probabilities of quantiles.
    middle
        Which of them is the point forecast: the location, or the median.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no exported network, or is of another format.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from rimer_forecaster.edge import EdgeForecaster
    >>> from rimer_forecaster.edge.export import export
    >>> from rimer_forecaster.zero_shot import zero_shot_network
    >>> path = Path(mkdtemp()) / "rimer-zero.safetensors"
    >>> export(zero_shot_network(), path)  # where there is torch
    >>> edge = EdgeForecaster(path)  # where there is none
    >>> state = edge.observe(np.sin(np.arange(300) / 4))
    >>> state = edge.update(state, [0.3])
    >>> edge.forecast(state, 24).shape
    (24, 1, 9)
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        file = NetworkFile.read(path)
        config = file.config
        try:
            self._reader = None if config["layers"] is None else Reader(file)
            self._skip = transposed(file.weight("skip.weight"))  # (reach, H)
            self._offset = file.weight("skip.offset")
        except KeyError as error:
            raise damaged(path, f"it lacks {error}") from error
        self.input_chunk_length: int = config["input_chunk_length"]
        self.output_chunk_length: int = config["output_chunk_length"]
        self.outputs: tuple[str | float, ...] = tuple(config["outputs"])
        self.middle = 0
        if self.outputs[0] != "location":
            self.middle = int(np.abs(np.array(self.outputs, dtype=float) - 0.5).argmin())
        self._patch_length: int = config["patch_length"]
        self._squash, self._read_gaps = bool(config["squash"]), bool(config["read_gaps"])
        self._least_scale: float = config["least_scale"]
        self._fingerprint = file.fingerprint

    def init_state(self, components: int = 1) -> EdgeState:
        """Return the state of a stream of C components before its first step.

        Raises
        ------
        ValueError
            If `components` is not a whole number of at least 1.
        """
        C, L = _at_least_1("components", components), self.input_chunk_length
        return {
            "steps": np.zeros((), np.int64),
            "target": np.zeros((1, L, C), np.float32),
            "observed": np.zeros((1, L, C), np.bool_),
            "begun": np.zeros((1, C), np.bool_),
            **({} if self._reader is None else self._reader.init_state(C)),
        }

    def observe(self, values: ArrayLike) -> EdgeState:
        """Return the state of a stream after its history, (n,) or (n, C); see `update`."""
        new = _values(values)
        return self.update(self.init_state(new.shape[1]), new)

    def update(self, state: EdgeState, values: ArrayLike) -> EdgeState:
        """Carry a stream on by new steps, at a cost that does not depend on those before.

        Observing a history in any number of parts gives what observing it at once does.

        Parameters
        ----------
        state
            From `observe`, `update` or `load`; it stays as it is.
        values
            (n, C), or (n,) for one component, in the units of the series; NaN where missing.

        Returns
        -------
        EdgeState
            After the last new step.

        Raises
        ------
        ValueError
            If a value is infinite or too large to square, there are other components than in the
            state, or the state is that of another network.
        """
        new = _values(values)
        n, C = new.shape
        self._check(state, C)
        observed = ~np.isnan(new)
        target = np.where(observed, new, 0.0).astype(np.float32)
        target = np.concatenate((state["target"][0], target))  # (L + n, C)
        observed = np.concatenate((state["observed"][0], observed))
        after = dict(state)
        if self._reader is not None:
            for patches in self._finished(state, target, observed, n):
                after.update(self._reader.read(*patches, after))
        L = self.input_chunk_length
        after["steps"] = np.asarray(state["steps"] + n)
        after["begun"] = state["begun"] | observed[L:].any(0)
        after["target"], after["observed"] = target[None, -L:].copy(), observed[None, -L:].copy()
        return after

    def _finished(
        self, state: EdgeState, target: NDArray[np.float32], observed: NDArray[np.bool_], n: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield values, missing marks (C, T, P) and mask (C, T) of patches that new steps finish.

        Target and marks start L steps before the new ones.
        """
        L, P = self.input_chunk_length, self._patch_length
        unfinished = int(state["steps"]) % P
        count, begun = (unfinished + n) // P, state["begun"][0]
        for first in range(0, count, _AT_ONCE):
            T = min(_AT_ONCE, count - first)
            start = L - unfinished + first * P  # of the first patch
            span = slice(start + P - L, start + T * P)
            values, marks = _windows(target[span], L, P), _windows(observed[span], L, P)
            location, scale = window_scale(values, marks, self._least_scale)
            values, marks = values[:, -P:], marks[:, -P:]
            values = np.where(marks, (values - location) / scale, np.float32(0))
            mask: NDArray[np.bool_] = np.any(marks, 1)  # (T, C)
            if self._read_gaps:
                mask = np.logical_or.accumulate(np.concatenate((begun[None], mask)))[1:]
            begun = begun | marks.any((0, 1))
            yield values.transpose(2, 0, 1), ~marks.transpose(2, 0, 1), mask.T

    def forecast(self, state: EdgeState, steps: int | None = None) -> NDArray[np.float32]:
        """Forecast the steps after a stream; the state stays as it is.

        Parameters
        ----------
        state
            From `observe`, `update` or `load`.
        steps
            How many, H by default. Beyond H, medians or locations are fed back as if observed, and
            quantiles are as far from them as `RimerNetwork.forecast` says.

        Returns
        -------
        ndarray
            (steps, C, Q) in the units of the series; quantiles are in ascending order.

        Raises
        ------
        ValueError
            If a component has observed nothing in the last ``input_chunk_length`` steps, the state
            is that of another network, or a forecast overflows.
        """
        H = self.output_chunk_length
        steps = H if steps is None else _at_least_1("steps", steps)
        self._check(state)
        silent = ~state["observed"][0].any(0)
        if silent.any():
            raise ValueError(
                f"component {int(silent.argmax())} has observed nothing in the last "
                f"{self.input_chunk_length} steps (input_chunk_length), from which the level of a "
                "forecast comes. Wait for a value, or forecast the others alone."
            )
        parts: list[NDArray[np.float32]] = []
        gap, enough = state, state["observed"][0].sum(0) / 2  # (C,)
        is_known: NDArray[np.bool_] | None = None
        for first in range(0, steps, H):
            found = self._forecast_next(state)
            if is_known is not None:
                wide = np.where(is_known[:, None], self._forecast_next(gap), parts[-1][-1:])
                found = wide + (found - wide)[..., self.middle, None]
            parts.append(found)
            feeds_back = first + H < steps
            if not (np.abs(found) < (_LARGEST if feeds_back else np.inf)).all():
                raise ValueError(
                    f"the forecast beyond step {first} is not finite, or too large to be fed back. "
                    "Values are very large, or forecasts that were fed back. Forecast fewer steps."
                )
            if feeds_back:
                point = found[..., self.middle]
                if self._read_gaps:
                    gap = self.update(gap, np.full_like(point, np.nan))
                    is_known = gap["observed"][0].sum(0) >= enough
                state = self.update(state, point)
        return np.concatenate(parts)[:steps]

    def _forecast_next(self, state: EdgeState) -> NDArray[np.float32]:
        """Forecast the next H steps, (H, C, Q)."""
        P, observed = self._patch_length, state["observed"][0]
        location, scale = (
            x[0] for x in window_scale(state["target"], state["observed"], self._least_scale)
        )  # (1, C)
        values = np.where(observed, (state["target"][0] - location) / scale, np.float32(0))
        reach = len(self._skip)
        window = interpolated(values, ~observed)[len(values) - reach :].T  # (C, reach)
        linear = (np.arcsinh(window) if self._squash else window) @ self._skip  # (C, H)
        Q = len(self.outputs)
        forecast = linear[..., None] + self._offset.reshape(-1, Q)  # (C, H, Q)
        if self._reader is not None:
            read = state
            if int(state["steps"]) % P:  # a patch of the last P steps, which overlaps with another
                marks = ~observed[-P:].T[:, None]  # (C, 1, P)
                mask = ~marks.all(-1) | self._read_gaps
                read = self._reader.read(values[-P:].T[:, None], marks, mask, state)
            forecast = forecast + self._reader.outputs(read).reshape(forecast.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks
            if self._squash:
                forecast = np.sinh(forecast)
            location, scale = location.T[..., None], scale.T[..., None]
            forecast = np.where(
                scale > resolution(location), location + scale * forecast, location
            ).transpose(1, 0, 2)
        return np.sort(forecast, -1) if Q > 1 else forecast

    def save(self, state: EdgeState, path: str | PathLike[str]) -> None:
        """Write a state as safetensors, with the fingerprint of the network it belongs to.

        Raises
        ------
        ValueError
            If the state is that of another network, or is not finite.
        OSError
            If the file cannot be written; one that was there before is then as it was.
        """
        self._check(state)
        _check_finite(state)
        write_arrays(path, state, {"network": self._fingerprint})

    def load(self, path: str | PathLike[str]) -> EdgeState:
        """Read a state that `save` wrote, or torch's side for one stream.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, or the state is of a network of other weights, of several
            streams, or not finite.
        """
        state, metadata = read_arrays(path)
        if metadata.get("network") != self._fingerprint:
            raise ValueError(
                f"the state in {fspath(path)!r} was not saved with this network: its weights are "
                "others. Load the file it was exported with, or begin a new state with observe."
            )
        if (streams := len(np.atleast_1d(state.get("target", [0])))) > 1:
            raise ValueError(
                f"{fspath(path)!r} holds {streams} streams, and an edge state is one: save each in "
                "a file of its own. The components of one stream can be many."
            )
        self._check(state)
        _check_finite(state)
        return state

    def _check(self, state: EdgeState, components: int | None = None) -> None:
        """Raise a ValueError that names the first array which is not of such a stream.

        Without a number of components it is that of the state.
        """
        if components is None:
            components = state["target"].shape[-1] if "target" in state else 1
        expected = self._layout(components)
        for name in sorted(state.keys() | expected.keys()):
            if name not in state or name not in expected:
                what = "lacks" if name not in state else "has, and this network's has not,"
                raise _other(f"the state {what} {name!r}")
            given, wanted = (state[name].shape, state[name].dtype), expected[name]
            if given != wanted:
                raise _other(
                    f"{name!r} in the state is of shape {given[0]} and {given[1]}, expected "
                    f"{wanted[0]} and {wanted[1]}"
                )

    def _layout(self, components: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        C, L = components, self.input_chunk_length
        flags = np.dtype(np.bool_)
        read = {} if self._reader is None else self._reader.layout
        return {
            "steps": ((), np.dtype(np.int64)),
            "target": ((1, L, C), np.dtype(np.float32)),
            "observed": ((1, L, C), flags),
            "begun": ((1, C), flags),
            **{path: ((C, *shape), np.dtype(np.float32)) for path, shape in read.items()},
        }


def _windows(x: NDArray[Any], length: int, every: int) -> NDArray[Any]:
    """Windows that begin every few steps, (n, C) -> (T, length, C)."""
    return sliding_window_view(x, length, 0)[::every].transpose(0, 2, 1)


def _values(values: ArrayLike) -> NDArray[np.float64]:
    """Return new steps as (n, C), or raise a ValueError that names what is wrong with them."""
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise ValueError(f"values are of dtype {given.dtype}; they must be numbers, or NaN.")
    if given.ndim not in (1, 2) or not given.size:
        raise ValueError(
            f"values have shape {given.shape}; they must be (n, C), or (n,) for one component, "
            "with at least one step."
        )
    new: NDArray[np.float64] = given.astype(np.float64).reshape(len(given), -1)
    wild = np.abs(new) >= _LARGEST  # False for NaN
    if wild.any():
        step, component = np.argwhere(wild)[0]
        raise ValueError(
            f"values hold {new[step, component]} in step {step}, component {component}: they must "
            f"be below {_LARGEST:.0e}, as they are squared, or NaN where missing."
        )
    return new


def _at_least_1(name: str, x: Any) -> int:
    if isinstance(x, bool) or not isinstance(x, (int, np.integer)) or x < 1:
        raise ValueError(f"{name}={x!r} must be a whole number of at least 1.")
    return int(x)


def _check_finite(state: EdgeState) -> None:
    for name, x in state.items():
        if not np.isfinite(x).all():
            raise ValueError(
                f"{name!r} in the state is not finite: values were so large that the state "
                "overflowed. Begin a new one with observe, without them."
            )
    if state["steps"] < 0:
        raise ValueError(f"the state counts {state['steps']} steps; there cannot be fewer than 0.")


def _other(what: str) -> ValueError:
    return ValueError(
        f"{what}: it is the state of another network, or of other components. Begin a new one with "
        "observe."
    )
