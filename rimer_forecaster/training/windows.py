"""Windows over a collection of series, for training outside darts.

Letters: n time points, L input steps, H output steps, C target components, p covariates,
B windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["WindowBatch", "Windows"]


class WindowBatch(NamedTuple):
    """B windows with what follows them.

    Attributes
    ----------
    target
        (B, L + H, C), NaN where nothing was observed.
    covariates
        (B, L + H, p), zero beyond the series, or None.
    """

    target: Tensor
    covariates: Tensor | None


class Windows(Dataset[WindowBatch]):
    """All windows of a collection of series, fetched a batch at a time.

    A series of at least 2 L + H time points gives its whole windows. A shorter one also gives
    windows that are padded on the left, from its middle on; one of at most H points, windows whose
    horizon is padded on the right.

    Parameters
    ----------
    targets
        One tensor (n, C) a series, n >= 2.
    covariates
        One tensor (n, p) a series, or None.
    input_chunk_length, output_chunk_length
        L and H.
    first_origins
        Index of the first time point to forecast in each series; None for the rule above.

    Attributes
    ----------
    owners, left
        Of each window, the number of its series, and how many time points of that come after what
        is read.
    """

    def __init__(
        self,
        targets: Sequence[Tensor],
        covariates: Sequence[Tensor] | None,
        *,
        input_chunk_length: int,
        output_chunk_length: int,
        first_origins: Sequence[int] | None = None,
    ) -> None:
        L, H = input_chunk_length, output_chunk_length
        gap = max(L, H)  # between two series, read by windows of both
        self.steps = torch.arange(-L, H)
        origins, left, start = [], [], gap
        for i, target in enumerate(targets):
            n = len(target)
            first = first_origins[i] if first_origins else min(L, max(1, (n - H) // 2))
            last = n - H if n - H >= first else n - 1
            origins.append(torch.arange(start + first, start + last + 1))
            left.append(torch.arange(n - first, n - last - 1, -1))
            start += n + gap
        self.origins, self.left = torch.cat(origins), torch.cat(left)
        counts = torch.tensor([len(own) for own in origins])
        self.owners = torch.arange(len(targets)).repeat_interleave(counts)
        self.target = _spaced(targets, gap, fill=float("nan"))
        self.covariates = None if covariates is None else _spaced(covariates, gap, fill=0.0)

    def __len__(self) -> int:
        return len(self.origins)

    def __getitems__(self, indices: list[int]) -> WindowBatch:
        rows = self.origins[indices][:, None] + self.steps
        return WindowBatch(
            self.target[rows], None if self.covariates is None else self.covariates[rows]
        )


def _spaced(parts: Sequence[Tensor], gap: int, *, fill: float) -> Tensor:
    """Concatenate along time with a filled gap before, between and after."""
    filled = parts[0].new_full((gap, parts[0].shape[1]), fill)
    return torch.cat([piece for part in parts for piece in (filled, part)] + [filled])
