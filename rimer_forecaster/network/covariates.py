"""Covariates that write a state, which the target reads.

Source: CrossWKV, Xiao, Li and Lin (2025), arXiv:2504.14260: decay, keys, values, learning rates and
removal keys are made from one sequence, receptance and gate from the other.

Letters: B windows, C target components, S of them with a source of their own (C, or 1 for all), L
input steps, H output steps, P patch length, n covariates, D width, Q output parameters per value,
G phases, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Block, ChannelMix, Pass, RWKV7TimeMix, State, from_leaves, leaves
from ..layers.parts.initialisation import uniform_linear
from .config import NetworkConfig
from .window import Window

__all__ = ["CrossCovariates"]


class CrossCovariates(nn.Module):
    """Adds what covariates say to every step of the horizon.

    A token of the source is a patch of all covariates, and of the static ones. For step h of the
    horizon the patches end h, h - P, h - 2 P, ... steps after the window: one RWKV-7 layer goes
    through them from the first to the one that ends at step h, so that all steps share its weights
    and none reads what comes after it. A vector says how many patches before that step a token is.
    Then the target reads the state, by a token of what its own layers found, and of the step.

    What is added is zero at the start, bit for bit. Time grows in proportion to n. The layer reads
    a window, as the linear skip does, so that streams have nothing to carry.

    Parameters
    ----------
    config
        Of the network; it has layers, and covariates of some kind.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, P, H = config.width, config.patch_length, config.output_chunk_length
        n = config.past_covariates + config.future_covariates
        self.horizon, self.patch_length, self.phases = H, P, min(P, H)
        self.embed = nn.Linear(n * P + config.static_covariates, width)
        self.places = nn.Parameter(torch.empty(sum(self._tokens(config.input_chunk_length)), width))
        self.steps = nn.Parameter(torch.empty(H, width))
        mixer = RWKV7TimeMix(width, head_size=config.head_size, from_source=True)
        self.block = Block(mixer, ChannelMix(width), width=width, dropout=config.dropout)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(config.outputs), bias=False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the head starts at zero."""
        uniform_linear(self.embed, generator)
        bound = self.head.in_features**-0.5
        for vectors in (self.steps, self.places):
            nn.init.uniform_(vectors, -bound, bound, generator=generator)
        self.block.reset_parameters(generator)
        # A head of zeros is enough to add nothing. Two more maps of zeros before it, as layers of a
        # stack have, are a saddle that training leaves late.
        assert isinstance(self.block.token_mixer, RWKV7TimeMix)
        assert isinstance(self.block.channel_mixer, ChannelMix)
        for added in (self.block.token_mixer.output, self.block.channel_mixer.value):
            uniform_linear(added, generator, gain=0.3)
        self.norm.reset_parameters()
        nn.init.zeros_(self.head.weight)

    def forward(self, last: Tensor, window: Window) -> Tensor:
        """Return what is added to a forecast in units of the window, (B, C, H, Q).

        Parameters
        ----------
        last
            What the layers made of the last token of each component, (B, C, D).
        window
            Its steps, the horizon, and their covariates.
        """
        B, C, _ = last.shape
        G, H = self.phases, self.horizon
        before, ahead = self._tokens(window.length)
        source = self._source(window)  # (B, S, G, T, D)
        past, coming = source.split((before, ahead), 3)
        state = self._written(past.flatten(0, 2))
        if source.shape[1] < C:
            state, coming = _repeated(state, B, C), coming.expand(-1, C, -1, -1, -1)
        tokens = F.pad(last[:, :, None] + self.steps, (0, 0, 0, ahead * G - H))
        tokens = tokens.unflatten(2, (ahead, G)).transpose(2, 3).flatten(0, 2)
        x, _ = self.block(tokens, state, Pass(source=coming.flatten(0, 2)))
        x = x.unflatten(0, (B, C, G)).transpose(2, 3).flatten(2, 3)  # (B, C, tokens ahead * G, D)
        y: Tensor = self.head(self.norm(x[:, :, :H]))
        return y

    def _tokens(self, length: int) -> tuple[int, int]:
        """How many tokens of a phase end in a window, and in the horizon."""
        return -(-length // self.patch_length), -(-self.horizon // self.patch_length)

    def _source(self, window: Window) -> Tensor:
        """Embed the patches of every phase, (B, S, G, T, D)."""
        G, P, (before, ahead) = self.phases, self.patch_length, self._tokens(window.length)
        T, parts = before + ahead, []
        if window.covariates is not None:
            lead = (before + 1) * P - 1 - window.length
            whole = F.pad(window.covariates, (0, 0, lead, (ahead - 1) * P + G - self.horizon))
            sizes = ((G, 1, 1), (T, 1), (P,))
            device = whole.device
            phase, token, lag = (torch.arange(x[0], device=device).view(x) for x in sizes)
            patches = whole[:, phase + P * token + lag]  # (B, G, T, P, n)
            parts.append(patches.flatten(3)[:, None])
        if window.static_covariates is not None:
            static = window.static_covariates[:, :, None, None]  # (B, S, 1, 1, n)
            parts = [x.expand(-1, static.shape[1], -1, -1, -1) for x in parts]
            parts.append(static.expand(-1, -1, G, T, -1))
        y: Tensor = self.embed(torch.cat(parts, -1)) + self.places[-T:]
        return y

    def _written(self, source: Tensor) -> State:
        """State after the tokens of the source, (rows, T, D), that end in the window."""
        state = self.block.init_state(len(source))
        mixer, norm = self.block.token_mixer, self.block.token_norm
        assert mixer is not None
        assert norm is not None
        unread, companions = torch.zeros_like(source), Pass(source=norm(source))
        _, state["token_mixer"] = mixer(unread, state["token_mixer"], companions)
        return state


def _repeated(state: State, B: int, C: int) -> State:
    """Give every component of a series its state, (B * G, ...) -> (B * C * G, ...)."""
    return from_leaves(
        {
            path: x.unflatten(0, (B, 1, -1)).expand(-1, C, *[-1] * x.ndim).flatten(0, 2)
            for path, x in leaves(state)
        }
    )
