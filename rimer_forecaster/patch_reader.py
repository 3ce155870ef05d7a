"""From a scaled window to what the layers add to its forecast.

Letters: B windows, C target components, L input steps, P patch length, T tokens, D width,
n covariates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import build_layers
from .layers.initialisation import uniform_linear

__all__ = ["PatchReader", "since_first"]


class PatchReader(nn.Module):
    """Patches to tokens, layers over them, and a head on the last one.

    Parameters
    ----------
    layers, width, head_size, patch_length, dropout
        As in `RimerNetwork`.
    covariates, static_covariates
        Number of components.
    outputs
        Number of outputs per target component.
    """

    def __init__(
        self,
        layers: str,
        *,
        width: int,
        head_size: int,
        patch_length: int,
        dropout: float,
        covariates: int,
        static_covariates: int,
        outputs: int,
    ) -> None:
        super().__init__()
        self.patch_length = patch_length
        # The second half weighs the marks of missing values.
        self.embed_target = nn.Linear(2 * patch_length, width)
        self.embed_covariates = (
            nn.Linear(covariates * patch_length, width, bias=False) if covariates else None
        )
        self.embed_static = (
            nn.Linear(static_covariates, width, bias=False) if static_covariates else None
        )
        self.layers = build_layers(layers, width=width, head_size=head_size, dropout=dropout)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs, bias=False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the head starts at zero."""
        for embed in (self.embed_target, self.embed_covariates, self.embed_static):
            if embed is not None:
                uniform_linear(embed, generator)
        self.layers.reset_parameters(generator)
        self.norm.reset_parameters()
        nn.init.zeros_(self.head.weight)

    def forward(
        self,
        values: Tensor,
        *,
        missing: Tensor | None,
        covariates: Tensor,
        ahead: int,
        static_covariates: Tensor | None,
    ) -> Tensor:
        """Read windows.

        Parameters
        ----------
        values
            Scaled target, zero where missing, (B, C, L).
        missing
            Marks of missing values, (B, C, L), or None.
        covariates
            (B, L + H, n); not read if the reader was built for none.
        ahead
            Number of steps after the window whose covariates are read, as tokens of their own.
        static_covariates
            (B, C or 1, n), or None.

        Returns
        -------
        Tensor
            (B, C, outputs).
        """
        _, C, L = values.shape
        P = self.patch_length
        weight, bias = self.embed_target.weight, self.embed_target.bias
        lead = -L % P  # steps that fill the first patch
        tokens = F.linear(F.pad(values, (lead, 0)).unflatten(-1, (-1, P)), weight[:, :P], bias)
        mask = None
        if missing is not None:
            marks = F.pad(missing, (lead, 0)).unflatten(-1, (-1, P))  # (B, C, T, P)
            tokens = tokens + F.linear(marks.to(values.dtype), weight[:, P:])
            mask = ~F.pad(missing, (lead, 0), value=True).unflatten(-1, (-1, P)).all(-1)
        if self.embed_covariates is not None:
            if mask is not None:
                mask = since_first(mask)  # a gap in the target is no gap in its causes
            window = F.pad(covariates[:, :L], (0, 0, lead, 0)).unflatten(1, (-1, P)).flatten(2)
            tokens = tokens + self.embed_covariates(window)[:, None]  # (B, 1, T, D)
            if ahead:  # every target value of these tokens is marked as missing
                horizon = F.pad(covariates[:, L:], (0, 0, 0, -ahead % P))
                future = self.embed_covariates(horizon.unflatten(1, (-1, P)).flatten(2))
                future = (future + weight[:, P:].sum(1) + bias)[:, None].expand(-1, C, -1, -1)
                tokens = torch.cat((tokens, future), 2)
                if mask is not None:
                    mask = F.pad(mask, (0, future.shape[2]), value=True)
        if self.embed_static is not None:
            tokens = tokens + self.embed_static(static_covariates)[:, :, None]
        y, _ = self.layers(
            tokens.flatten(0, 1), mask=None if mask is None else mask.flatten(0, 1)
        )  # (B * C, T, D)
        return self.head(self.norm(y[:, -1])).unflatten(0, (-1, C))


def since_first(marks: Tensor) -> Tensor:
    """Mark everything from the first mark on, along the last axis."""
    return marks.int().cummax(-1).values.bool()
