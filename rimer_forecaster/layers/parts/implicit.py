"""Gradients of fixed points, and how strongly a token's image feeds back on the token.

Source: Bai, Kolter and Koltun (2019), "Deep equilibrium models", arXiv:1909.01377; the rate of the
feedback takes the place of the penalty of Bai, Koltun and Kolter (2021), "Stabilizing equilibrium
models by Jacobian regularization", arXiv:2106.14342.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["TokenMap", "feedback_rate", "with_implicit_gradient"]

TokenMap: TypeAlias = Callable[[Tensor], Tensor]
"""Tokens to tokens, (B, T, D)."""

_PASSES = 3
"""Passes from which the rate is estimated: all but the last turn a random step to the direction
that contracts the least."""


def with_implicit_gradient(
    image: Tensor, point: Tensor, solve: Callable[[TokenMap, Tensor], Tensor]
) -> Tensor:
    """Return the image of a fixed point as a tensor whose gradient is that of the equation.

    Parameters
    ----------
    image
        f(z), whose graph leads to `point` and to the parameters.
    point
        z, a leaf that requires a gradient.
    solve
        Returns the fixed point of a map from a start. It is called in the backward pass, for the
        linear equation of the gradient.
    """

    def solve_backward(gradient: Tensor) -> Tensor:
        def transposed(u: Tensor) -> Tensor:
            (pulled,) = torch.autograd.grad(image, point, u, retain_graph=True)
            return pulled + gradient

        return solve(transposed, gradient)

    attached = image.view_as(image)
    if attached.requires_grad:
        attached.register_hook(solve_backward)
    return attached


def feedback_rate(
    f: TokenMap, point: Tensor, image: Tensor, *, chosen: Tensor, step: Tensor, probe: float
) -> Tensor:
    """Return by which factor a change of one token of each sequence comes back to it in one pass.

    Parameters
    ----------
    f
        Map of all tokens.
    point, image
        z and f(z), (B, T, D).
    chosen
        The token of each sequence, (B,).
    step
        In which direction it is changed first, (B, D).
    probe
        Size of the change, relative to the norm of the token.

    Returns
    -------
    Tensor
        (B,); only the last pass is differentiated.
    """
    at = F.one_hot(chosen, point.shape[1])[..., None].bool()  # (B, T, 1)
    token = torch.where(at, point, 0.0).sum(1)  # (B, D)
    size = probe * token.norm(dim=1, keepdim=True).clamp_min(torch.finfo(token.dtype).eps)
    for i in range(_PASSES):
        step = size * F.normalize(step, dim=1)
        with torch.set_grad_enabled(i == _PASSES - 1):
            changed = f(point + torch.where(at, step[:, None], 0.0))
            step = torch.where(at, changed - image, 0.0).sum(1)
    return step.norm(dim=1) / size[:, 0]
