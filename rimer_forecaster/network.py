"""The forecasting network that both doors share: tensors in, tensors out.

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
from numbers import Integral
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Mixer, RandomModule, check_layers
from .patch_reader import PatchReader, since_first

__all__ = ["RimerNetwork", "default_patch_length"]


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
        )
        _check_outputs(outputs)
        self.outputs = tuple(outputs)
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
                    patch_length=patch_length or default_patch_length(L),
                    dropout=dropout,
                    covariates=n_covariates,
                    static_covariates=static_covariates,
                    outputs=H * Q,
                )
        # As in the training of linear models, which is what these are.
        self.learning_rates = {"skip.weight": 10.0, "offset": 10.0}
        if self.lag_filter is not None:
            self.learning_rates["lag_filter.weight"] = 10.0
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
            True where the target was observed, (B, L, C); all of it if not given. Values elsewhere
            are not read: left padding and missing values change nothing but by their absence.

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
        _check_input("past_target", past_target, steps=(L, L))
        _check_input("past_covariates", past_covariates, self.past_covariates, steps=(L, L))
        _check_input("future_covariates", future_covariates, self.future_covariates, (L, L + H))
        _check_input("static_covariates", static_covariates, self.static_covariates)

        location, scale = window_scale(past_target, mask)  # (B, 1, C)
        values = (past_target - location) / scale
        if mask is not None:
            values = values.where(mask, 0.0)
        values = values.transpose(-1, -2)  # (B, L, C) -> (B, C, L)
        missing = None if mask is None else ~mask.transpose(-1, -2)
        covariates = self._join_covariates(past_covariates, future_covariates)

        linear = self.skip(values)  # (B, C, L) -> (B, C, H)
        if self.lag_filter is not None:
            linear = linear + self.lag_filter(self._centre_covariates(covariates, missing))
        forecast = linear[..., None] * self.is_location  # (B, C, H, Q)
        forecast = forecast + self.offset.view(H, -1)
        if self.reader is not None:
            learnt = self.reader(
                values,
                missing=missing,
                covariates=covariates,
                ahead=H if self.future_covariates else 0,
                static_covariates=static_covariates,
            )  # (B, C, H * Q)
            forecast = forecast + learnt.view_as(forecast)
        return self._in_units_of_the_series(
            forecast, location.transpose(-1, -2)[..., None], scale.transpose(-1, -2)[..., None]
        )

    def _join_covariates(
        self, past_covariates: Tensor | None, future_covariates: Tensor | None
    ) -> Tensor:
        """Past and future covariates over window and horizon, unknown ones zero; (B, L + H, n)."""
        end = self.input_chunk_length + self.output_chunk_length
        parts = [
            F.pad(x, (0, 0, 0, end - x.shape[1]))
            for x in (past_covariates, future_covariates)
            if x is not None
        ]
        return torch.cat(parts, -1) if parts else self.offset.new_empty(0)

    def _centre_covariates(self, covariates: Tensor, missing: Tensor | None) -> Tensor:
        """Subtract the mean over the window, (B, L + H, n) -> (B, n, L + H).

        The target enters less its mean over the window, so that is what its causes explain. What
        lies before the first observed target is padding.
        """
        L, p = self.input_chunk_length, self.past_covariates
        window = covariates[:, :L]
        if missing is None:
            mean = window.mean(1, keepdim=True)
            window = window - mean
        else:
            begun = since_first(~missing.all(1))[..., None]  # (B, C, L) -> (B, L, 1)
            count = begun.sum(1, keepdim=True).clamp_min(1)
            mean = window.where(begun, 0.0).sum(1, keepdim=True) / count
            window = (window - mean).where(begun, 0.0)
        horizon = covariates[:, L:]
        horizon = torch.cat((horizon[..., :p], horizon[..., p:] - mean[..., p:]), -1)
        return torch.cat((window, horizon), 1).transpose(-1, -2)

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
        for module in self.modules():
            if isinstance(module, Mixer) and module.penalty is not None:
                total, module.penalty = total + module.penalty, None
        return total

    def parameter_groups(self, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the groups of parameters that an optimiser treats alike.

        Each module names its parameters that learn faster than others, in ``learning_rates``. Only
        matrices decay.

        Parameters
        ----------
        lr, weight_decay
            Learning rate where no module says otherwise, and weight decay of the matrices.
        """
        faster = {
            id(module.get_parameter(name)): factor
            for module in self.modules()
            for name, factor in getattr(module, "learning_rates", {}).items()
        }
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                key = faster.get(id(parameter), 1.0), parameter.ndim >= 2
                groups.setdefault(key, []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": factor * lr,
                "weight_decay": weight_decay if is_matrix else 0.0,
            }
            for (factor, is_matrix), parameters in groups.items()
        ]


