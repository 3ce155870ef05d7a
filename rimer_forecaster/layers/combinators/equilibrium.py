"""Equilibrium layers: one set of layers, iterated to a fixed point instead of stacked.

Source: Li and Liu (2025), "BlackGoose Rimer", arXiv:2503.06121, which names the idea; Bai, Kolter
and Koltun (2019), "Deep equilibrium models", arXiv:1909.01377; and for the penalty Bai, Koltun and
Kolter (2021), "Stabilizing equilibrium models by Jacobian regularization", arXiv:2106.14342.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..block import Stack
from ..layer_string import LayerCall
from ..parts.dropout import Dropout, RandomModule
from ..parts.fixed_point import SolverReport, solve_fixed_point
from ..parts.implicit import TokenMap, feedback_rate, with_implicit_gradient
from ..protocol import ALONE, Mixer, Pass, State
from ..registry import Site, Variant, build_calls, register

__all__ = ["Equilibrium", "NotConverged"]

_PROBE = 0.1
"""Size of the steps that measure how the map contracts, relative to the token."""

_LIMIT = 0.9
"""Rate of a token's feedback from which on it is penalised."""

_START = 0.1
"""Share of what the layers add that they read again, before training."""


class NotConverged(UserWarning):
    """An equilibrium was not reached; what was computed is the best iterate."""


