"""Linear attention whose weights are the second-order Taylor series of the exponential: BASED.

Source: Arora et al. (2024), "Simple linear attention language models balance the recall-throughput
tradeoff", arXiv:2402.18668. Token shift takes the place of their short convolutions (ours).

Letters: B sequences, T tokens, D width, H heads, N head size, d features of a query or key, F
numbers that the map makes of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rimer_forecaster.kernels.precision import state_dtype

from ..block import Block
from ..parts.initialisation import uniform_linear
from ..parts.linear_attention import KERNELS, FeatureMap, causal_sums, taylor_features
from ..parts.token_shift import token_shift
from ..protocol import ALONE, Pass, State
from ..registry import Site, Variant, register
from .channel_mix import FeedForward
from .shifted import ShiftedMixer

__all__ = ["Taylor", "taylor_features"]


class Taylor(ShiftedMixer):
    """``y = phi(q) sum_i phi(k_i) v_i / phi(q) sum_i phi(k_i)`` over all tokens so far.

    Parameters
    ----------
    width
        D.
    head_size
        N, value channels of a head.
    feature
        d, query and key channels of a head: the dial between memory and recall.
    kernel
        ``"taylor"``, or ``"elu"`` for the map of plain linear attention, with d numbers.
    perspectives
        As in `RWKV7TimeMix`.

    State
    -----
    ``shift`` (B, D), the last token; ``memory`` (B, H, F, N) and ``weight`` (B, H, F), means over
    the tokens so far of phi(k) v and of phi(k), float32 (float64 in double precision); ``count``
    (B,), how many these are. Where a memory is given at the start it counts as one token.

    Raises
    ------
    ValueError
        If `feature` or `kernel` is none of these.
    """

    memory = ("memory",)

    def __init__(
        self,
        width: int,
        *,
        head_size: int,
        feature: int = 16,
        kernel: str = "taylor",
        perspectives: int = 1,
    ) -> None:
        super().__init__(width, 3, perspectives=perspectives)  # ways of q, k, v
        if not isinstance(feature, int) or feature < 1:
            raise ValueError(f"feature={feature!r} of taylor must be a whole number of at least 1.")
        if kernel not in KERNELS:
            raise ValueError(f"kernel={kernel} of taylor must be taylor or elu.")
        self.head_size, self.feature = head_size, feature
        self.is_taylor = kernel == "taylor"
        heads = width // head_size
        self.query = nn.Linear(width, heads * feature, bias=False)
        self.key = nn.Linear(width, heads * feature, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    @property
    def _kernel(self) -> FeatureMap:
        return KERNELS["taylor" if self.is_taylor else "elu"]

    def init_state(self, batch_size: int) -> State:
        """Return zeros; see `Mixer`."""
        weight, size = self.key.weight, self._kernel.size(self.feature)
        dtype = state_dtype(weight.dtype)
        heads = (batch_size, self.width // self.head_size)
        return {
            **super().init_state(batch_size),
            "memory": weight.new_zeros(*heads, size, self.head_size, dtype=dtype),
            "weight": weight.new_zeros(*heads, size, dtype=dtype),
            "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
        }

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        B, T, D = x.shape
        mask = companions.mask
        previous, last = token_shift(x, None if state is None else state["shift"], mask)
        x_q, x_k, x_v = self.lerps(x, previous, companions).unbind(0)
        q, k, v = (
            f(z).view(B, T, D // self.head_size, -1).transpose(1, 2)
            for f, z in ((self.query, x_q), (self.key, x_k), (self.value, x_v))
        )
        dtype = state_dtype(x.dtype)
        v = F.pad(v.to(dtype), (0, 1), value=1.0)  # the last channel sums the weights
        real = v.new_ones(1, T) if mask is None else mask.to(dtype)
        start = None
        if state is not None:
            start = torch.cat((state["memory"], state["weight"][..., None]), -1)
            start = start * state["count"].clamp_min(1)[:, None, None, None]
        sums, total = causal_sums(self._kernel, q.to(dtype), k.to(dtype), v, real, start)
        y = (sums[..., :-1] / sums[..., -1:]).to(x.dtype)
        y = self.output(y.transpose(1, 2).reshape(x.shape))
        if state is None:
            return y, None
        assert total is not None, "there is a total where there was a start"
        return y, {"shift": last, **self._after(total, real, state)}

    def _after(self, total: Tensor, real: Tensor, state: State) -> State:
        """Return means over all tokens so far; `total` is their sum, (B, H, F, N + 1)."""
        count = state["count"]
        new = count + real.sum(1).to(count.dtype)
        mean = total / new.clamp_min(1)[:, None, None, None]
        read = (new > count)[:, None, None]
        return {
            "memory": mean[..., :-1].where(read[..., None], state["memory"]),
            "weight": mean[..., -1].where(read, state["weight"]),
            "count": new,
        }

    def log_decay(self, x: Tensor, state: State | None = None, companions: Pass = ALONE) -> Tensor:
        """Return zeros, (B, T, H, 1): nothing is forgotten."""
        return x.new_zeros(*x.shape[:2], self.width // self.head_size, 1)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; a ramp of channels looks at the token before."""
        ramp = torch.arange(self.width) / self.width
        self._reset_lerps((1 - ramp).expand(3, -1), generator)
        for linear in (self.query, self.key, self.value):
            uniform_linear(linear, generator)
        nn.init.zeros_(self.output.weight)


@register("taylor", Variant("taylor(feature=16)", "Arora et al. 2024, 2402.18668", "T * feature^2"))
def _taylor(site: Site, *, feature: int = 16, kernel: str = "taylor") -> Block:
    mixer = Taylor(
        site.width,
        head_size=site.head_size,
        feature=feature,
        kernel=kernel,
        perspectives=site.perspectives,
    )
    return Block(mixer, FeedForward(site.width), width=site.width, dropout=site.dropout)
