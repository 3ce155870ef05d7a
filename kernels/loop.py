"""The RWKV-7 recurrence as its definition reads: one step after another in plain PyTorch.

Per head, with log decay ``w``, the state ``S`` (V x K) follows the generalised delta rule of Peng
et al. (2025), "RWKV-7 Goose with Expressive Dynamic State Evolution", arXiv:2503.14456:

    S_t = S_{t-1} (diag(exp(w_t)) + a_t b_t^T) + v_t k_t^T
    o_t = S_t r_t

Every other path is held against this one. Letters: B sequences, T steps, H heads, K key channels,
V value channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LOG_DECAY_BOUND", "loop_scan", "loop_step"]

LOG_DECAY_BOUND = -0.6065306597126334
"""-exp(-1/2), the lowest log decay that an RWKV-7 layer produces."""


def loop_step(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute one step, in the precision of the state.

    Parameters
    ----------
    r, w, k, a, b
        (B, H, K), as in `wkv7` without the time axis.
    v
        (B, H, V).
    state
        (B, H, V, K).

    Returns
    -------
    o, state
        Output (B, H, V) in the dtype of `v`, and the new state.
    """
    output_dtype = v.dtype
    r, w, k, a, b = (x.to(state.dtype)[..., None, :] for x in (r, w, k, a, b))
    v = v.to(state.dtype)[..., :, None]
    removed = (state * a).sum(-1, keepdim=True)  # S a, (B, H, V, 1)
    state = state * w.exp() + removed * b + v * k
    return (state * r).sum(-1).to(output_dtype), state


def loop_scan(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    initial_state: Tensor | None,
    output_final_state: bool,
) -> tuple[Tensor, Tensor | None]:
    """Compute `wkv7` as its definition reads; shapes as there."""
    state = initial_state
    if state is None:
        state = v.new_zeros(v.shape[0], v.shape[2], v.shape[3], k.shape[3])
    outputs = []
    # unbind: indexing x[:, t] would make the backward quadratic in T.
    steps = zip(*(x.unbind(1) for x in (r, w, k, v, a, b)), strict=True)
    for r_t, w_t, k_t, v_t, a_t, b_t in steps:
        o, state = loop_step(r_t, w_t, k_t, v_t, a_t, b_t, state)
        outputs.append(o)
    return torch.stack(outputs, 1), state if output_final_state else None