class Equilibrium(Mixer, RandomModule):
    """Layers that read what they add: ``y = x + update(x + feedback * (y - x))``.

    Here ``update(z) = layers(z) - z``, and `feedback` (D,) is learned. Without feedback these are
    the layers themselves, in one pass. With it a token reads the answer at the token before, which
    no number of passes bounds: every sequence takes as many as it needs to converge. Backward the
    equation itself is differentiated, by one linear system, so that memory does not depend on the
    number of passes.

    Parameters
    ----------
    layers
        What is iterated, without dropout.
    width
        D.
    dropout
        Probability of zeroing an element of what the layers add; the same elements in all passes.
    tolerance
        Relative residual at which a sequence has converged. Half of the digits of the dtype are all
        that can be had; the smallest useful value in float32 is about 1e-6.
    max_iter
        Most passes forward, and most backward.
    penalty
        Weight in the loss of how far a token's feedback on itself exceeds a rate of 0.9, squared;
        an estimate from one random token per sequence. Below that it is zero. What a token takes
        from earlier ones is not penalised: since no token sees a later one, equilibria settle in
        the order of time, and there is exactly one if each token's own feedback contracts.

    Attributes
    ----------
    report : SolverReport or None
        Of the last forward pass.
    backward_report : SolverReport or None
        Of the last backward pass.

    State
    -----
    That of the layers, at the fixed point. Cutting a sequence gives the output of one pass up to
    the tolerance.

    Raises
    ------
    ValueError
        If an argument is out of range; in ``forward``, if the layer is being exported.

    Warns
    -----
    NotConverged
        If a sequence has not converged within `max_iter` passes, forward or backward.
    """

    def __init__(
        self,
        layers: Stack,
        *,
        width: int,
        dropout: float = 0.0,
        tolerance: float = 1e-4,
        max_iter: int = 50,
        penalty: float = 1.0,
    ) -> None:
        super().__init__()
        valid = {
            "tolerance": _is_number(tolerance) and 0 < tolerance < 1,
            "max_iter": _is_number(max_iter) and max_iter >= 1 and max_iter == int(max_iter),
            "penalty": _is_number(penalty) and penalty >= 0,
        }
        values = {"tolerance": tolerance, "max_iter": max_iter, "penalty": penalty}
        for name, value in values.items():
            if not valid[name]:
                raise ValueError(
                    f"{name}={value!r} of equilibrium is out of range: tolerance lies between 0 "
                    "and 1, max_iter is a whole number of at least 1, penalty at least 0."
                )
        self.tolerance, self.max_iter, self.penalty_weight = tolerance, int(max_iter), penalty
        self.layers = layers
        self.memory, self.shifts = layers.memory, layers.shifts
        self.feedback = nn.Parameter(torch.empty(width))
        self.dropout = Dropout(dropout)
        self.report: SolverReport | None = None
        self.backward_report: SolverReport | None = None

    def init_state(self, batch_size: int) -> State:
        """Return the state of the layers; see `Mixer`."""
        return self.layers.init_state(batch_size)

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Solve for the tokens; see `Mixer`. The layers' own values are not shared with others."""
        if torch.compiler.is_exporting():
            raise ValueError(
                "an equilibrium layer takes as many passes as its input needs, which an exported "
                "graph cannot hold. Export a model of other layers."
            )
        mask = companions.mask
        inside = replace(companions, shared=None)
        kept = self.dropout(torch.ones_like(x)) if self.training and self.dropout.p else None
        real = None if mask is None else mask[..., None]

        def read(y: Tensor) -> Tensor:
            return torch.addcmul(x, self.feedback, y - x)

        def f(y: Tensor) -> Tensor:
            z = read(y)
            update = self.layers(z, state, inside)[0] - z
            y = x + (update if kept is None else kept * update)
            return y if real is None else y.where(real, 0.0)

        start = x.detach() if real is None else x.detach().where(real, 0.0)
        y, self.report = self._solve(f, start, "forward")
        if torch.is_grad_enabled():
            y = self._attach_gradient(f, y, mask)
        if state is None:
            return y, None
        _, state = self.layers(read(y), state, inside)
        return y, state

    def _attach_gradient(self, f: TokenMap, solution: Tensor, mask: Tensor | None) -> Tensor:
        """Return the fixed point with the gradient of its equation; set the penalty."""
        leaf = solution.detach().requires_grad_()
        image = f(leaf)
        self.penalty = None
        if self.training and self.penalty_weight:
            excess = torch.relu(self._feedback(f, solution, image, mask) - _LIMIT)
            if bool(excess.any()):  # else nothing is to be differentiated
                self.penalty = self.penalty_weight * excess.square().mean()

        def solve(transposed: TokenMap, start: Tensor) -> Tensor:
            u, self.backward_report = self._solve(transposed, start, "backward")
            return u

        return with_implicit_gradient(image, leaf, solve)

    def _feedback(
        self, f: TokenMap, solution: Tensor, image: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the rate of the feedback of one random token of each sequence, (B,)."""
        B, T, D = solution.shape
        device = self.device_of_draws(solution.device)
        ranks = torch.rand(B, T, generator=self.generator, device=device).to(solution.device)
        if mask is not None:
            ranks = ranks.where(mask, -1.0)
        step = torch.randn(B, D, generator=self.generator, device=device).to(solution)
        return feedback_rate(f, solution, image, chosen=ranks.argmax(1), step=step, probe=_PROBE)

    def _solve(self, f: TokenMap, start: Tensor, way: str) -> tuple[Tensor, SolverReport]:
        z, report = solve_fixed_point(f, start, tolerance=self.tolerance, max_iter=self.max_iter)
        if report.share_not_converged:
            warnings.warn(
                f"{report.share_not_converged:.0%} of the sequences did not reach their "
                f"equilibrium in {self.max_iter} passes {way}: the largest residual is "
                f"{float(report.residual.max()):.0e}, the tolerance {self.tolerance:.0e}. Raise "
                "penalty or max_iter of the equilibrium layer, or lower the learning rate.",
                NotConverged,
                stacklevel=2,
            )
        return z, report

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; a tenth of what the layers add is read again at the start."""
        self.layers.reset_parameters(generator)
        self.feedback.fill_(_START)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


@register(
    "equilibrium",
    Variant("equilibrium(rwkv7)", "Bai et al. 2019, 1909.01377", "T * passes"),
    made_of_layers=True,
    options=("tolerance", "max_iter", "penalty"),
)
def _equilibrium(site: Site, inner: Sequence[LayerCall], **options: Any) -> Equilibrium:
    # Dropout inside would make another map of every iteration: it is held for all of them outside.
    layers = build_calls(
        inner,
        width=site.width,
        head_size=site.head_size,
        dropout=0.0,
        perspectives=site.perspectives,
    )
    return Equilibrium(layers, width=site.width, dropout=site.dropout, **options)
