"""Fixed points by Anderson acceleration, every sequence of a batch by itself.

Source: Walker and Ni (2011), "Anderson acceleration for fixed-point iterations", and Bai, Kolter
and Koltun (2019), "Deep equilibrium models", arXiv:1909.01377.

Letters: B sequences, m iterates that are mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .precision import widest_dtype

__all__ = ["SolverReport", "solve_fixed_point"]


@dataclass(frozen=True)
class SolverReport:
    """How a solver ended.

    Attributes
    ----------
    iterations
        Evaluations of the map.
    residual
        ``|f(z) - z| / |f(z)|`` of each sequence, (B,).
    tolerance
        What the residual had to reach.
    """

    iterations: int
    residual: Tensor
    tolerance: float

    @property
    def share_not_converged(self) -> float:
        """Share of the sequences whose residual did not reach the tolerance."""
        return float((~(self.residual <= self.tolerance)).float().mean())


@torch.no_grad()
def solve_fixed_point(
    f: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    tolerance: float,
    max_iter: int,
    memory: int = 6,
) -> tuple[Tensor, SolverReport]:
    """Solve z = f(z).

    A sequence that has converged stays as it is, so that no other one has a part in its answer.

    Parameters
    ----------
    f
        Map of (B, ...) to itself, of each sequence by itself.
    z
        Where to start, (B, ...).
    tolerance
        Residual to reach, see `SolverReport`.
    max_iter
        Most evaluations of `f`.
    memory
        m, how many iterates are mixed; 1 is plain iteration.

    Returns
    -------
    z, report
        The last f(z) of smallest residual, (B, ...), and how it went.
    """
    images: list[Tensor] = []
    steps: list[Tensor] = []
    best = z
    residual = torch.full((len(z),), torch.inf, dtype=z.dtype, device=z.device)
    iterations = 0
    while iterations < max_iter and not bool((residual <= tolerance).all()):
        iterations += 1
        image = f(z)
        step = image - z
        size = image.flatten(1).norm(dim=1).clamp_min(torch.finfo(z.dtype).tiny)
        now = step.flatten(1).norm(dim=1) / size
        # Not `now < residual`: what is not finite must never be taken.
        better = (now < residual) & (residual > tolerance)
        best = image.where(_rows(better, image), best)
        residual = now.where(better, residual)
        images = [*images[1 - memory :], image] if memory > 1 else [image]
        steps = [*steps[1 - memory :], step] if memory > 1 else [step]
        mixed = _mix(images, steps)
        usable = mixed.flatten(1).isfinite().all(1)
        z = mixed.where(_rows(usable, mixed), best)
    return best, SolverReport(iterations, residual, tolerance)


def _mix(images: list[Tensor], steps: list[Tensor]) -> Tensor:
    """Combine images by the weights, of sum 1, whose combined step is the shortest."""
    if len(images) == 1:
        return images[0]
    stacked = torch.stack([step.flatten(1) for step in steps], 1)  # (B, m, n)
    stacked = stacked.to(widest_dtype(stacked.device))
    gram = stacked @ stacked.transpose(1, 2)
    trace = gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None].clamp_min(1e-30)
    ridge = 1e-12 * torch.eye(len(steps), dtype=gram.dtype, device=gram.device)
    ones = gram.new_ones(*gram.shape[:2], 1)
    weight = torch.linalg.solve_ex(gram / trace + ridge, ones).result
    weight = weight / weight.sum(1, keepdim=True)
    flat = torch.stack([image.flatten(1) for image in images], 2)  # (B, n, m)
    return (flat @ weight.to(flat.dtype)).view_as(images[0])


def _rows(marks: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...), as many axes as x has."""
    return marks.view(-1, *(1,) * (x.ndim - 1))
