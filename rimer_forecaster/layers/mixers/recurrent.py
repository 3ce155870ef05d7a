"""GRU and LSTM under the protocol of this package: the recurrent baselines of RWKV-7.

Sources: Cho et al. (2014), arXiv:1406.1078; Hochreiter and Schmidhuber (1997), Neural Computation
9(8). The cells are torch's.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..block import Block
from ..parts.initialisation import uniform_linear
from ..protocol import ALONE, Mixer, Pass, State
from ..registry import Site, Variant, register
from .channel_mix import FeedForward

__all__ = ["Recurrent"]


class Recurrent(Mixer):
    """One layer of ``torch.nn.GRU`` or ``torch.nn.LSTM`` as wide as the tokens, and a linear map.

    Parameters
    ----------
    width
        D, channels of a token and of the hidden state.
    cell
        ``"gru"`` or ``"lstm"``.

    State
    -----
    ``hidden`` (B, D), and ``cell`` (B, D) of an LSTM.

    Notes
    -----
    With a mask the tokens are read one by one, which is slower than torch's fused pass.
    """

    def __init__(self, width: int, *, cell: Literal["gru", "lstm"]) -> None:
        super().__init__()
        self.width, self.is_lstm = width, cell == "lstm"
        kind = nn.LSTM if self.is_lstm else nn.GRU
        self.recurrence = kind(width, width, batch_first=True)
        self.output = nn.Linear(width, width)

    def init_state(self, batch_size: int) -> State:
        """Return zeros; see `Mixer`."""
        zeros = self.output.weight.new_zeros(batch_size, self.width)
        return {"hidden": zeros, "cell": zeros.clone()} if self.is_lstm else {"hidden": zeros}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        before = self.init_state(len(x)) if state is None else state
        mask = companions.mask
        y, after = self._read(x, before) if mask is None else self._read_masked(x, before, mask)
        return self.output(y), None if state is None else after

    def _read(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read tokens that all count, in one pass."""
        first = {name: value[None].contiguous() for name, value in state.items()}  # (1, B, D)
        if self.is_lstm:
            # On the CPU torch has no LSTM in half precision for processors without such arithmetic.
            with torch.autocast("cpu", enabled=False):
                x = x.to(self.output.weight.dtype) if x.device.type == "cpu" else x
                y, (hidden, cell) = self.recurrence(x, (first["hidden"], first["cell"]))
            return y, {"hidden": hidden[0], "cell": cell[0]}
        y, hidden = self.recurrence(x, first["hidden"])
        return y, {"hidden": hidden[0]}

    def _read_masked(self, x: Tensor, state: State, mask: Tensor) -> tuple[Tensor, State]:
        """Read tokens one by one, and hold the state where they are masked."""
        weights = self.recurrence.all_weights[0]  # input, hidden, and a bias of each
        hidden, cell, outputs = state["hidden"], state.get("cell"), []
        for t in range(x.shape[1]):
            real = mask[:, t, None]
            if cell is not None:
                new, new_cell = torch.lstm_cell(x[:, t], (hidden, cell), *weights)
                cell = torch.where(real, new_cell, cell)
            else:
                new = torch.gru_cell(x[:, t], hidden, *weights)
            hidden = torch.where(real, new, hidden)
            outputs.append(hidden)
        after = {"hidden": hidden} if cell is None else {"hidden": hidden, "cell": cell}
        return torch.stack(outputs, 1), after

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the cell from U(-g, g), g = D ** -0.5, as torch does; the output starts at zero."""
        for parameter in self.recurrence.parameters():
            parameter.uniform_(-(self.width**-0.5), self.width**-0.5, generator=generator)
        uniform_linear(self.output, generator)
        nn.init.zeros_(self.output.weight)


@register("gru", Variant("gru", "Cho et al. 2014, 1406.1078", "T"))
def _gru(site: Site) -> Block:
    return _block(Recurrent(site.width, cell="gru"), site)


@register("lstm", Variant("lstm", "Hochreiter and Schmidhuber 1997", "T"))
def _lstm(site: Site) -> Block:
    return _block(Recurrent(site.width, cell="lstm"), site)


def _block(mixer: Recurrent, site: Site) -> Block:
    return Block(mixer, FeedForward(site.width), width=site.width, dropout=site.dropout)
