"""RWKV-7 time mix: the layer around the WKV-7 recurrence.

Source: Peng et al. (2025), "RWKV-7 Goose with Expressive Dynamic State Evolution",
arXiv:2503.14456, and the initialisation of the authors' training code (RWKV-LM, RWKV-v7).

Letters: B sequences, T tokens, D width, H heads, N head size (H * N = D).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rimer_forecaster.kernels import LOG_DECAY_BOUND, epilogue, prologue, wkv7

from ..parts.initialisation import uniform_linear
from ..parts.token_shift import token_shift
from ..protocol import LayerPosition, Mixer, Shared, State

__all__ = ["RWKV7TimeMix", "low_rank"]


def low_rank(width: int, factor: float) -> int:
    """Rank of a low-rank map: about ``factor * sqrt(width)``.

    From a width of 128 on this is the published rule, in steps of 32 and at least 32. A rank of 32
    would be as large as a layer of width 32, so smaller widths take steps of 8, and never more
    than half the width.
    """
    step = 32 if width >= 128 else 8
    rank = max(step, step * round(factor * width**0.5 / step))
    return rank if width >= 128 else max(1, min(rank, width // 2))


class LowRank(nn.Module):
    """``up(activation(down(x)))``, constant at the start: `down` starts at zero."""

    def __init__(
        self,
        width: int,
        rank: int,
        *,
        activation: Callable[[Tensor], Tensor] | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        x = self.down(x)
        x = self.up(x if self.activation is None else self.activation(x))
        return x

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Zero the first map and draw the second as an orthogonal one, scaled by 0.1."""
        nn.init.zeros_(self.down.weight)
        # Drawn as (rank, width) like the published code, which multiplies from the left.
        nn.init.orthogonal_(self.up.weight.T, gain=0.1, generator=generator)


