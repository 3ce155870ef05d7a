"""Operations that exported graphs or ONNX Runtime lack, in forms that both have."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["gelu", "running_maximum", "softplus"]


def running_maximum(x: Tensor) -> Tensor:
    """Return the largest value up to each place along the last axis, of the same shape."""
    if not torch.compiler.is_exporting():
        return x.cummax(-1).values
    reach = 1  # ONNX has no such operation: each pass doubles how far back a maximum reaches
    while reach < x.shape[-1]:
        before = torch.cat((x[..., :1].expand(*x.shape[:-1], reach), x[..., :-reach]), -1)
        x, reach = torch.maximum(x, before), 2 * reach
    return x


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x))."""
    # ONNX Runtime has no softplus in float64.
    return F.softplus(x.float() if torch.compiler.is_exporting() else x).to(x.dtype)


def gelu(x: Tensor) -> Tensor:
    """Return x times the probability that a standard normal variable is below x."""
    # ONNX Runtime has no error function in float64.
    return F.gelu(x.float() if torch.compiler.is_exporting() else x).to(x.dtype)
