"""Does a path compute what the definition says? Checks that the tests and the benchmark share.

Everything is held against the step loop in float64: the output, the final state, and the gradients
of a fixed random combination of both with regard to all six inputs and the initial state.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from .loop import LOG_DECAY_BOUND, loop_scan
from .precision import state_dtype

__all__ = [
    "LENGTHS",
    "MODES",
    "failure",
    "incoming_gradient",
    "inputs",
    "relative_errors",
    "run",
    "state_like",
]

LENGTHS = (1, 2, 15, 16, 17, 63, 64, 65, 257)
"""Around the edges of chunks of 16 and 64 steps."""

MODES = ("normal", "strong decay", "weak decay", "repeated keys", "zero keys", "reflecting")


def inputs(
    T: int, mode: str = "normal", *, B: int = 2, H: int = 2, K: int = 8, V: int = 6, seed: int = 0
) -> tuple[Tensor, ...]:
    """Draw r, w, k, v, a, b as an RWKV-7 layer feeds them, (B, T, H, K or V) in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    r, k, v = normal(B, T, H, K), normal(B, T, H, K), normal(B, T, H, V)
    raw = normal(B, T, H, K) + {"strong decay": 8.0, "weak decay": -8.0}.get(mode, 0.0)
    eta = torch.sigmoid(normal(B, T, H, K))
    kappa = normal(B, T, H, K)
    if mode == "repeated keys":  # a flat or periodic series
        k, kappa = k[:, :1].expand_as(k), kappa[:, :1] + 1e-3 * kappa
        eta = torch.full_like(eta, 0.999)
    if mode == "reflecting":  # an in-context learning rate near its upper limit
        eta = 1.999 + 1e-3 * eta
    if mode == "zero keys":
        k, kappa = torch.zeros_like(k), torch.zeros_like(kappa)
    kappa = torch.nn.functional.normalize(kappa, dim=-1, eps=1e-12)
    return r, LOG_DECAY_BOUND * torch.sigmoid(raw), k.contiguous(), v, -kappa, kappa * eta


def state_like(tensors: tuple[Tensor, ...], seed: int = 1) -> Tensor:
    """Draw a state for inputs, (B, H, V, K)."""
    r, _, _, v, _, _ = tensors
    generator = torch.Generator().manual_seed(seed)
    shape = (r.shape[0], r.shape[2], v.shape[3], r.shape[3])
    return torch.randn(*shape, generator=generator, dtype=r.dtype)


def run(
    scan: Callable[..., tuple[Tensor, Tensor | None]],
    tensors: tuple[Tensor, ...],
    state: Tensor | None,
    dtype: torch.dtype,
    *,
    output_final_state: bool | None = None,
    device: str = "cpu",
    **options: Tensor | None,
) -> list[Tensor]:
    """Return a scan's output, its final state and all gradients, in float64.

    The final state is asked for where an initial one is given, unless told otherwise. `options` go
    to the scan.
    """
    if output_final_state is None:
        output_final_state = state is not None
    leaves = [x.to(device, dtype).requires_grad_() for x in tensors]
    if state is not None:
        leaves.append(state.to(device, state_dtype(dtype)).requires_grad_())
    o, final_state = scan(
        *leaves[:6],
        initial_state=leaves[6] if state is not None else None,
        output_final_state=output_final_state,
        **options,
    )
    loss = (o.double() * incoming_gradient(o.shape).to(device)).sum()
    results = [o]
    if output_final_state:
        assert final_state is not None
        assert final_state.dtype == state_dtype(dtype)
        weight = state_like(tensors, seed=3).to(final_state)
        loss = loss + (final_state * weight).sum()
        results.append(final_state)
    else:
        assert final_state is None
    gradients = torch.autograd.grad(loss, leaves)
    assert all(x.dtype == y.dtype for x, y in zip(gradients, leaves, strict=True))
    return [x.detach().double().cpu() for x in (*results, *gradients)]


def incoming_gradient(shape: torch.Size) -> Tensor:
    """Draw the gradient of the output, in float64, from values that every precision can hold."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(shape, generator=generator, dtype=torch.float64).bfloat16().double()


def relative_errors(actual: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Return the error of each result relative to its norm, or to 1 where it is smaller."""
    return [
        float((x - y).norm() / max(float(y.norm()), 1.0))
        for x, y in zip(actual, expected, strict=True)
    ]


def failure(
    scan: Callable[..., tuple[Tensor, Tensor | None]],
    tensors: tuple[Tensor, ...],
    state: Tensor | None,
    dtype: torch.dtype,
    *,
    output_final_state: bool | None = None,
    device: str = "cpu",
) -> str | None:
    """Hold a scan against the definition and return what is wrong, or None.

    float32 may be off by 1e-5 in the output and the final state and by 1e-4 in the gradients, each
    relative to its norm. Half precision may be off by 1.5 times what rounding the inputs alone
    does; the rounding of the result itself, which is independent, comes on top.
    """
    if output_final_state is None:
        output_final_state = state is not None
    results = functools.partial(run, output_final_state=output_final_state)
    exact = results(loop_scan, tensors, state, torch.float64, device=device)
    actual = results(scan, tensors, state, dtype, device=device)
    errors = relative_errors(actual, exact)
    outputs = 2 if output_final_state else 1
    if dtype in (torch.float32, torch.float64):
        allowed = [1e-5] * outputs + [1e-4] * (len(errors) - outputs)
    else:
        inputs_rounded = tuple(x.to(dtype).double() for x in tensors)
        rounded = results(loop_scan, inputs_rounded, state, torch.float64)
        from_inputs = relative_errors(rounded, exact)
        from_result = relative_errors([x.to(dtype).double() for x in exact], exact)
        allowed = [math.hypot(1.5 * x, y) for x, y in zip(from_inputs, from_result, strict=True)]
    names = ("output", *(["final state"] if output_final_state else []), *"rwkvab", "initial state")
    wrong = [
        f"{name} off by {error:.1e}, allowed {limit:.1e}"
        for name, error, limit in zip(names, errors, allowed, strict=False)
        if not error <= limit
    ]
    return "; ".join(wrong) or None
