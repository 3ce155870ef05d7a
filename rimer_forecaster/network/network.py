"""The forecasting network that both doors share: tensors in, tensors out.

Two ways to forecast: from a window, and from the state of a stream, which is carried from one
observation to the next.

A window is scaled by its own mean and standard deviation, cut into patches, one token each, and
read by the layers, every component on its own. A linear head turns the last token into the whole
horizon, on top of linear skips: one from the target's window to the horizon, and one filter over
the lags of the covariates. Head and skips start at zero and learn side by side, the layers what
the skips leave over.

Letters: B windows, L input steps, H output steps, C target components, P patch length, T tokens,
D width, Q output parameters per value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Mixer, RandomModule, State
from .config import (
    check_finite_forecast,
    check_input,
    check_network_arguments,
    check_not_infinite,
    check_outputs,
    check_sizes,
)
from .missing_values import carry_forward, interpolated, marks_of_observed, since_first
from .reader import PatchReader
from .scale import scaled_softplus_input, window_scale
from .stream_state import Layout, check_state, layout_of

__all__ = ["RimerNetwork", "default_patch_length"]

_MOST_VALUES = 2**22
"""Values that the scales of a stream's patches are computed from at once; bounds memory."""


def default_patch_length(input_chunk_length: int) -> int:
    """Patch length for a look-back: 16 steps, 24 beyond a look-back of 128.

    A window shorter than four such patches takes a quarter of its length, because a recurrence
    over one token has nothing to carry.
    """
    return min(16 if input_chunk_length <= 128 else 24, max(1, input_chunk_length // 4))


class RimerNetwork(nn.Module):
    """RWKV-7 over the patches of a window, with linear skips and a direct multi-step head.

    Parameters
    ----------
    input_chunk_length, output_chunk_length
        L and H, in steps.
    past_covariates, future_covariates, static_covariates
        Number of components. Past covariates are known over the window, future ones over the
        window and the horizon, static ones once per target component.
    outputs
        What the Q outputs per value are: ``"location"``, ``"scale"``, or a number for the quantile
        of that probability. Locations and quantiles come out in the units of the series, and
        quantiles in ascending order. A scale comes out such that its softplus is in the units of
        the series. Either all outputs are quantiles, of ascending probabilities, or none.
    layers
        Layer string, see `rimer_forecaster.layers.layer_string`; None for the linear skips alone.
    width, head_size
        Channels of a token, and of a head; the second must divide the first.
    patch_length
        Steps per token, at most L; None takes `default_patch_length`.
    dropout
        Probability of zeroing an element of what a layer adds, in [0, 1).
    layers_rate
        Factor of the learning rates of all but the linear skips, above 0.
    initial_state
        What RWKV-7 layers start from: ``"zero"``; ``"learned"``, one state for all series; or
        ``"static"``, a learned one plus a linear map of the static covariates.
    streaming
        Whether training prepares for streams: unfinished patches, and states that were carried from
        far. It serves streamed forecasts, and may cost windowed ones: see docs/streaming.md.
    least_scale
        Smallest standard deviation that a window is divided by, in the units of the series. Above
        zero, the forecast of a constant window can be another value: for counts, say.
    generator
        Source of the initial weights; the process's own generator if None.

    Raises
    ------
    ValueError
        If a size is out of range, the head size does not divide the width, the layer string cannot
        be read, or the outputs are neither locations and scales nor ascending probabilities.

    Examples
    --------
    >>> import torch
    >>> from rimer_forecaster import RimerNetwork
    >>> network = RimerNetwork(input_chunk_length=96, output_chunk_length=24)
    >>> network(torch.randn(8, 96, 3)).shape
    torch.Size([8, 24, 3, 1])
    """

    is_location: Tensor

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        *,
        past_covariates: int = 0,
        future_covariates: int = 0,
        static_covariates: int = 0,
        outputs: Sequence[str | float] = ("location",),
        layers: str | None = "rwkv7*1",
        width: int = 32,
        head_size: int = 16,
        patch_length: int | None = None,
        dropout: float = 0.1,
        layers_rate: float = 1.0,
        initial_state: str = "zero",
        streaming: bool = False,
        least_scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_network_arguments(
            input_chunk_length=input_chunk_length,
            output_chunk_length=output_chunk_length,
            layers=layers,
            width=width,
            head_size=head_size,
            patch_length=patch_length,
            dropout=dropout,
            layers_rate=layers_rate,
            initial_state=initial_state,
        )
        check_outputs(outputs)
        if initial_state == "static" and not static_covariates:
            raise ValueError(
                "initial_state='static' needs static covariates to make the state from; give some, "
                "or use 'learned'."
            )
        if not 0 <= least_scale < math.inf:
            raise ValueError(f"least_scale={least_scale} must be at least 0, and finite.")
        patch_length = patch_length or default_patch_length(input_chunk_length)
        self.arguments: dict[str, Any] = {
            "input_chunk_length": int(input_chunk_length),
            "output_chunk_length": int(output_chunk_length),
            "past_covariates": int(past_covariates),
            "future_covariates": int(future_covariates),
            "static_covariates": int(static_covariates),
            "outputs": [x if isinstance(x, str) else float(x) for x in outputs],
            "layers": layers,
            "width": int(width),
            "head_size": int(head_size),
            "patch_length": int(patch_length),
            "dropout": float(dropout),
            "layers_rate": float(layers_rate),
            "initial_state": initial_state,
            "streaming": bool(streaming),
            "least_scale": float(least_scale),
        }
        """What the constructor was given, as plain values: JSON can hold them."""
        self.outputs, self.least_scale = tuple(outputs), least_scale
        self._layouts: dict[tuple[Any, ...], Layout] = {}
        self.input_chunk_length, self.output_chunk_length = input_chunk_length, output_chunk_length
        self.past_covariates, self.future_covariates = past_covariates, future_covariates
        self.static_covariates = static_covariates
        L, H, Q = input_chunk_length, output_chunk_length, len(self.outputs)
        n_covariates = past_covariates + future_covariates
        # Modules are built without storage, which draws nothing from the process's generator.
        with torch.device("meta"):
            self.skip = nn.Linear(L, H, bias=False)
            self.offset = nn.Parameter(torch.empty(H * Q))
            self.lag_filter = (
                nn.Conv1d(n_covariates, 1, L + 1, bias=False) if n_covariates else None
            )
            self.reader = None
            if layers is not None:
                self.reader = PatchReader(
                    layers,
                    width=width,
                    head_size=head_size,
                    patch_length=patch_length,
                    dropout=dropout,
                    covariates=n_covariates,
                    static_covariates=static_covariates,
                    outputs=H * Q,
                    initial_state=initial_state,
                    streaming=streaming,
                )
        # Once: to walk through all modules at every step of training would cost 1 % of it.
        self._mixers = [module for module in self.modules() if isinstance(module, Mixer)]
        # As in the training of linear models, which is what these are.
        self.learning_rates = {"skip.weight": 10.0, "offset": 10.0}
        if self.lag_filter is not None:  # it sums over many more inputs, all of which move at once
            self.learning_rates["lag_filter.weight"] = 3.0
        self.to_empty(device=torch.get_default_device())
        is_location = torch.tensor([output != "scale" for output in self.outputs])
        self.register_buffer("is_location", is_location, persistent=False)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew.

        Skips and head start at zero and the offset at a standard normal distribution, so that the
        first forecast of a window is the normal distribution of its values.
        """
        nn.init.zeros_(self.skip.weight)
        start = torch.tensor([_standard_normal(output) for output in self.outputs])
        self.offset.copy_(start.repeat(self.output_chunk_length))
        if self.lag_filter is not None:
            nn.init.zeros_(self.lag_filter.weight)
        if self.reader is not None:
            self.reader.reset_parameters(generator)

    def forward(
        self,
        past_target: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        static_covariates: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Forecast the H steps after each window.

        NaN is a missing value. In the target it changes nothing but by its absence, as left padding
        does. A missing covariate is taken at its last value in the window; before its first one it
        contributes nothing.

        Parameters
        ----------
        past_target
            (B, L, C), in the units of the series.
        past_covariates
            (B, L, n).
        future_covariates
            (B, L + H, n): the window, then the horizon, whose end may be left out.
        static_covariates
            (B, C, n), or (B, 1, n) where all components share them.
        mask
            False where target values are not to be read although they are there, (B, L, C).

        Returns
        -------
        Tensor
            (B, H, C, Q), see `outputs` above.

        Raises
        ------
        ValueError
            If an input has another number of steps or components than the network was built for.
        """
        L, H = self.input_chunk_length, self.output_chunk_length
        check_input("past_target", past_target, steps=(L, L))
        check_input("past_covariates", past_covariates, self.past_covariates, steps=(L, L))
        check_input("future_covariates", future_covariates, self.future_covariates, (L, L + H))
        check_input("static_covariates", static_covariates, self.static_covariates)

        values, missing, location, scale = self._scaled(
            past_target, marks_of_observed(past_target, mask)
        )
        covariates, unknown = _known(self._join_covariates(past_covariates, future_covariates))
        learnt = None
        if self.reader is not None:
            learnt = self.reader(
                values,
                level=location / scale,
                least_scale=self.least_scale / scale if self.least_scale else None,
                missing=missing,
                covariates=covariates[:, :L] if covariates.numel() else None,
                horizon=covariates[:, L:] if self.future_covariates else None,
                static_covariates=static_covariates,
            )
        return self._combine(values, missing, covariates, unknown, learnt, location, scale)

    def _combine(
        self,
        values: Tensor,
        missing: Tensor | None,
        covariates: Tensor,
        unknown: Tensor | None,
        learnt: Tensor | None,
        location: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Add what was learnt, (B, C, H * Q), to the skips of a scaled window -> (B, H, C, Q)."""
        # On ETTh1 with a tenth of the values missing, zeros in their place cost the skip 3 % in
        # squared error, and lines between their neighbours 0.1 %.
        complete = values if missing is None else interpolated(values, missing)
        linear = self.skip(complete)  # (B, C, L) -> (B, C, H)
        if self.lag_filter is not None:
            linear = linear + self._filter_lags(
                self._centre_covariates(covariates, missing, unknown)
            )
        forecast = linear[..., None] * self.is_location  # (B, C, H, Q)
        forecast = forecast + self.offset.view(self.output_chunk_length, -1)
        if learnt is not None:
            forecast = forecast + learnt.view_as(forecast)
        return self._in_units_of_the_series(forecast, location[..., None], scale[..., None])

    # --- streams ------------------------------------------------------------------------------

    def init_state(
        self, batch_size: int, components: int, static_covariates: Tensor | None = None
    ) -> State:
        """Return the state of B streams before their first step.

        Parameters
        ----------
        batch_size, components
            B and C.
        static_covariates
            As in `forward`.
        """
        check_sizes(batch_size=batch_size, components=components)
        check_input("static_covariates", static_covariates, self.static_covariates)
        B, C, L, zeros = batch_size, components, self.input_chunk_length, self.offset.new_zeros
        state: State = {
            "steps": zeros((), dtype=torch.int64),
            "target": zeros(B, L, C),
            "observed": zeros(B, L, C, dtype=torch.bool),
            "begun": zeros(B, C, dtype=torch.bool),
        }
        n = self.past_covariates + self.future_covariates
        if n:
            state["covariates"] = zeros(B, L, n).fill_(float("nan"))  # not known yet
        if static_covariates is not None:
            state["static_covariates"] = static_covariates.expand(B, C, -1).to(self.offset.dtype)
        if self.reader is not None:
            state["reader"] = self.reader.init_state(B * C, state.get("static_covariates"))
        return state

    def observe(
        self,
        past_target: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        static_covariates: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> State:
        """Return the state of streams after their history: `init_state`, then `update`."""
        B, _, C = _stream_shape(past_target)
        state = self.init_state(B, C, static_covariates)
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

        Observing a history in any number of parts gives what observing it at once does.

        Parameters
        ----------
        state
            Of B streams; it stays as it is.
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
            If an input has other sizes than the network or the state, if a value is infinite, or if
            the state is that of another model.
        """
        B, n, C = _stream_shape(past_target)
        self._check_state(state, B, C)
        check_input("past_covariates", past_covariates, self.past_covariates, (n, n))
        check_input("future_covariates", future_covariates, self.future_covariates, (n, n))
        observed = marks_of_observed(past_target, mask)
        if observed is None:
            observed = torch.ones_like(past_target, dtype=torch.bool)
        target = past_target.where(observed, 0.0)
        check_not_infinite("past_target", target)
        check_not_infinite("past_covariates", past_covariates)
        check_not_infinite("future_covariates", future_covariates)
        L = self.input_chunk_length
        new = {"target": target.to(self.offset.dtype), "observed": observed}
        parts = [x for x in (past_covariates, future_covariates) if x is not None]
        if parts:
            new["covariates"] = torch.cat(parts, -1).to(self.offset.dtype)
        known = {name: torch.cat((state[name], x), 1) for name, x in new.items()}  # (B, L + n, ·)
        if parts and bool(known["covariates"].isnan().any()):
            known["covariates"] = carry_forward(known["covariates"])
        after = {**state, **{name: x[:, -L:] for name, x in known.items()}}
        after["steps"] = state["steps"] + n
        after["begun"] = state["begun"] | observed.any(1)
        if self.reader is not None:
            after["reader"] = self._read_finished(state, known, n)
        return after

    def _read_finished(self, state: State, known: State, n: int) -> State:
        """Read the patches that n new steps finish; `known` starts L steps before them."""
        assert self.reader is not None
        L, P = self.input_chunk_length, self.reader.patch_length
        unfinished = int(state["steps"]) % P
        count = (unfinished + n) // P
        B, _, C = known["target"].shape
        at_once = max(1, _MOST_VALUES // (B * C * L))
        reader_state, begun = state["reader"], state["begun"]
        for first in range(0, count, at_once):
            T = min(at_once, count - first)
            start = L - unfinished + first * P  # of the first patch, in `known`
            span = slice(start + P - L, start + T * P)
            target, observed = (
                known[name][:, span].unfold(1, L, P).transpose(2, 3).flatten(0, 1)
                for name in ("target", "observed")
            )  # (B, L + (T - 1) P, C) -> (B * T, L, C)
            mask = None if bool(observed.all()) else observed
            values, missing, _, _ = self._scaled(target, mask)  # (B * T, C, L)
            patches = values[..., -P:].unflatten(0, (B, T)).transpose(1, 2)  # (B, C, T, P)
            token_mask = None
            if missing is not None:
                missing = missing[..., -P:].unflatten(0, (B, T)).transpose(1, 2)
                token_mask = ~missing.all(-1)
                if "covariates" in known:  # a gap in the target is no gap in its causes
                    token_mask = since_first(token_mask) | begun[..., None]
            covariates = None
            if "covariates" in known:
                covariates = known["covariates"][:, start : start + T * P].unflatten(1, (T, P))
                covariates = covariates.where(~covariates.isnan(), 0.0)
            reader_state = self.reader.read(
                patches,
                missing=missing,
                mask=token_mask,
                covariates=covariates,
                static_covariates=state.get("static_covariates"),
                state=reader_state,
            )
            begun = begun | known["observed"][:, start : start + T * P].any(1)
        return reader_state

    def forecast(
        self, state: State, steps: int | None = None, future_covariates: Tensor | None = None
    ) -> Tensor:
        """Forecast the steps after a stream; the state stays as it is.

        Parameters
        ----------
        state
            Of B streams.
        steps
            How many, H by default. Beyond H, medians or locations are fed back as if observed,
            which needs a network without past covariates.
        future_covariates
            Of these steps, (B, steps, n).

        Returns
        -------
        Tensor
            (B, steps, C, Q), see `outputs` above.

        Raises
        ------
        ValueError
            If the state is that of another model, a component has observed nothing in the last
            ``input_chunk_length`` steps, the covariates do not fit, or a forecast overflows before
            it is fed back.
        """
        H = self.output_chunk_length
        steps = H if steps is None else steps
        check_sizes(steps=steps)
        check_input("future_covariates", future_covariates, self.future_covariates, (steps, steps))
        check_not_infinite("future_covariates", future_covariates)
        B, _, C = state["target"].shape if "target" in state else (1, 1, 1)
        self._check_state(state, B, C)
        silent = ~state["observed"].any(1)  # (B, C)
        if bool(silent.any()):
            stream, component = silent.nonzero()[0].tolist()
            raise ValueError(
                f"component {component} of stream {stream} has observed nothing in the last "
                f"{self.input_chunk_length} steps (input_chunk_length), from which the level of a "
                "forecast comes. Wait for a value, or forecast the others alone."
            )
        if steps > H and self.past_covariates:
            raise ValueError(
                f"steps={steps} is beyond output_chunk_length={H}, where forecasts are fed back, "
                "but the past covariates of those steps are not known."
            )
        outputs = []
        for first in range(0, steps, H):
            known = None
            if future_covariates is not None:
                known = future_covariates[:, first : first + H].to(self.offset.dtype)
            output = self._forecast_chunk(state, known)
            outputs.append(output)
            if first + H < steps:
                check_finite_forecast(output)
                state = self.update(state, output[..., self.middle], future_covariates=known)
        return torch.cat(outputs, 1)[:, :steps]

    @property
    def middle(self) -> int:
        """Which of the Q outputs is the point forecast: the location, or the median."""
        if "location" in self.outputs:
            return self.outputs.index("location")
        levels = [abs(float(output) - 0.5) for output in self.outputs]
        return levels.index(min(levels))

    def _forecast_chunk(self, state: State, future_covariates: Tensor | None) -> Tensor:
        L, H, p = self.input_chunk_length, self.output_chunk_length, self.past_covariates
        mask = None if bool(state["observed"].all()) else state["observed"]
        values, missing, location, scale = self._scaled(state["target"], mask)
        covariates = state.get("covariates", values.new_empty(0))
        if covariates.numel():
            ahead = covariates.new_zeros(len(covariates), H, covariates.shape[2])
            if future_covariates is not None:
                ahead[:, : future_covariates.shape[1], p:] = future_covariates
            covariates = torch.cat((covariates, ahead), 1)  # (B, L + H, n)
        covariates, unknown = _known(covariates)
        learnt = None
        if self.reader is not None:
            P = self.reader.patch_length
            T = min(int(state["steps"]) % P, 1)  # with newer steps than the last finished patch
            last = slice(L - T * P, L)
            patches = values[..., last].unflatten(-1, (T, P))  # (B, C, T, P)
            marks = None if missing is None else missing[..., last].unflatten(-1, (T, P))
            token_mask = None if marks is None else ~marks.all(-1)
            window = horizon = None
            if covariates.numel():
                window = covariates[:, last].unflatten(1, (T, P))
                token_mask = None  # every stream has begun
            if self.future_covariates:
                horizon = covariates[:, L:]
            learnt = self.reader.forecast(
                patches,
                missing=marks,
                mask=token_mask,
                covariates=window,
                horizon=horizon,
                static_covariates=state.get("static_covariates"),
                state=state["reader"],
            )
        return self._combine(values, missing, covariates, unknown, learnt, location, scale)

    def _check_state(self, state: State, batch_size: int, components: int) -> None:
        """Raise a ValueError if the state is not one of this network's for such streams."""
        B, C = batch_size, components
        key = (B, C, self.offset.dtype)
        layout = self._layouts.get(key)
        if layout is None:  # a state may be megabytes: it is made once
            static = self.offset.new_zeros(B, C, self.static_covariates)
            fresh = self.init_state(B, C, static if self.static_covariates else None)
            layout = layout_of(fresh)
            self._layouts = {key: layout}  # as a whole: other threads may be reading it
        check_state(state, layout)

    def _scaled(
        self, past_target: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Scale windows: values and marks of missing ones (B, C, L), scales (B, C, 1)."""
        location, scale = window_scale(past_target, mask, self.least_scale)  # (B, 1, C)
        values = (past_target - location) / scale
        if mask is not None:
            values = values.where(mask, 0.0)
        missing = None if mask is None else ~mask.transpose(-1, -2)
        location, scale = location.transpose(-1, -2), scale.transpose(-1, -2)
        return values.transpose(-1, -2), missing, location, scale

    def _join_covariates(
        self, past_covariates: Tensor | None, future_covariates: Tensor | None
    ) -> Tensor:
        """Past and future covariates, past ones zero over the horizon; (B, L + H, n)."""
        end = self.input_chunk_length + self.output_chunk_length
        parts = [
            F.pad(x, (0, 0, 0, end - x.shape[1]))
            for x in (past_covariates, future_covariates)
            if x is not None
        ]
        return torch.cat(parts, -1) if parts else self.offset.new_empty(0)

    def _centre_covariates(
        self, covariates: Tensor, missing: Tensor | None, unknown: Tensor | None
    ) -> Tensor:
        """Subtract the mean over the window, (B, L + H, n) -> (B, n, L + H).

        The target enters less its mean over the window, so that is what its causes explain. What
        lies before the first observed target is padding.
        """
        L, p = self.input_chunk_length, self.past_covariates
        window, horizon = covariates[:, :L], covariates[:, L:]
        if missing is None and unknown is None:
            mean = window.mean(1, keepdim=True)
            window = window - mean
        else:
            counted = torch.ones_like(window, dtype=torch.bool)
            if missing is not None:
                begun = since_first(~missing.all(1))  # (B, C, L) -> (B, L)
                counted = counted & begun[..., None]
            if unknown is not None:
                counted = counted & ~unknown[:, :L]
            count = counted.sum(1, keepdim=True).clamp_min(1)
            mean = window.where(counted, 0.0).sum(1, keepdim=True) / count
            window = (window - mean).where(counted, 0.0)
        horizon = torch.cat((horizon[..., :p], horizon[..., p:] - mean[..., p:]), -1)
        if unknown is not None:
            horizon = horizon.where(~unknown[:, L:], 0.0)
        return torch.cat((window, horizon), 1).transpose(-1, -2)

    def _filter_lags(self, covariates: Tensor) -> Tensor:
        """(B, n, L + H) -> (B, 1, H)."""
        assert self.lag_filter is not None
        if not (torch.compiler.is_exporting() and covariates.dtype == torch.float64):
            return self.lag_filter(covariates)
        # ONNX Runtime has no convolution in float64.
        L, H = self.input_chunk_length, self.output_chunk_length
        steps = torch.arange(L + 1, device=covariates.device)
        lags = covariates[..., steps + torch.arange(H, device=covariates.device)[:, None]]
        return (lags * self.lag_filter.weight[:, :, None]).sum((1, 3))[:, None]

    def _in_units_of_the_series(self, forecast: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """(B, C, H, Q) in units of the window's scale -> (B, H, C, Q) in those of the series."""
        outputs = location + scale * forecast
        if "scale" in self.outputs:
            outputs = torch.where(self.is_location, outputs, scaled_softplus_input(forecast, scale))
        elif self.outputs[0] != "location":
            # Sorting crossed quantiles never raises the quantile loss (Chernozhukov et al. 2010,
            # "Quantile and Probability Curves Without Crossing").
            outputs = outputs.sort(-1).values
        return outputs.transpose(1, 2)

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Let training draw from this generator instead of the process's own; None undoes it."""
        for module in self.modules():
            if isinstance(module, RandomModule):
                module.generator = generator

    def penalty(self) -> Tensor | float:
        """Return, once, what the layers want added to the loss of the last training pass."""
        total: Tensor | float = 0.0
        for mixer in self._mixers:
            if mixer.penalty is not None:
                total, mixer.penalty = total + mixer.penalty, None
        return total

    def parameter_groups(self, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the groups of parameters that an optimiser treats alike.

        Each module names its parameters that learn faster than others, in ``learning_rates``; all
        that is no linear skip learns at ``layers_rate`` times that. Only matrices decay.

        Parameters
        ----------
        lr, weight_decay
            Learning rate where no module says otherwise, and weight decay of the matrices.
        """
        factors = {
            id(module.get_parameter(name)): factor
            for module in self.modules()
            for name, factor in getattr(module, "learning_rates", {}).items()
        }
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                factor = factors.get(id(parameter), 1.0)
                if name.startswith("reader."):
                    factor *= self.arguments["layers_rate"]
                groups.setdefault((factor, parameter.ndim >= 2), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": factor * lr,
                "weight_decay": weight_decay if is_matrix else 0.0,
            }
            for (factor, is_matrix), parameters in groups.items()
        ]


def _known(covariates: Tensor) -> tuple[Tensor, Tensor | None]:
    """Covariates, (B, n, components), missing ones as last known; marks of any before, or None."""
    if not covariates.numel() or marks_of_observed(covariates) is None:
        return covariates, None
    covariates = carry_forward(covariates)
    unknown = covariates.isnan()
    return covariates.where(~unknown, 0.0), unknown


def _stream_shape(past_target: Tensor) -> torch.Size:
    if past_target.ndim != 3 or not past_target.shape[1]:
        raise ValueError(
            f"past_target has shape {tuple(past_target.shape)}; it must be (B, n, C) with at least "
            "one step."
        )
    return past_target.shape


def _standard_normal(output: str | float) -> float:
    """What an output is for a normal distribution with mean 0 and standard deviation 1."""
    if output == "location":
        return 0.0
    if output == "scale":
        return math.log(math.expm1(1.0))  # its softplus is 1
    return NormalDist().inv_cdf(float(output))
