"""Forecasts from a state: that of a stream, which is carried on, or a window alone.

A state is a nested dict of tensors: the last L steps, and of a stream also what the layers remember
of all that came before. Its size does not depend on how much that was.

Letters: B streams, n new steps, C target components, L look-back, H output steps, P patch length,
T patches, Q output parameters per value.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import State
from .checks import (
    check_finite_forecast,
    check_input,
    check_not_infinite,
    check_places,
    check_sizes,
)
from .config import NetworkConfig
from .initial_state import check_memory, without_kernels
from .linear_skip import LinearSkip
from .missing_values import carry_forward, marks_of_observed, since_first
from .reader import PatchReader
from .scale import window_scale
from .state import Layout, check_state, compact, layout_of
from .window import Patches, Window

__all__ = ["StreamedNetwork"]

_MOST_VALUES = 2**22
"""Values that the scales of a stream's patches are computed from at once; bounds memory."""

_OF_WINDOWS = {"target", "observed", "covariates", "static_covariates", "places", "start"}


class StreamedNetwork(nn.Module):
    """The part of `RimerNetwork` that carries states and forecasts from them."""

    config: NetworkConfig
    skip: LinearSkip
    reader: PatchReader | None

    def __init__(self) -> None:
        super().__init__()
        self._layouts: dict[tuple[Any, ...], Layout] = {}

    @abstractmethod
    def _forecast(self, window: Window, unfinished: bool, remembered: State | None) -> Tensor:
        """Forecast the steps after a window, (B, H, C, Q)."""

    @property
    def dtype(self) -> torch.dtype:
        """In which the network computes."""
        return self.skip.weight.dtype

    @property
    def _limit(self) -> float:
        """Size from which values are too large to square."""
        return torch.finfo(self.dtype).max ** 0.5

    @property
    def device(self) -> torch.device:
        """On which the network computes."""
        return self.skip.weight.device

    def window(
        self,
        past_target: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        static_covariates: Tensor | None = None,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        start: State | None = None,
    ) -> State:
        """Return windows as a state that remembers nothing before them; see `forward`.

        Of the future covariates, the L steps of the window.
        """
        config, L = self.config, past_target.shape[1]
        check_input("past_target", past_target, config.fitted_components, config.lengths)
        check_input("past_covariates", past_covariates, config.past_covariates, (L, L))
        check_input("future_covariates", future_covariates, config.future_covariates, (L, L))
        check_input("static_covariates", static_covariates, config.static_covariates)
        observed = ~past_target.isnan() if mask is None else mask & ~past_target.isnan()
        state: State = {"target": past_target, "observed": observed}
        covariates = [x for x in (past_covariates, future_covariates) if x is not None]
        if covariates:
            state["covariates"] = torch.cat(covariates, -1)
        if static_covariates is not None:
            state["static_covariates"] = static_covariates
        if places is not None and config.crosses:
            check_places(places, past_target.shape[2])
            state["places"] = places
        if start is not None:
            self._check_start(start, len(past_target))
            state["start"] = start
        return state

    def init_state(
        self,
        batch_size: int,
        components: int,
        static_covariates: Tensor | None = None,
        places: Tensor | None = None,
        start: State | None = None,
    ) -> State:
        """Return the state of B streams of C components before their first step.

        Static covariates, places and the start are as in `forward`.
        """
        config = self.config
        check_sizes(batch_size=batch_size, components=components)
        if components != (fitted := config.fitted_components or components):
            raise ValueError(
                f"components={components} of a stream must be the {fitted} that the network was "
                "built for: with components='cross' they read each other."
            )
        check_input("static_covariates", static_covariates, config.static_covariates)
        B, C, L = batch_size, components, config.input_chunk_length
        zeros, n = self.skip.weight.new_zeros, config.past_covariates + config.future_covariates
        state: State = {
            "steps": zeros((), dtype=torch.int64),
            "target": zeros(B, L, C),
            "observed": zeros(B, L, C, dtype=torch.bool),
            "begun": zeros(B, C, dtype=torch.bool),
        }
        if config.crosses:
            places = torch.arange(C) if places is None else places
            check_places(places, C)
            state["places"] = places.to(self.device).expand(B, C).clone()
        if n:
            state["covariates"] = zeros(B, L, n).fill_(float("nan"))  # not known yet
        if static_covariates is not None:
            state["static_covariates"] = static_covariates.expand(B, C, -1).to(self.dtype)
        if start is not None:
            self._check_start(start, B)
        if self.reader is not None:
            static = state.get("static_covariates")
            state["reader"] = self.reader.init_state(B * C, static, start)
        return state

    def observe(
        self,
        past_target: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        static_covariates: Tensor | None = None,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        start: State | None = None,
    ) -> State:
        """Return the state of streams after their history: `init_state`, then `update`."""
        B, _, C = _stream_shape(past_target)
        state = self.init_state(B, C, static_covariates, places, start)
        return self.update(state, past_target, past_covariates, future_covariates, mask)

    def update(
        self,
        state: State,
        past_target: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> State:
        """Carry streams on by n new steps, at a cost that does not depend on those before.

        Observing a history in any number of parts gives what observing it at once does. A window
        moves on, and goes on to remember nothing before it.

        Parameters
        ----------
        state
            Of B streams or windows; it stays as it is.
        past_target
            (B, n, C), in the units of the series, NaN where missing.
        past_covariates, future_covariates
            Of the same n steps, (B, n, ·); one that is missing is taken at its last value.
        mask
            As in `forward`, (B, n, C).

        Returns
        -------
        State
            After the last new step.

        Raises
        ------
        ValueError
            If an input has other sizes than the network or the state, if a value is infinite or too
            large to square, or if the state is that of another model.
        """
        B, n, C = _stream_shape(past_target)
        self._check_state(state, B, C)
        check_input("past_covariates", past_covariates, self.config.past_covariates, (n, n))
        check_input("future_covariates", future_covariates, self.config.future_covariates, (n, n))
        observed = marks_of_observed(past_target, mask)
        if observed is None:
            observed = torch.ones_like(past_target, dtype=torch.bool)
        target = past_target.where(observed, 0.0).to(self.dtype)
        check_not_infinite("past_target", target, self._limit)
        check_not_infinite("past_covariates", past_covariates)
        check_not_infinite("future_covariates", future_covariates)
        new = {"target": target, "observed": observed}
        covariates = [x for x in (past_covariates, future_covariates) if x is not None]
        if covariates:
            new["covariates"] = torch.cat(covariates, -1).to(self.dtype)
        known = {name: torch.cat((state[name], x), 1) for name, x in new.items()}  # (B, L + n, ·)
        if covariates and bool(known["covariates"].isnan().any()):
            known["covariates"] = carry_forward(known["covariates"])
        L = self.config.input_chunk_length
        after = {**state, **{name: x[:, -L:] for name, x in known.items()}}
        if not _is_window(state):
            after["steps"] = state["steps"] + n
            after["begun"] = state["begun"] | observed.any(1)
            if self.reader is not None:
                after["reader"] = self._read_finished(self.reader, state, known, n)
            if not torch.compiler.is_compiling():
                after = compact(after)
        return after

    def _read_finished(self, reader: PatchReader, state: State, known: State, n: int) -> State:
        """Read the patches that n new steps finish; `known` starts L steps before them."""
        L, P = self.config.input_chunk_length, reader.patch_length
        unfinished = int(state["steps"]) % P
        count = (unfinished + n) // P
        B, _, C = known["target"].shape
        at_once = max(1, _MOST_VALUES // (B * C * L))
        remembered, begun = state["reader"], state["begun"]
        for first in range(0, count, at_once):
            T = min(at_once, count - first)
            start = L - unfinished + first * P  # of the first patch, in `known`
            span = slice(start + P - L, start + T * P)
            target, observed = (
                known[name][:, span].unfold(1, L, P).transpose(2, 3).flatten(0, 1)
                for name in ("target", "observed")
            )  # (B, L + (T - 1) P, C) -> (B * T, L, C)
            marks = None if bool(observed.all()) else observed
            location, scale = window_scale(target, marks, self.config.least_scale)  # (B * T, 1, C)
            values = _cut((target[:, -P:] - location) / scale, T)
            missing = mask = covariates = None
            if marks is not None:
                missing = ~_cut(marks[:, -P:], T)
                values, mask = values.where(~missing, 0.0), ~missing.all(-1)
                if "covariates" in known or self.config.read_gaps:
                    mask = since_first(mask) | begun[..., None]
            if "covariates" in known:
                covariates = known["covariates"][:, start : start + T * P].unflatten(1, (T, P))
                covariates = covariates.where(~covariates.isnan(), 0.0)
            patches = Patches(values, missing, mask, covariates)
            remembered = reader.read(patches, state.get("static_covariates"), remembered)
            begun = begun | known["observed"][:, start : start + T * P].any(1)
        return remembered

    def forecast(
        self,
        state: State,
        steps: int | None = None,
        future_covariates: Tensor | None = None,
        feeds_back: Tensor | None = None,
    ) -> Tensor:
        """Forecast the steps after a stream or a window; the state stays as it is.

        Parameters
        ----------
        state
            Of B streams, or windows from `window`.
        steps
            How many, H by default. Beyond H, medians or locations are fed back as if observed; that
            needs a network without past covariates. Fed back alone they would make quantiles too
            narrow: where the network reads gaps, quantiles are as far from the median as after a
            gap, as long as half of what the window observed is in it.
        future_covariates
            Of these steps, (B, steps, n).
        feeds_back
            Where the network reads gaps, which components have medians fed back, (B, C), and do not
            have those of a gap, too, which follow trends but forget seasons; None for all.

        Returns
        -------
        Tensor
            (B, steps, C, Q), see `outputs` of `NetworkConfig`.

        Raises
        ------
        ValueError
            If the state is that of another model, a component has observed nothing in the last
            ``input_chunk_length`` steps, the covariates do not fit, or a forecast overflows before
            it is fed back.
        """
        H, n = self.config.output_chunk_length, self.config.future_covariates
        steps = H if steps is None else steps
        check_sizes(steps=steps)
        check_input("future_covariates", future_covariates, n, (steps, steps))
        check_not_infinite("future_covariates", future_covariates)
        if steps > H and self.config.past_covariates:
            raise ValueError(
                f"steps={steps} is beyond output_chunk_length={H}, where forecasts are fed back, "
                "but the past covariates of those steps are not known."
            )
        if not _is_window(state):
            self.check_stream(state)
        silent = ~state["observed"].any(1)  # (B, C)
        if not _is_window(state) and bool(silent.any()):
            stream, component = silent.nonzero()[0].tolist()
            raise ValueError(
                f"component {component} of stream {stream} has observed nothing in the last "
                f"{self.config.input_chunk_length} steps (input_chunk_length), from which the "
                "level of a forecast comes. Wait for a value, or forecast the others alone."
            )
        outputs: list[Tensor] = []
        gap, enough = state, state["observed"].sum(1, keepdim=True) / 2  # (B, 1, C)
        is_known: Tensor | None = None
        for first in range(0, steps, H):
            coming = None
            if future_covariates is not None:
                coming = future_covariates[:, first : first + H].to(self.dtype)
            found = self._forecast_next(state, coming)
            if is_known is not None:
                wide = self._forecast_next(gap, coming)
                wide = torch.where(is_known[..., None], wide, outputs[-1][:, -1:])
                found = self._around(found, wide)
            outputs.append(found)
            if first + H < steps:
                check_finite_forecast(found)
                point = found[..., self.config.middle]
                check_finite_forecast(point, self._limit)
                if self.config.read_gaps:
                    unknown = torch.full_like(point, float("nan"))
                    gap = self.update(gap, unknown, future_covariates=coming)
                    is_known = gap["observed"].sum(1, keepdim=True) >= enough
                    if feeds_back is not None:
                        point = point.where(feeds_back[:, None] | ~is_known, unknown)
                state = self.update(state, point, future_covariates=coming)
        return torch.cat(outputs, 1)[:, :steps]

    def _around(self, outputs: Tensor, wide: Tensor) -> Tensor:
        """Move other outputs to the medians or locations of these, (B, H, C, Q)."""
        middle = self.config.middle
        moved = wide + (outputs - wide)[..., middle : middle + 1]
        return torch.where(self.skip.is_location, moved, wide)

    def _forecast_next(self, state: State, future_covariates: Tensor | None) -> Tensor:
        """Forecast the next H steps, of which fewer may have covariates."""
        covariates, observed = state.get("covariates"), state["observed"]
        if covariates is not None:
            if future_covariates is None:
                future_covariates = covariates[:, :0, self.config.past_covariates :]
            missing = self.config.output_chunk_length - future_covariates.shape[1]
            coming = F.pad(future_covariates, (self.config.past_covariates, 0, 0, missing))
            covariates = torch.cat((covariates, coming), 1)  # (B, L + H, n)
        window = Window.of(
            state["target"],
            observed if torch.compiler.is_compiling() or not bool(observed.all()) else None,
            covariates,
            state.get("static_covariates"),
            least_scale=self.config.least_scale,
            reads_gaps=self.config.read_gaps,
            places=state.get("places"),
            start=state.get("start"),
        )
        newer = int(state["steps"]) % self.config.patch_length if "steps" in state else 0
        return self._forecast(window, bool(newer), state.get("reader"))

    def check_stream(self, state: State) -> None:
        """Raise a ValueError if a state is not one of this network's streams."""
        target = state.get("target")
        B, _, C = (1, 1, 1) if target is None or target.ndim != 3 else target.shape
        self._check_layout(state, B, C)
        if "places" in state:
            check_places(state["places"], C)

    def _check_start(self, start: State, batch_size: int) -> None:
        """Raise a ValueError if a start is not of the memory of these layers."""
        check_memory(start, None if self.reader is None else self.reader.layers, batch_size)

    def _check_state(self, state: State, batch_size: int, components: int) -> None:
        """Raise a ValueError if the state is not one of this network's for such streams."""
        if not _is_window(state):
            self._check_layout(state, batch_size, components)

    def _check_layout(self, state: State, batch_size: int, components: int) -> None:
        key = (batch_size, components, self.dtype)
        layout = self._layouts.get(key)
        if layout is None:  # a state may be megabytes: it is made once
            n = self.config.static_covariates
            static = self.skip.weight.new_zeros(*key[:2], n) if n else None
            layout = layout_of(self.init_state(*key[:2], static))
            self._layouts = {key: layout}  # as a whole: other threads may be reading it
        check_state(without_kernels(state), layout)


def _is_window(state: State) -> bool:
    return {"target", "observed"} <= state.keys() <= _OF_WINDOWS


def _cut(x: Tensor, T: int) -> Tensor:
    """Last patches of T windows each, (B * T, P, C) -> (B, C, T, P)."""
    return x.mT.unflatten(0, (-1, T)).transpose(1, 2)


def _stream_shape(past_target: Tensor) -> torch.Size:
    if past_target.ndim != 3 or not past_target.shape[1]:
        raise ValueError(
            f"past_target has shape {tuple(past_target.shape)}; it must be (B, n, C) with at least "
            "one step."
        )
    return past_target.shape
