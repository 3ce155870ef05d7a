"""RWKV-4: a state of five numbers per channel, the smallest that streams here.

Source: Peng et al. (2023), "RWKV: Reinventing RNNs for the Transformer Era", arXiv:2305.13048, and
the initialisation of the authors' training code (RWKV-LM, RWKV-v4).

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rimer_forecaster.kernels import EMPTY, wkv4
from rimer_forecaster.kernels.precision import state_dtype

from ..block import Block
from ..parts.initialisation import uniform_linear
from ..parts.precision import widest_dtype
from ..parts.token_shift import token_shift
from ..protocol import ALONE, Pass, State
from ..registry import Site, Variant, register
from .shifted import ShiftedMixer

__all__ = ["RWKV4ChannelMix", "RWKV4TimeMix"]


class RWKV4TimeMix(ShiftedMixer):
    """RWKV-4 token mixer: means of values, weighted by their keys and forgotten at fixed rates.

    What is written stays as it was written: unlike RWKV-7's, the state cannot erase or swap.

    Parameters
    ----------
    width
        D.
    position
        Place in the stack.
    perspectives
        As in `RWKV7TimeMix`.

    State
    -----
    ``shift`` (B, D), the last token; ``wkv`` (B, 3, D), numerator, denominator and their exponent,
    float32 (float64 in double precision).
    """

    def __init__(self, width: int, **shift: Any) -> None:
        super().__init__(width, 3, **shift)  # ways of r, k, v
        self.decay = nn.Parameter(torch.empty(width))
        self.bonus = nn.Parameter(torch.empty(width))
        self.receptance, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def init_state(self, batch_size: int) -> State:
        """Return the state without tokens; see `Mixer`."""
        weight = self.key.weight
        wkv = weight.new_zeros(batch_size, 3, self.width, dtype=state_dtype(weight.dtype))
        wkv[:, 2] = EMPTY
        return {**super().init_state(batch_size), "wkv": wkv}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        mask = companions.mask
        previous, last = token_shift(x, None if state is None else state["shift"], mask)
        x_r, x_k, x_v = self.lerps(x, previous, companions).unbind(0)
        y, wkv = wkv4(
            self.key(x_k),
            self.value(x_v),
            log_decay=-self.decay.exp(),
            bonus=self.bonus,
            initial_state=None if state is None else state["wkv"],
            mask=mask,
            output_final_state=state is not None,
        )
        y = self.output(torch.sigmoid(self.receptance(x_r)) * y.to(x.dtype))
        return y, None if state is None else {"shift": last, "wkv": wkv}

    def log_decay(self, x: Tensor, state: State | None = None, companions: Pass = ALONE) -> Tensor:
        """Return the log decay of every channel, the same for all tokens; one head."""
        decay = self.decay.to(widest_dtype(self.decay.device))
        return -decay.exp().expand(*x.shape[:2], 1, -1)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initialisation for this layer's place in the stack."""
        from_0_to_1 = self.position.index / max(1, self.position.depth - 1)
        x = (torch.arange(self.width) / self.width) ** (
            1 - self.position.index / self.position.depth
        )
        lerps = (1 - x**0.5, 1 - x, 1 - x - 0.3 * from_0_to_1)
        self._reset_lerps(torch.stack(lerps), generator)
        ramp = torch.arange(self.width) / max(1, self.width - 1)
        self.decay.copy_(-5 + 8 * ramp ** (0.7 + 1.3 * from_0_to_1))
        zigzag = (torch.arange(self.width) + 1) % 3 - 1
        self.bonus.copy_(torch.log(torch.tensor(0.3)) + 0.5 * zigzag)
        uniform_linear(self.value, generator)
        for linear in (self.receptance, self.key, self.output):
            nn.init.zeros_(linear.weight)


class RWKV4ChannelMix(ShiftedMixer):
    """RWKV-4's: ``sigmoid(receptance(x_r)) * value(relu(key(x_k))^2)`` with 4 D hidden channels.

    Parameters and state are those of `ChannelMix`.
    """

    def __init__(self, width: int, **shift: Any) -> None:
        super().__init__(width, 2, **shift)  # ways of r, k
        self.receptance = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, 4 * width, bias=False)
        self.value = nn.Linear(4 * width, width, bias=False)

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix channels; see `Mixer`."""
        previous, last = token_shift(x, None if state is None else state["shift"], companions.mask)
        x_r, x_k = self.lerps(x, previous, companions).unbind(0)
        y = torch.sigmoid(self.receptance(x_r)) * self.value(torch.relu(self.key(x_k)).square())
        return y, None if state is None else {"shift": last}

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initialisation; the output starts at zero."""
        x = (torch.arange(self.width) / self.width) ** (
            1 - self.position.index / self.position.depth
        )
        self._reset_lerps(torch.stack((1 - x, 1 - x)), generator)
        uniform_linear(self.key, generator)
        for linear in (self.receptance, self.value):
            nn.init.zeros_(linear.weight)


@register("rwkv4", Variant("rwkv4", "Peng et al. 2023, 2305.13048", "T"))
def _rwkv4(site: Site) -> Block:
    shift: dict[str, Any] = {"position": site.position, "perspectives": site.perspectives}
    return Block(
        RWKV4TimeMix(site.width, **shift),
        RWKV4ChannelMix(site.width, **shift),
        width=site.width,
        dropout=site.dropout,
    )
