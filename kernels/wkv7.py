"""The public operator, the RWKV-7 recurrence on tensors, and the checks of its arguments.

The recurrence is defined in `loop`. An RWKV-7 layer feeds ``a = -kappa`` and ``b = kappa * eta``:
the normalised removal key and the in-context learning rate times it. Nothing here knows about
layers or forecasts.

Letters: B sequences, T steps, H heads, K key channels, V value channels.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from .dispatch import choose_in_place_step, choose_path
from .loop import loop_step
from .precision import state_dtype

__all__ = ["wkv7", "wkv7_step"]


def wkv7(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    lengths: Tensor | None = None,
    lowest_log_decay: float | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Run the RWKV-7 recurrence over whole sequences.

    Parameters
    ----------
    r, k, a, b
        Receptance, key, and the two vectors of the rank-one state transition, (B, T, H, K).
    w
        Natural logarithm of the decay, (B, T, H, K), at most 0. RWKV-7 layers stay above
        `LOG_DECAY_BOUND`; lower values are legal and take a path step by step when a chunk could
        not hold their exponents.
    v
        Value, (B, T, H, V).
    initial_state
        State before the first step, (B, H, V, K); zeros if not given.
    output_final_state
        Whether to return the state after the last step.
    lengths
        Number of valid steps per sequence, (B,), integers in [0, T]. Later steps are right
        padding: they leave the state alone and their output is zero.
    lowest_log_decay
        A promise that no value of `w` is lower. Without it `w` is read before the path is chosen,
        and on a GPU that means to wait for it.
    backend
        ``"auto"`` chooses by device and shape. ``"triton"`` (GPU kernels), ``"numba"`` (compiled
        for the CPU), ``"chunked"`` (matrix products) and ``"loop"`` (the definition) force a path.

    Returns
    -------
    o
        Output, (B, T, H, V), in the dtype of `v`.
    final_state
        (B, H, V, K) in float32 (float64 for float64 inputs), or None when not asked for.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices disagree, or the backend is unknown or cannot run here; the
        message says why.
    """
    if initial_state is not None or lengths is not None or not _agree(r, w, k, v, a, b):
        _check(r, w, k, v, a, b, initial_state, lengths)
    valid = None
    if lengths is not None:
        valid = (torch.arange(r.shape[1], device=r.device) < lengths[:, None])[:, :, None, None]
        w = torch.where(valid, w, 0.0)  # not a product: padding may hold NaN
    path = choose_path(backend, r, w, v, lowest_log_decay)
    if path.masks_itself:
        return path.scan(
            *(r, w, k, v, a, b),
            initial_state=None if initial_state is None else initial_state.float(),
            output_final_state=output_final_state,
            lengths=lengths,
        )
    output_dtype = v.dtype
    if valid is not None:
        r, k, v, a, b = (torch.where(valid, x, 0.0) for x in (r, k, v, a, b))
    dtype = state_dtype(output_dtype)
    if output_dtype != dtype:
        r, w, k, v, a, b = (x.float() for x in (r, w, k, v, a, b))
    if initial_state is not None:
        initial_state = initial_state.to(dtype)
    with _full_precision(r):
        o, final_state = path.scan(
            *(r, w, k, v, a, b),
            initial_state=initial_state,
            output_final_state=output_final_state,
        )
    return o.to(output_dtype), final_state


def wkv7_step(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor,
    *,
    in_place: bool = False,
) -> tuple[Tensor, Tensor]:
    """Advance the recurrence by one step, for decoding.

    Parameters
    ----------
    r, w, k, a, b
        (B, H, K), as in `wkv7` without the time axis.
    v
        (B, H, V).
    state
        (B, H, V, K), float32 or float64.
    in_place
        Whether to overwrite `state`, which no gradient may need. On a GPU with Triton that is one
        launch that reads and writes the state once.

    Returns
    -------
    o, state
        Output (B, H, V) in the dtype of `v`, and the new state: `state` itself if `in_place`,
        which otherwise does not change.
    """
    if not in_place:
        with _full_precision(r):
            return loop_step(r, w, k, v, a, b, state)
    advance = choose_in_place_step(r, v, state)
    if advance is not None:
        with torch.no_grad():
            return advance(r, w, k, v, a, b, state), state
    with torch.no_grad(), _full_precision(r):
        o, new_state = loop_step(r, w, k, v, a, b, state)
        return o, state.copy_(new_state)


def _full_precision(x: Tensor) -> torch.autocast | nullcontext[None]:
    """Keep autocast from lowering the products inside the scan."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _agree(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> bool:
    """Whether `_check` would find nothing wrong, in as few microseconds as that takes."""
    shape, dtype, device = r.shape, r.dtype, r.device
    return (
        len(shape) == 4
        and r.numel() > 0
        and dtype.is_floating_point
        and shape == w.shape == k.shape == a.shape == b.shape
        and shape[:3] == v.shape[:-1]
        and v.numel() > 0
        and dtype is w.dtype is k.dtype is v.dtype is a.dtype is b.dtype
        and device == w.device == k.device == v.device == a.device == b.device
    )


def _check(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    initial_state: Tensor | None,
    lengths: Tensor | None,
) -> None:
    if r.ndim != 4 or 0 in r.shape:
        raise ValueError(f"r must be (B, T, H, K) with no empty axis, got {tuple(r.shape)}.")
    for name, x in (("w", w), ("k", k), ("a", a), ("b", b)):
        if x.shape != r.shape:
            raise ValueError(
                f"{name} must have the shape of r, {tuple(r.shape)}, got {tuple(x.shape)}."
            )
    if v.ndim != 4 or v.shape[:3] != r.shape[:3] or v.shape[3] == 0:
        raise ValueError(
            f"v must be (B, T, H, V) = ({', '.join(map(str, r.shape[:3]))}, V), "
            f"got {tuple(v.shape)}."
        )
    for name, x in (("w", w), ("k", k), ("v", v), ("a", a), ("b", b)):
        if x.dtype != r.dtype or x.device != r.device:
            raise ValueError(
                f"{name} is {x.dtype} on {x.device} but r is {r.dtype} on {r.device}; "
                "give all inputs one dtype and one device."
            )
    if not r.dtype.is_floating_point:
        raise ValueError(f"r must be floating point, got {r.dtype}.")
    if initial_state is not None:
        expected = (r.shape[0], r.shape[2], v.shape[3], r.shape[3])
        if initial_state.shape != expected:
            raise ValueError(
                f"initial_state must be (B, H, V, K) = {expected}, "
                f"got {tuple(initial_state.shape)}."
            )
    if lengths is not None and (lengths.shape != r.shape[:1] or lengths.dtype.is_floating_point):
        raise ValueError(
            f"lengths must be {r.shape[0]} integers, one a sequence, "
            f"got {lengths.dtype} of shape {tuple(lengths.shape)}."
        )
