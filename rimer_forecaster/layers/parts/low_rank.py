"""Low-rank maps of tokens, as RWKV-7 makes its gates from them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["LowRank", "rank_of"]


def rank_of(width: int, factor: float) -> int:
    """Rank of a low-rank map: about ``factor * sqrt(width)``.

    From a width of 128 on this is the published rule, in steps of 32 and at least 32. A rank of 32
    would be as large as a layer of width 32, so smaller widths take steps of 8, and never more
    than half the width.
    """
    step = 32 if width >= 128 else 8
    rank = max(step, step * round(factor * width**0.5 / step))
    return rank if width >= 128 else max(1, min(rank, width // 2))


class LowRank(nn.Module):
    """``up(activation(down(x)))``, constant at the start: `down` starts at zero.

    It has as many outputs as inputs, if not told otherwise.
    """

    def __init__(
        self,
        width: int,
        rank: int,
        *,
        activation: Callable[[Tensor], Tensor] | None = None,
        bias: bool = True,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width if outputs is None else outputs, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., outputs)."""
        x = self.down(x)
        x = self.up(x if self.activation is None else self.activation(x))
        return x

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Zero the first map and draw the second as an orthogonal one, scaled by 0.1."""
        nn.init.zeros_(self.down.weight)
        # Drawn as (rank, outputs) like the published code, which multiplies from the left.
        nn.init.orthogonal_(self.up.weight.T, gain=0.1, generator=generator)