def check_network_arguments(
    *,
    input_chunk_length: Any,
    output_chunk_length: Any,
    layers: Any,
    width: Any,
    head_size: Any,
    patch_length: Any,
    dropout: Any,
) -> None:
    """Raise the ValueError that `RimerNetwork` documents, before anything is built."""
    check_sizes(
        input_chunk_length=input_chunk_length,
        output_chunk_length=output_chunk_length,
        width=width,
        head_size=head_size,
    )
    if patch_length is not None:
        check_sizes(patch_length=patch_length)
        if patch_length > input_chunk_length:
            raise ValueError(
                f"patch_length={patch_length} is longer than input_chunk_length="
                f"{input_chunk_length}; it is the number of input steps per token. Use a smaller "
                "one, or None for the default."
            )
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} must be a probability in [0, 1).")
    if layers is not None:
        check_layers(layers, width=width, head_size=head_size)


def _check_outputs(outputs: Sequence[str | float]) -> None:
    """Raise a ValueError for anything but locations and scales, or ascending probabilities."""
    names = [output for output in outputs if isinstance(output, str)]
    levels = [output for output in outputs if not isinstance(output, str)]
    if names:
        valid = not levels and set(names) <= {"location", "scale"}
    else:
        valid = levels == sorted(set(levels)) and bool(levels) and 0 < levels[0] <= levels[-1] < 1
    if not valid:
        raise ValueError(
            f"outputs={outputs!r} must be 'location' and 'scale' only, or else ascending "
            "probabilities between 0 and 1."
        )


def _standard_normal(output: str | float) -> float:
    """What an output is for a normal distribution with mean 0 and standard deviation 1."""
    if output == "location":
        return 0.0
    if output == "scale":
        return math.log(math.expm1(1.0))  # its softplus is 1
    return NormalDist().inv_cdf(float(output))


def _check_input(
    name: str,
    x: Tensor | None,
    components: int | None = None,
    steps: tuple[int, int] | None = None,
) -> None:
    """Raise a ValueError that names an input of the wrong size."""
    given = 0 if x is None else x.shape[-1]
    if components is not None and given != components:
        raise ValueError(
            f"{name} has {given} components, but the network was built for {components}."
        )
    if x is not None and steps is not None and not steps[0] <= x.shape[1] <= steps[1]:
        allowed = " to ".join(map(str, sorted(set(steps))))
        raise ValueError(f"{name} has {x.shape[1]} steps, but the network reads {allowed}.")


def check_sizes(**sizes: Any) -> None:
    """Raise a ValueError that names the first size that is not a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise ValueError(f"{name}={size!r} must be a whole number of at least 1.")


def window_scale(past_target: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each window's observed values, (B, L, C) -> (B, 1, C).

    A constant window has no scale of its own: it gets one at the edge of its floating-point
    resolution, so that its forecast is its value.
    """
    if mask is None:
        location = past_target.mean(1, keepdim=True)
        variance = (past_target - location).square().mean(1, keepdim=True)
    else:
        count = mask.sum(1, keepdim=True).clamp_min(1)
        location = past_target.where(mask, 0.0).sum(1, keepdim=True) / count
        deviation = (past_target - location).where(mask, 0.0)
        variance = deviation.square().sum(1, keepdim=True) / count
    resolution = torch.finfo(past_target.dtype)
    floor = (8 * resolution.eps * location.abs()).clamp_min(resolution.tiny**0.5)
    return location, torch.maximum(variance.sqrt(), floor)


def scaled_softplus_input(x: Tensor, scale: Tensor) -> Tensor:
    """Return y with softplus(y) = scale * softplus(x)."""
    scaled = (scale * F.softplus(x)).clamp_min(torch.finfo(x.dtype).tiny)
    return scaled + torch.log(-torch.expm1(-scaled))
