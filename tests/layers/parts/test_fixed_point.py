"""The solver, on the two readings of Rimer's fixed point that have closed forms, and on its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rimer_forecaster.kernels import wkv7
from rimer_forecaster.layers import solve_fixed_point

B, T, N = 3, 24, 8


def draws() -> tuple[Tensor, ...]:
    """r, w, k, v, a, b of one head, (B, T, 1, N)."""
    generator = torch.Generator().manual_seed(0)
    r, w, k, v, kappa, eta = (
        torch.randn(B, T, 1, N, dtype=torch.float64, generator=generator) for _ in range(6)
    )
    kappa = F.normalize(kappa, dim=-1)
    return r, -0.6065 * torch.sigmoid(w), k, v, -kappa, kappa * torch.sigmoid(eta)


def test_the_state_under_a_held_input_has_the_closed_form() -> None:
    """Reading A: S = S G + v k^T, so S = v k^T (I - G)^-1."""
    _, w, k, v, a, b = (x[:, 0, 0] for x in draws())
    G = torch.diag_embed(w.exp()) + a[:, :, None] * b[:, None]
    written = v[:, :, None] * k[:, None]
    exact = written @ torch.linalg.inv(torch.eye(N) - G)
    state, report = solve_fixed_point(
        lambda S: S @ G + written, torch.zeros_like(written), tolerance=1e-13, max_iter=200
    )
    assert (state - exact).norm() / exact.norm() < 1e-10
    assert report.share_not_converged == 0


def test_the_whole_trajectory_is_the_recurrence() -> None:
    """Reading B: every step's state from its predecessor's, all at once, exact after T sweeps."""
    r, w, k, v, a, b = draws()
    G = torch.diag_embed(w[:, :, 0].exp()) + a[:, :, 0, :, None] * b[:, :, 0, None]
    written = v[:, :, 0, :, None] * k[:, :, 0, None]  # (B, T, N, N)

    def sweep(S: Tensor) -> Tensor:
        before = F.pad(S, (0, 0, 0, 0, 1, -1))
        return before @ G + written

    exact, final = wkv7(r, w, k, v, a, b, output_final_state=True)
    assert final is not None
    for memory, sweeps in ((1, T + 1), (6, 4 * T)):  # the last one sees that nothing moves
        states, report = solve_fixed_point(
            sweep, torch.zeros_like(written), tolerance=1e-14, max_iter=sweeps, memory=memory
        )
        assert report.share_not_converged == 0
        read = (states @ r[:, :, 0, :, None])[..., 0]
        assert (read - exact[:, :, 0]).norm() / exact.norm() < 1e-10
        assert (states[:, -1] - final[:, 0]).norm() / final.norm() < 1e-10


def contraction(radius: float) -> tuple[Tensor, Tensor]:
    """A linear map of a given spectral radius, far from normal, and its offset."""
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(B, N, N, dtype=torch.float64, generator=generator)
    matrix = matrix * (radius / torch.linalg.eigvals(matrix).abs().amax(-1)[:, None, None])
    return matrix, torch.randn(B, N, dtype=torch.float64, generator=generator)


def apply(matrix: Tensor, offset: Tensor, z: Tensor) -> Tensor:
    return (matrix @ z[..., None])[..., 0] + offset


def test_acceleration_needs_fewer_passes_than_iteration() -> None:
    matrix, offset = contraction(0.95)
    passes = [
        solve_fixed_point(
            lambda z: apply(matrix, offset, z),
            torch.zeros_like(offset),
            tolerance=1e-8,
            max_iter=1000,
            memory=memory,
        )[1].iterations
        for memory in (1, 6)
    ]
    assert passes[1] < passes[0] / 4


def test_acceleration_converges_where_iteration_diverges() -> None:
    matrix, offset = contraction(1.2)
    exact = torch.linalg.solve(torch.eye(N) - matrix, offset)
    z, report = solve_fixed_point(
        lambda z: apply(matrix, offset, z),
        torch.zeros_like(offset),
        tolerance=1e-10,
        max_iter=100,
        memory=N + 1,
    )
    assert report.share_not_converged == 0
    assert (z - exact).norm() / exact.norm() < 1e-8
    _, report = solve_fixed_point(
        lambda z: apply(matrix, offset, z),
        torch.zeros_like(offset),
        tolerance=1e-10,
        max_iter=100,
        memory=1,
    )
    assert report.share_not_converged == 1


def test_a_sequence_does_not_see_the_others() -> None:
    matrix, offset = contraction(0.9)
    matrix[0] *= 0.1  # converges long before the others

    def solve(rows: slice) -> tuple[Tensor, Tensor]:
        z, report = solve_fixed_point(
            lambda z: apply(matrix[rows], offset[rows], z),
            torch.zeros_like(offset[rows]),
            tolerance=1e-6,
            max_iter=100,
        )
        return z, report.residual

    together, residual = solve(slice(None))
    alone, residual_alone = solve(slice(0, 1))
    torch.testing.assert_close(together[:1], alone, rtol=1e-14, atol=1e-14)
    assert residual[0] == pytest.approx(float(residual_alone), rel=1e-6)


def test_what_is_not_finite_is_never_an_answer() -> None:
    z, report = solve_fixed_point(
        lambda z: torch.full_like(z, float("nan")), torch.ones(2, 3), tolerance=1e-4, max_iter=5
    )
    assert torch.equal(z, torch.ones(2, 3))
    assert report.share_not_converged == 1
    assert report.iterations == 5
