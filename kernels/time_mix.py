"""What an RWKV-7 time mix does to its projections before and after the recurrence.

Elementwise work and sums over a head: nothing beside the recurrence in arithmetic, but 84 bytes an
element in bfloat16 when every operation reads and writes memory. On a GPU two fused kernels move
34 (`triton.time_mix`); on a CPU some of the work is compiled (`numba.time_mix`); elsewhere these
plain forms run, which define them.

Source: Peng et al. (2025), "RWKV-7 Goose with Expressive Dynamic State Evolution",
arXiv:2503.14456, section 4.

Letters: B sequences, T steps, H heads, K key channels, V value channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .dispatch import choose_time_mix
from .loop import LOG_DECAY_BOUND

__all__ = ["epilogue", "keys", "prologue"]


def prologue(
    decay: Tensor,
    k: Tensor,
    v: Tensor,
    learning_rate: Tensor,
    *,
    removal: Tensor,
    replacement: Tensor,
    first_value: Tensor | None = None,
    value_residual: Tensor | None = None,
    mask: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Turn projections into what `wkv7` takes.

    Parameters
    ----------
    decay, learning_rate
        Before their sigmoids, (B, T, H, K).
    k, v
        Key, (B, T, H, K), and value, (B, T, H, V).
    removal, replacement
        Weights of the removal key and of the key's update (k_k and k_a of the authors' code),
        (H, K).
    first_value, value_residual
        Value of the first layer, and how much of it is taken, before the sigmoid; (B, T, H, V),
        both or neither.
    mask
        False where a step must leave the state alone, (B, T).
    backend
        ``"auto"`` takes compiled code where it runs; ``"triton"``, ``"numba"`` and ``"plain"``
        force.

    Returns
    -------
    w, k, v, a, b
        Log decay, key, value, and the vectors of the state's correction, shaped as key and value,
        in the dtype of `v`.
    """
    path = choose_time_mix(backend, k, v)
    if path.prologue is not None:
        return path.prologue(
            *(decay, k, v, learning_rate, removal, replacement),
            *(first_value, value_residual, mask),
        )
    w = LOG_DECAY_BOUND * torch.sigmoid(decay)
    eta = torch.sigmoid(learning_rate)
    k, a, b = (path.keys or keys)(k, eta, removal, replacement)
    dtype = v.dtype
    if first_value is not None and value_residual is not None:
        v = v + (first_value - v) * torch.sigmoid(value_residual)
    if mask is not None:  # nothing decays, is removed or is written
        real = mask[:, :, None, None]
        w, k, a, b = (x.where(real, 0.0) for x in (w, k, a, b))
    # Autocast leaves some of these in float32; the recurrence takes one dtype.
    return w.to(dtype), k.to(dtype), v.to(dtype), a.to(dtype), b.to(dtype)


def keys(
    k: Tensor, eta: Tensor, removal: Tensor, replacement: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the key as it is written, and the vectors of the state's correction.

    Parameters
    ----------
    k, eta
        Key and in-context learning rate, (B, T, H, K).
    removal, replacement
        See `prologue`, (H, K).

    Returns
    -------
    k, a, b
        (B, T, H, K).
    """
    kappa = F.normalize(k * removal, dim=-1, eps=1e-12)
    return k * (1 + (eta - 1) * replacement), -kappa, kappa * eta


def epilogue(
    o: Tensor,
    r: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor,
    *,
    bonus: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    backend: str = "auto",
) -> Tensor:
    """Normalise what was read, add the bonus of the current step and apply the gate.

    Parameters
    ----------
    o
        Output of `wkv7`, (B, T, H, V).
    r, k, v
        As given to `wkv7`, (B, T, H, K) and (B, T, H, V).
    gate
        (B, T, H, V).
    bonus
        Weight of the current step's own value (r_k of the authors' code), (H, K).
    weight, bias, eps
        Of the normalisation over each head, (H, V).
    backend
        As in `prologue`.

    Returns
    -------
    y
        (B, T, H, V).
    """
    path = choose_time_mix(backend, k, v)
    if path.epilogue is not None:
        return path.epilogue(o, r, k, v, gate, bonus, weight, bias, eps)
    B, T, H, V = o.shape
    if torch.compiler.is_exporting():  # ONNX has no group norm, and ONNX Runtime none in float64
        y = F.layer_norm(o, (V,), eps=eps) * weight + bias
    else:
        y = F.group_norm(o.reshape(B * T, H * V), H, weight.flatten(), bias.flatten(), eps)
    y = y.view(B, T, H, V) + (r * k * bonus).sum(-1, keepdim=True) * v
    return (y * gate).to(v.dtype)
