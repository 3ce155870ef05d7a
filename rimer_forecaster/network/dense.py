"""Forecasts at every end of a patch of long series, in one pass over their tokens.

Each is what a stream would forecast there, so that training on all of them trains a network for
streams of any length. Scales are those of what came before each end, from running sums.

Letters: B series, n steps, C target components, L look-back, P patch length, T ends of patches,
H output steps, Q output parameters per value, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers import Pass, State
from ..layers.parts.precision import widest_dtype
from .missing_values import line_between, neighbours, since_first
from .network import RimerNetwork
from .pinball import pinball
from .scale import resolution
from .window import Patches

__all__ = ["DenseForecast", "dense_forecast"]

_FEWEST_OBSERVED = 4
_LEAST_SCALE = 1e-5
"""Origins that saw fewer values, or less spread of a series of unit spread, have no loss."""


@dataclass(frozen=True)
class DenseForecast:
    """Forecasts at the ends of patches.

    Attributes
    ----------
    ends
        How many steps came before each forecast, (T,).
    outputs
        In units of the steps before, squashed where the network squashes, and not sorted,
        (B, C, T, H, Q).
    location, scale
        Of the steps before, at most L of them, (B, C, T).
    observed
        How many of them were observed, (B, C, T); where it is zero the forecast is of nothing.
    """

    ends: Tensor
    outputs: Tensor
    location: Tensor
    scale: Tensor
    observed: Tensor

    def of_truth(self, target: Tensor, squash: bool) -> Tensor:
        """Return what came after each end in the units of `outputs`, (B, C, T, H).

        NaN where it was not observed, or lies beyond the end of the target, (B, n, C).
        """
        H = self.outputs.shape[3]
        ahead = F.pad(target.mT, (0, H), value=float("nan"))  # (B, C, n + H)
        steps = self.ends[:, None] + torch.arange(H, device=target.device)
        values = (ahead[..., steps] - self.location[..., None]) / self.scale[..., None]
        return torch.asinh(values) if squash else values

    def quantile_losses(
        self,
        target: Tensor,
        quantiles: Tensor,
        *,
        squash: bool,
        fewest_observed: int = _FEWEST_OBSERVED,
    ) -> tuple[Tensor, Tensor]:
        """Return the quantile losses in the units of `outputs`, and which of them count.

        Parameters
        ----------
        target, squash
            See `of_truth`; of a spread near 1.
        quantiles
            (Q,), probabilities.
        fewest_observed
            Values that an origin must have seen to count.

        Returns
        -------
        losses, counts
            (B, C, T, H) each; losses are 0 where they do not count.
        """
        values = self.of_truth(target, squash=squash)  # (B, C, T, H)
        counts = (self.observed >= fewest_observed) & (self.scale > _LEAST_SCALE)
        counts = counts[..., None] & ~values.isnan()
        errors = values.where(counts, 0.0)[..., None] - self.outputs
        losses = pinball(errors, quantiles).mean(-1)
        return losses.where(counts, 0.0), counts

    def to_units(self, squash: bool) -> Tensor:
        """Return the outputs in the units of the series, in ascending order, (B, C, T, H, Q)."""
        x = torch.sinh(self.outputs) if squash else self.outputs
        return (self.location[..., None, None] + self.scale[..., None, None] * x).sort(-1).values


def dense_forecast(
    network: RimerNetwork, target: Tensor, *, steps: int, start: State | None = None
) -> DenseForecast:
    """Forecast from the end of every patch of series, and from their end if it lies in a patch.

    Parameters
    ----------
    network
        Without covariates, whose outputs are quantiles or locations, and with layers.
    target
        (B, n, C), NaN where missing; more steps than are read may follow, to be compared with.
    steps
        How many are read.
    start
        Memory that the layers start from, see `RimerNetwork.forward`.

    Returns
    -------
    DenseForecast
        Differentiable with regard to the weights and the start.

    Raises
    ------
    ValueError
        If the network reads covariates, forecasts scales or has no layers, or if its components
        read each other.
    """
    config, reader = network.config, network.reader
    if reader is None or "scale" in config.outputs or config.past_covariates:
        raise ValueError(
            "dense forecasts are of networks with layers and without covariates, whose outputs are "
            f"quantiles or locations, not of {config}."
        )
    if config.future_covariates or config.static_covariates:
        raise ValueError(f"dense forecasts are of networks without covariates, not of {config}.")
    if config.crosses:
        raise ValueError(
            "dense forecasts are of networks with components='independent', not 'cross': train on "
            "windows."
        )
    P, L = config.patch_length, config.input_chunk_length
    newer = steps % P if steps > P else 0
    values = target[:, :steps].mT  # (B, C, n)
    missing = values.isnan()
    values = values.where(~missing, 0.0)
    whole = steps - newer
    ends = [*range(P, whole + 1, P), *([steps] if newer else [])]
    at = torch.tensor(ends, device=target.device)
    location, scale, observed = _scales(values, missing, at, L)

    def cut(x: Tensor) -> Tensor:
        """(B, C, n) -> (B, C, T, P)."""
        patches = x[..., :whole].unflatten(-1, (-1, P))
        return torch.cat((patches, x[..., None, steps - P :]), -2) if newer else patches

    marks = cut(missing)
    patches = ((cut(values) - location[..., None]) / scale[..., None]).where(~marks, 0.0)
    mask = ~marks.all(-1)
    if config.read_gaps:
        mask = since_first(mask)
    tokens = reader.tokens(Patches(patches, marks), None)
    begin = reader.start_of(tokens, start=start)
    y, _ = reader.layers(tokens.flatten(0, 1), begin, Pass(mask.flatten(0, 1)))
    outputs = reader.head(reader.norm(_latest(y, mask.flatten(0, 1))))  # (B * C, T, H * Q)
    outputs = outputs.unflatten(0, tokens.shape[:2]).unflatten(-1, (config.output_chunk_length, -1))
    outputs = outputs + network.skip.offset.view(config.output_chunk_length, -1)
    reach = network.skip.weight.shape[1]
    if reach:
        windows, known = _last_values(values, missing, at, reach, L)
        windows = (windows - location[..., None]) / scale[..., None]
        linear = network.skip.of_target(windows.where(known, 0.0))
        outputs = outputs + linear[..., None]
    return DenseForecast(at, outputs, location, scale, observed)


def _latest(y: Tensor, mask: Tensor) -> Tensor:
    """Give masked tokens the output of the last one before them that counts, (B * C, T, D)."""
    if bool(mask.all()):
        return y
    steps = torch.arange(mask.shape[1], device=y.device)
    last = torch.where(mask, steps, 0).cummax(1).values
    return y.gather(1, last[..., None].expand_as(y))


def _last_values(
    values: Tensor, missing: Tensor, ends: Tensor, reach: int, longest: int
) -> tuple[Tensor, Tensor]:
    """Values of the steps before each end and which are known, (B, C, T, reach) each.

    As in a window of L steps: gaps are lines between their neighbours, or the value before where
    the one after lies beyond the end; what comes before all values of the window is not known.
    """
    n = values.shape[-1]
    before, after = neighbours(missing)
    line, carried = line_between(values, before, after), values.gather(-1, before.clamp_min(0))

    def windows(x: Tensor, fill: float) -> Tensor:
        """(B, C, n) -> (B, C, T, reach)."""
        return F.pad(x, (reach, 0), value=fill).unfold(-1, reach, 1)[..., ends, :]

    last = ends[:, None]
    within = windows(after, n) < last
    known = windows(before, -1) >= (last - longest).clamp_min(0)
    return torch.where(within, windows(line, 0.0), windows(carried, 0.0)), known


def _scales(
    values: Tensor, missing: Tensor, ends: Tensor, longest: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and number of the observed values, at most L, before each end."""
    seen = (~missing).cumsum(-1)
    level = values.sum(-1, keepdim=True) / seen[..., -1:].clamp_min(1)
    exact = (values - level).where(~missing, 0.0).to(widest_dtype(values.device))

    def over_window(total: Tensor) -> Tensor:
        """(B, C, n) running sums -> (B, C, T) sums over the last L steps."""
        total = F.pad(total, (1, 0))
        return total[..., ends] - total[..., (ends - longest).clamp_min(0)]

    count = over_window(seen)
    mean = over_window(exact.cumsum(-1)) / count.clamp_min(1)
    variance = over_window(exact.square().cumsum(-1)) / count.clamp_min(1) - mean.square()
    location = (mean + level).where(count > 0, 0.0).to(values.dtype)
    scale = variance.clamp_min(0).sqrt().to(values.dtype)
    return location, torch.maximum(scale, resolution(location)), count
