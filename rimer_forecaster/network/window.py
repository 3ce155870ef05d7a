"""A window of a series in units of its own scale, its patches, and the way back.

Letters: B windows, C target components, L input steps, H output steps, n covariates, P patch
length, T patches, Q output parameters per value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers import State
from .missing_values import carry_forward, interpolated, marks_of_observed, since_first
from .scale import resolution, running_scale, window_scale

__all__ = ["Patches", "Window"]


@dataclass(frozen=True)
class Patches:
    """What the layers read of a series, a token for each patch.

    Attributes
    ----------
    values
        Target, each patch in units of what was observed up to its end, 0 where missing,
        (B, C, T, P).
    missing
        Marks of missing values, (B, C, T, P), or None.
    mask
        False where a patch is to leave the state alone, (B, C, T), or None.
    covariates
        (B, T, P, n), or None.
    """

    values: Tensor
    missing: Tensor | None = None
    mask: Tensor | None = None
    covariates: Tensor | None = None


@dataclass(frozen=True)
class Window:
    """What a forecast is made from, of a series or of a stream.

    Attributes
    ----------
    values
        Target less its mean over the window and divided by its standard deviation, 0 where
        missing, (B, C, L).
    missing
        Marks of missing values, (B, C, L), or None.
    location, scale
        Mean and standard deviation of the observed target, (B, C, 1).
    covariates
        Of the window and the horizon, 0 where they are not known, (B, L + H, n), or None.
    unknown
        Where covariates had no value yet, (B, L + H, n), or None.
    static_covariates
        (B, C or 1, n), or None.
    least_scale
        Smallest scale, in the units of the series.
    reads_gaps
        Whether a patch without a value is a token all the same, once there was a value: where
        covariates are read, a gap in the target is no gap in its causes.
    places
        Which of the fitted components each is, (B, C), for components that read each other; None
        where they are in the order of fitting.
    start
        Memory that the layers start from, (B, ...), or None.
    """

    values: Tensor
    missing: Tensor | None
    location: Tensor
    scale: Tensor
    covariates: Tensor | None = None
    unknown: Tensor | None = None
    static_covariates: Tensor | None = None
    least_scale: float = 0.0
    reads_gaps: bool = False
    places: Tensor | None = None
    start: State | None = None

    @classmethod
    def of(
        cls,
        target: Tensor,
        observed: Tensor | None,
        covariates: Tensor | None = None,
        static_covariates: Tensor | None = None,
        *,
        least_scale: float = 0.0,
        reads_gaps: bool = False,
        places: Tensor | None = None,
        start: State | None = None,
    ) -> Window:
        """Scale windows, (B, L, C), that were observed at the marks or, if None, everywhere.

        A covariate that is missing, NaN, is taken at its last value.
        """
        location, scale = window_scale(target, observed, least_scale)  # (B, 1, C)
        values = (target - location) / scale
        if observed is not None:
            values = values.where(observed, 0.0)
        unknown = None
        if covariates is not None and marks_of_observed(covariates) is not None:
            covariates = carry_forward(covariates)
            unknown = covariates.isnan()
            covariates = covariates.where(~unknown, 0.0)
        return cls(
            values.mT,
            None if observed is None else ~observed.mT,
            location.mT,
            scale.mT,
            covariates,
            unknown,
            static_covariates,
            least_scale,
            reads_gaps or covariates is not None,
            places,
            start,
        )

    @property
    def observed(self) -> Tensor | None:
        """Whether a component has a value in the window, (B, C); None where all have."""
        return None if self.missing is None else ~self.missing.all(-1)

    @property
    def length(self) -> int:
        """L."""
        return self.values.shape[-1]

    def to_units(self, x: Tensor) -> Tensor:
        """Turn values in units of the window, (B, C, H, Q), into the units of the series.

        Those of a window without a scale of its own are its value.
        """
        location, scale = self.location[..., None], self.scale[..., None]
        return torch.where(scale > resolution(location), location + scale * x, location)

    def complete(self) -> Tensor:
        """Return the values with lines over the gaps, (B, C, L)."""
        # On ETTh1 with a tenth of the values missing, zeros in their place cost the skip 3 % in
        # squared error, and lines between their neighbours 0.1 %.
        return self.values if self.missing is None else interpolated(self.values, self.missing)

    def patches(self, length: int, *, newer: int = 0) -> Patches:
        """Cut the window into patches, the last of which ends with it.

        Parameters
        ----------
        length
            P.
        newer
            Steps, fewer than a patch, since the last patch but one ended: the two overlap.
        """
        L, P = self.length, length
        lead = (newer - L) % P  # steps that fill the first patch
        ends = [*range(P - lead, L - newer + 1, P), *([L] if newer else [])]
        level = self.location / self.scale
        least = self.least_scale / self.scale if self.least_scale else None
        location, scale = running_scale(self.values, self.missing, ends, level, least)

        def cut(x: Tensor, fill: float) -> Tensor:
            """(B, C, L) -> (B, C, T, P)."""
            whole = F.pad(x[..., : L - newer], (lead, 0), value=fill).unflatten(-1, (-1, P))
            if not newer:
                return whole
            return torch.cat((whole, x[..., None, L - P :]), -2)

        values = (cut(self.values, 0.0) - location[..., None]) / scale[..., None]
        missing = None
        if self.missing is not None or lead:
            marks = self.missing
            if marks is None:
                marks = torch.zeros_like(self.values, dtype=torch.bool)
            missing = cut(marks, True)
            values = values.where(~missing, 0.0)
        covariates = None
        if self.covariates is not None:
            known = cut(self.covariates[:, :L].mT, 0.0)  # (B, n, T, P)
            covariates = known.permute(0, 2, 3, 1)
        mask = None
        if self.missing is not None and missing is not None:
            mask = ~missing.all(-1)  # (B, C, T)
            if self.reads_gaps:
                mask = since_first(mask)
        return Patches(values, missing, mask, covariates)

    def last_patch(self, length: int, *, unfinished: bool) -> Patches:
        """Return the last P steps as a patch, in units of the window; none if nothing is newer.

        Parameters
        ----------
        length
            P.
        unfinished
            Whether some of these steps are newer than the last patch that was read.
        """
        T = int(unfinished)
        last = slice(self.length - T * length, self.length)
        values = self.values[..., last].unflatten(-1, (T, length))
        missing = mask = covariates = None
        if self.missing is not None:
            missing = self.missing[..., last].unflatten(-1, (T, length))
            mask = None if self.reads_gaps else ~missing.all(-1)  # every stream has begun
        if self.covariates is not None:
            covariates = self.covariates[:, last].unflatten(1, (T, length))
        return Patches(values, missing, mask, covariates)

    def horizon_patches(self, length: int) -> Patches:
        """Cut the horizon into patches, whose target is not known yet."""
        assert self.covariates is not None
        horizon = self.covariates[:, self.length :]
        whole = F.pad(horizon, (0, 0, 0, -horizon.shape[1] % length))
        covariates = whole.unflatten(1, (-1, length))  # (B, T, P, n)
        B, T = covariates.shape[:2]
        values = horizon.new_zeros(B, self.values.shape[1], T, length)
        return Patches(values, torch.ones_like(values, dtype=torch.bool), None, covariates)