class RWKV7TimeMix(Mixer):
    """RWKV-7 token mixer.

    Parameters
    ----------
    width
        D, number of channels of a token.
    head_size
        N, key and value channels of a head; must divide `width`.
    position
        Place in the stack. The first RWKV-7 layer has no value residual, and no parameters for it.
    icl_rate_max
        Largest in-context learning rate, in (0, 2]. Up to 1 a step can at most erase what the
        state holds under a key; towards 2 it can turn it over, which swaps two contents: what
        tracking a state through permutations needs (Grazzi et al., 2024, arXiv:2411.12537).

    State
    -----
    ``shift`` (B, D), the last token; ``wkv`` (B, H, N, N), float32 (float64 in double precision).
    """

    def __init__(
        self,
        width: int,
        *,
        head_size: int,
        position: LayerPosition | None = None,
        icl_rate_max: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(icl_rate_max, (int, float)) or not 0 < icl_rate_max <= 2:
            raise ValueError(
                f"icl_rate_max={icl_rate_max!r} must be above 0 and at most 2: beyond that a step "
                "makes the state grow."
            )
        self.icl_rate_max = icl_rate_max
        self.width, self.head_size = width, head_size
        self.position = LayerPosition() if position is None else position
        self.mix = nn.Parameter(torch.empty(6, width))  # lerps of r, w, k, v, a, g
        self.receptance = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.decay = LowRank(width, low_rank(width, 2.5), activation=torch.tanh)
        self.learning_rate = LowRank(width, low_rank(width, 2.5))
        self.gate = LowRank(width, low_rank(width, 5.0), activation=torch.sigmoid, bias=False)
        self.value_residual = (
            None if self.position.first_of_kind else LowRank(width, low_rank(width, 1.7))
        )
        self.removal = nn.Parameter(torch.empty(width))  # k_k of the paper's code
        self.replacement = nn.Parameter(torch.empty(width))  # k_a
        self.bonus = nn.Parameter(torch.empty(width // head_size, head_size))  # r_k
        self.learning_rates = {"decay.up.bias": 2.0}
        self.norm = nn.GroupNorm(width // head_size, width, eps=64e-5)

    def init_state(self, batch_size: int) -> State:
        """Return zeros; see `Mixer`."""
        weight, N = self.key.weight, self.head_size
        state_dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        return {
            "shift": weight.new_zeros(batch_size, self.width),
            "wkv": weight.new_zeros(batch_size, self.width // N, N, N, dtype=state_dtype),
        }

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        mask: Tensor | None = None,
        shared: Shared | None = None,
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        B, T, D = x.shape
        heads = (B, T, D // self.head_size, self.head_size)
        previous, last = token_shift(x, None if state is None else state["shift"], mask)
        x_r, x_w, x_k, x_v, x_a, x_g = torch.addcmul(
            x, previous - x, self.mix[:, None, None]
        ).unbind(0)  # (6, B, T, D)

        v = self.value(x_v)
        first_value = value_residual = None
        if self.value_residual is not None:
            assert shared is not None, "a stack hands the first layer's value to the later ones"
            first_value = shared["first_value"].view(heads)
            value_residual = self.value_residual(x_v).view(heads)
        elif shared is not None:
            shared["first_value"] = v

        r = self.receptance(x_r).view(heads)
        w, k, v, a, b = prologue(
            self.decay(x_w).view(heads),
            self.key(x_k).view(heads),
            v.view(heads),
            self.learning_rate(x_a).view(heads),
            removal=self.removal.view(heads[2:]),
            replacement=self.replacement.view(heads[2:]),
            first_value=first_value,
            value_residual=value_residual,
            mask=mask,
        )
        if self.icl_rate_max != 1:
            b = self.icl_rate_max * b
        o, final_state = wkv7(
            *(r, w, k, v, a, b),
            initial_state=None if state is None else state["wkv"],
            output_final_state=state is not None,
            lowest_log_decay=LOG_DECAY_BOUND,
        )
        y = epilogue(
            *(o, r, k, v, self.gate(x_g).view(heads)),
            bonus=self.bonus,
            weight=self.norm.weight.view(heads[2:]),
            bias=self.norm.bias.view(heads[2:]),
            eps=self.norm.eps,
        )
        y = self.output(y.view(B, T, D))
        return y, None if final_state is None else {"shift": last, "wkv": final_state}

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initialisation for this layer's place in the stack."""
        D, N = self.width, self.head_size
        from_0_to_1 = self.position.index / max(1, self.position.depth - 1)  # guards one layer
        from_1_to_0 = 1.0 - self.position.index / self.position.depth
        channel = torch.arange(D, dtype=torch.float64)
        ramp = channel / max(1, D - 1)  # 0 to 1 over the width
        linear = ramp - 0.5
        zigzag = 2 * (channel % N) / max(1, N - 1) - 1  # -1 to 1 over a head
        zigzag = zigzag * zigzag.abs()

        for lerp, exponent in zip(self.mix, (0.2, 0.9, 0.7, 0.7, 0.9, 0.2), strict=True):
            lerp.copy_(1.0 - (channel / D) ** (exponent * from_1_to_0))
        for low_rank_map in (self.decay, self.learning_rate, self.value_residual, self.gate):
            if low_rank_map is not None:
                low_rank_map.reset_parameters(generator)
        self.decay.up.bias.copy_(-5.5 + 6 * ramp ** (1 + from_0_to_1**0.3) + 2.5 * zigzag)
        self.learning_rate.up.bias.copy_(-0.19 + 0.3 * zigzag + 0.4 * linear)
        if self.value_residual is not None:
            self.value_residual.up.bias.copy_(0.73 - 0.4 * linear)
        self.removal.copy_(0.71 - 0.1 * linear)
        self.replacement.fill_(1.02)
        self.bonus.fill_(-0.04)
        self.norm.reset_parameters()
        self.norm.weight.fill_(((self.position.index + 1) / self.position.depth) ** 0.7)
        uniform_linear(self.receptance, generator, gain=0.5)
        uniform_linear(self.key, generator, gain=0.05)
        uniform_linear(self.value, generator, gain=0.5)
        nn.init.zeros_(self.output.weight)
