"""What is linear in a forecast: the target's window, lags of covariates, and a constant.

Letters: B windows, C target components, L input steps, H output steps, n covariates, Q output
parameters per value.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers.parts.compressed import CompressedMatrix
from .config import NetworkConfig
from .missing_values import since_first
from .window import Window

__all__ = ["CompressedSkip", "LinearSkip"]


class LinearSkip(nn.Module):
    """A map from the window to the horizon, a filter over the lags of covariates, and an offset.

    Map and filter give the locations, the offset all outputs. At first they give the normal
    distribution of the values of a window.

    Parameters
    ----------
    config
        Of the network.
    """

    is_location: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        L, H, outputs = config.input_chunk_length, config.output_chunk_length, config.outputs
        n = config.past_covariates + config.future_covariates
        self.horizon, self.past_covariates = H, config.past_covariates
        self.start = [_standard_normal(output) for output in outputs]
        self.squash = config.squash
        self.weight = nn.Parameter(torch.empty(H, config.skip_reach))
        self.offset = nn.Parameter(torch.empty(H * len(outputs)))
        self.lag_filter = nn.Conv1d(n, 1, L + 1, bias=False) if n else None
        # As in the training of linear models, which is what these are. The filter sums over many
        # more inputs, all of which move at once.
        self.learning_rates = {"weight": 10.0, "offset": 10.0}
        if self.lag_filter is not None:
            self.learning_rates["lag_filter.weight"] = 3.0
        self.are_locations = [output != "scale" for output in outputs]
        self.register_buffer("is_location", torch.tensor(self.are_locations), persistent=False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start at zero, and the offset at a standard normal distribution."""
        nn.init.zeros_(self.weight)
        self.is_location.copy_(torch.tensor(self.are_locations))
        self.offset.copy_(torch.tensor(self.start).repeat(self.horizon))
        if self.lag_filter is not None:
            nn.init.zeros_(self.lag_filter.weight)

    def forward(self, window: Window) -> Tensor:
        """Forecast in units of the window, (B, C, H, Q)."""
        linear = self.of_target(window.complete())  # (B, C, L) -> (B, C, H)
        if self.lag_filter is not None:
            linear = linear + self._filter(_centred(window, self.past_covariates))
        return linear[..., None] * self.is_location + self.offset.view(self.horizon, -1)

    def of_target(self, values: Tensor) -> Tensor:
        """Map the last of the values of windows, (..., n), to the horizon, (..., H)."""
        reach = self.weight.shape[1]
        values = values[..., max(0, values.shape[-1] - reach) :]
        values = F.pad(values, (reach - values.shape[-1], 0))
        return F.linear(torch.asinh(values) if self.squash else values, self.weight)

    def _filter(self, covariates: Tensor) -> Tensor:
        """(B, n, L + H) -> (B, 1, H)."""
        assert self.lag_filter is not None
        if not (torch.compiler.is_exporting() and covariates.dtype == torch.float64):
            return self.lag_filter(covariates)
        # ONNX Runtime has no convolution in float64.
        lags = torch.arange(self.lag_filter.weight.shape[2], device=covariates.device)
        steps = torch.arange(self.horizon, device=covariates.device)[:, None]
        lagged = covariates[..., lags + steps]  # (B, n, H, L + 1)
        return (lagged * self.lag_filter.weight[:, :, None]).sum((1, 3))[:, None]


class CompressedSkip(LinearSkip):
    """A linear skip with a `CompressedMatrix` in place of its weight."""

    matrix: CompressedMatrix

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        del self._parameters["weight"], self.learning_rates["weight"]

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The map from the window to the horizon, computed; writing to it changes nothing."""
        return self.matrix.dense()


def _centred(window: Window, past: int) -> Tensor:
    """Covariates less their means over the window, (B, L + H, n) -> (B, n, L + H).

    The target enters less its mean over the window, so that is what its causes explain. What lies
    before the first observed target is padding. The first `past` covariates are not known over the
    horizon: they are left at zero there.
    """
    assert window.covariates is not None
    L, unknown = window.length, window.unknown
    steps, horizon = window.covariates[:, :L], window.covariates[:, L:]
    if window.missing is None and unknown is None:
        mean = steps.mean(1, keepdim=True)
        steps = steps - mean
    else:
        counted = torch.ones_like(steps, dtype=torch.bool)
        if window.missing is not None:
            begun = since_first(~window.missing.all(1))  # (B, C, L) -> (B, L)
            counted = counted & begun[..., None]
        if unknown is not None:
            counted = counted & ~unknown[:, :L]
        count = counted.sum(1, keepdim=True).clamp_min(1)
        mean = steps.where(counted, 0.0).sum(1, keepdim=True) / count
        steps = (steps - mean).where(counted, 0.0)
    horizon = torch.cat((horizon[..., :past], horizon[..., past:] - mean[..., past:]), -1)
    if unknown is not None:
        horizon = horizon.where(~unknown[:, L:], 0.0)
    return torch.cat((steps, horizon), 1).mT


def _standard_normal(output: str | float) -> float:
    """What an output is for a normal distribution with mean 0 and standard deviation 1."""
    if output == "location":
        return 0.0
    if output == "scale":
        return math.log(math.expm1(1.0))  # its softplus is 1
    return NormalDist().inv_cdf(float(output))
