"""Causal softmax attention under the protocol of this package: the mixer of the Timer baseline.

Source: Vaswani et al. (2017), arXiv:1706.03762; rotary positions: Su et al. (2021),
arXiv:2104.09864. Timer (Liu et al., 2024, arXiv:2402.02368) adds sinusoidal positions to its
tokens; rotary ones cost as few parameters and see distances only, so a stream may go on for ever.

Letters: B sequences, T tokens, D width, H heads, N head size (H * N = D), W window, S cached
tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..block import Block
from ..parts.initialisation import uniform_linear
from ..parts.rotary import check_pairs, rotate
from ..parts.window import attend_within, latest
from ..protocol import ALONE, Mixer, Pass, State
from ..registry import Site, Variant, register
from .channel_mix import FeedForward
from .sparse_attention import SparseAttention

__all__ = ["Attention"]

_MOST = 2**20
"""Longest window, whose cache a state holds: a string may come from a file."""


class Attention(Mixer):
    """Multi-head causal attention over all earlier tokens, or over a window of them.

    Parameters
    ----------
    width
        D, number of channels of a token.
    head_size
        N, channels of a head; even, and must divide `width`.
    window
        W, how many tokens a token sees, itself among them; None for all. Only with a window is the
        state of constant size.
    rotary
        Whether positions rotate keys and queries.

    State
    -----
    ``key``, ``value`` (B, H, S, N), the latest S real tokens at the end and zeros before them, with
    S = W, or as many as were seen; ``count`` (B,), real tokens seen so far.

    Raises
    ------
    ValueError
        If the head size is odd and positions are to be rotated, or the window is not a whole number
        from 1 to 2**20; in ``forward``, if a state's cache is not as long as the window.
    """

    def __init__(
        self, width: int, *, head_size: int, window: int | None = None, rotary: bool = True
    ) -> None:
        super().__init__()
        if rotary:
            check_pairs(head_size)
        if window is not None and not (isinstance(window, int) and 1 <= window <= _MOST):
            raise ValueError(
                f"window={window!r} of attention must be a whole number of at least 1 and at most "
                f"{_MOST:,}."
            )
        self.width, self.head_size, self.window, self.rotary = width, head_size, window, rotary
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def init_state(self, batch_size: int) -> State:
        """Return an empty cache; see `Mixer`."""
        weight, N = self.key.weight, self.head_size
        cache = weight.new_zeros(batch_size, self.width // N, self.window or 0, N)
        count = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return {"key": cache, "value": cache.clone(), "count": count}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        B, T, _ = x.shape
        mask = companions.mask
        heads = (B, T, -1, self.head_size)
        q, k, v = (f(x).view(heads).transpose(1, 2) for f in (self.query, self.key, self.value))
        before = torch.zeros(B, dtype=torch.int64, device=x.device)
        if state is not None:
            self._check_cache(state["key"])
            before = state["count"]
        real = x.new_ones(B, T, dtype=torch.bool) if mask is None else mask
        place = before[:, None] + real.cumsum(1) - 1  # (B, T), among the real tokens
        if self.rotary:
            q, k = rotate(q, place), rotate(k, place)
        if state is None and mask is None:
            y = self._attend_alone(q, k, v)
        else:
            y, state = self._attend(q, k, v, state, real, place)
        y = self.output(y.transpose(1, 2).reshape(x.shape))
        return y, state

    def _attend_alone(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend among tokens that all count, (B, H, T, N)."""
        if self.window is None or self.window >= q.shape[2]:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return attend_within(q, k, v, self.window)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, state: State | None, real: Tensor, place: Tensor
    ) -> tuple[Tensor, State | None]:
        """Attend to cached and to new tokens, some of which may be masked."""
        T = real.shape[1]
        key, value, count = k, v, place[:, -1] + 1
        valid, key_place = real, place
        if state is not None:
            S = state["key"].shape[2]
            cached = state["count"][:, None] + torch.arange(-S, 0, device=q.device)  # (B, S)
            key, value = torch.cat((state["key"], k), 2), torch.cat((state["value"], v), 2)
            valid = torch.cat((cached >= 0, real), 1)
            key_place = torch.cat((cached, place), 1)
        distance = place[:, :, None] - key_place[:, None]  # (B, T, S + T)
        seen = valid[:, None] & (distance >= 0)
        if self.window is not None:
            seen = seen & (distance < self.window)
        # A masked token may see itself alone: its output is undefined, but must not be NaN.
        itself = torch.eye(T, dtype=torch.bool, device=q.device)
        seen = seen | F.pad(itself & ~real[:, None], (key.shape[2] - T, 0))
        y = F.scaled_dot_product_attention(q, key, value, attn_mask=seen[:, None])
        if state is None:
            return y, None
        size = int(count.max()) if self.window is None else self.window
        key, value = latest(valid, size, key, value)
        return y, {"key": key, "value": value, "count": count}

    def _check_cache(self, key: Tensor) -> None:
        if self.window is not None and key.shape[2] != self.window:
            raise ValueError(
                f"the state's cache holds {key.shape[2]} tokens, but the window of attention is "
                f"{self.window}: it is the state of another model."
            )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the output starts at zero, like that of every mixer here."""
        for linear in (self.query, self.key, self.value, self.output):
            uniform_linear(linear, generator)
        nn.init.zeros_(self.output.weight)


_PAPER = "Vaswani et al. 2017, 1706.03762"


@register(
    "attention",
    Variant("attention", _PAPER, "T^2"),
    Variant("attention(window=64)", _PAPER, "T * window"),
    Variant("attention(topk=3, chunk=64)", "Hou et al. 2025, 2504.21463", "T * chunk * kept"),
)
def _attention(
    site: Site,
    *,
    window: int | None = None,
    topk: int | None = None,
    chunk: int | None = None,
    kept: int | None = None,
    positions: str = "rotary",
) -> Block:
    if positions not in ("rotary", "off"):
        raise ValueError(f"positions={positions} of attention must be rotary or off.")
    sizes = {"topk": topk, "chunk": chunk, "kept": kept}
    given: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    if given and (topk is None or window is not None):
        raise ValueError(
            f"{', '.join(given)} of attention choose among chunks of all tokens, as in "
            "attention(topk=3, chunk=64): give topk and no window."
        )
    kind = Attention if topk is None else SparseAttention
    mixer = kind(
        site.width,
        head_size=site.head_size,
        rotary=positions == "rotary",
        **(given or {"window": window}),
    )
    return Block(mixer, FeedForward(site.width), width=site.width, dropout=site.dropout)
