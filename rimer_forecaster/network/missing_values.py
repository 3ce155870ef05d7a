"""Missing values: NaN in what is given, marks inside the network.

Letters: B windows or streams, n steps, C components.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers.parts.exportable import running_maximum

__all__ = [
    "carry_forward",
    "interpolated",
    "line_between",
    "marks_of_observed",
    "neighbours",
    "since_first",
]


def marks_of_observed(x: Tensor, mask: Tensor | None = None) -> Tensor | None:
    """Return where values were observed, or None if all were; of the same shape.

    Parameters
    ----------
    x
        Values, NaN where missing.
    mask
        False where values are not to be read although they are there.
    """
    marks = ~x.isnan() if mask is None else mask & ~x.isnan()
    # A traced graph has no branches and must do for both.
    return marks if torch.compiler.is_compiling() or not bool(marks.all()) else None


def carry_forward(x: Tensor) -> Tensor:
    """Replace NaN by the last value before it; what comes before all values stays NaN.

    Parameters
    ----------
    x
        (B, n, C).
    """
    steps = torch.arange(x.shape[1], device=x.device)
    last = running_maximum(torch.where(x.isnan().mT, 0, steps))
    return x.gather(1, last.mT)


def interpolated(x: Tensor, missing: Tensor) -> Tensor:
    """Fill gaps by straight lines, the end by its last value; the start stays as it is.

    Parameters
    ----------
    x
        (..., n).
    missing
        Marks of the same shape.
    """
    return line_between(x, *neighbours(missing))


def neighbours(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last step with a value up to each, -1 if there is none, and the next, or n."""
    n = missing.shape[-1]
    steps = torch.arange(n, device=missing.device)
    left = running_maximum(torch.where(missing, -1, steps))
    right = -running_maximum(torch.where(missing, -n, -steps).flip(-1)).flip(-1)
    return left, right


def line_between(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return what `interpolated` does, of the `neighbours` of each step."""
    steps = torch.arange(x.shape[-1], device=x.device)
    before, after = x.gather(-1, left.clamp_min(0)), x.gather(-1, right.clamp_max(len(steps) - 1))
    share = (steps - left) / (right - left).clamp_min(1)
    line = before + share.to(x.dtype) * (after - before)
    line = torch.where(right < len(steps), line, before)
    return torch.where((left < steps) & (left >= 0), line, x)


def since_first(marks: Tensor) -> Tensor:
    """Mark everything from the first mark on, along the last axis."""
    return running_maximum(marks.int()).bool()
