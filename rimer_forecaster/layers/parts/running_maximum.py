"""The largest so far, in eager mode and in exported graphs."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["running_maximum"]


def running_maximum(x: Tensor) -> Tensor:
    """Return the largest value up to each place along the last axis, of the same shape."""
    if not torch.compiler.is_exporting():
        return x.cummax(-1).values
    reach = 1  # ONNX has no such operation: each pass doubles how far back a maximum reaches
    while reach < x.shape[-1]:
        before = torch.cat((x[..., :1].expand(*x.shape[:-1], reach), x[..., :-reach]), -1)
        x, reach = torch.maximum(x, before), 2 * reach
    return x
