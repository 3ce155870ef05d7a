"""From patches to what the layers add to a forecast.

A window is a short stream: each patch is scaled by what was observed up to its end and not later,
so that tokens read long ago need no second reading when the scale moves on.

Letters: B windows, C target components, H output steps, P patch length, T tokens, D width,
n covariates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Pass, State, build_layers
from ..layers.parts.initialisation import uniform_linear
from .config import NetworkConfig
from .covariates import CrossCovariates
from .initial_state import InitialState, with_memory
from .preparation import StreamPreparation
from .source import CrossComponents
from .window import Patches, Window

__all__ = ["PatchReader"]


class PatchReader(nn.Module):
    """Patches to tokens, layers over them, and a head on the last one.

    Where components read each other, they do so between the layers and the head.

    Parameters
    ----------
    config
        Of the network; its layers must not be None.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        assert config.layers is not None
        width, P = config.width, config.patch_length
        past, future = config.past_covariates, config.future_covariates
        covariates, static = past + future, config.static_covariates
        self.covariates = None
        if config.crosses_covariates:
            self.covariates, covariates, static = CrossCovariates(config), 0, 0
        self.patch_length, self.squash = P, config.squash
        # Where gaps are read as time that passes, a horizon would be one.
        self.reads_horizon = bool(covariates and future) and not config.read_gaps
        self.preparation = StreamPreparation(config.streaming)
        self.embed_target = nn.Linear(2 * P, width)  # values, and marks of missing ones
        self.embed_covariates = nn.Linear(covariates * P, width, bias=False) if covariates else None
        self.embed_static = nn.Linear(static, width, bias=False) if static else None
        self.layers = build_layers(
            config.layers, width=width, head_size=config.head_size, dropout=config.dropout
        )
        self.initial_state = None
        if config.initial_state != "zero":
            features = config.static_covariates if config.initial_state == "static" else 0
            self.initial_state = InitialState(self.layers, features)
        self.cross = CrossComponents(config) if config.crosses else None
        self.norm = nn.LayerNorm(width)
        outputs = config.output_chunk_length * len(config.outputs)
        self.head = nn.Linear(width, outputs, bias=False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the head starts at zero."""
        for embed in (self.embed_target, self.embed_covariates, self.embed_static):
            if embed is not None:
                uniform_linear(embed, generator)
        self.layers.reset_parameters(generator)
        if self.initial_state is not None:
            self.initial_state.reset_parameters()
        self.norm.reset_parameters()
        nn.init.zeros_(self.head.weight)
        if self.cross is not None:  # last, so that all else is drawn as without it
            self.cross.reset_parameters(generator)
        if self.covariates is not None:
            self.covariates.reset_parameters(generator)

    def init_state(
        self, rows: int, static_covariates: Tensor | None = None, start: State | None = None
    ) -> State:
        """Return the state before the first patch of B * C streams.

        It holds the state of the layers, and what they made of the last real token, (B * C, D). For
        the start see `start_of`.
        """
        static = None if static_covariates is None else static_covariates.flatten(0, 1)
        return {
            "layers": self._start(rows, static, start),
            "last": self.head.weight.new_zeros(rows, self.head.in_features),
        }

    def read(self, patches: Patches, static_covariates: Tensor | None, state: State) -> State:
        """Carry the state over finished patches of a stream.

        Parameters
        ----------
        patches
            In the order of time, all of length P.
        static_covariates
            (B, C or 1, n), or None.
        state
            See `init_state`.
        """
        tokens = self.tokens(patches, static_covariates).flatten(0, 1)
        mask = None if patches.mask is None else patches.mask.flatten(0, 1)
        y, layers = self.layers(tokens, state.get("layers", {}), Pass(mask))
        return {"layers": layers, "last": _last(y, mask, state["last"])}

    def forward(self, window: Window, state: State | None, unfinished: bool) -> Tensor:
        """Return what the layers add to a forecast, (B, C, H * Q).

        Parameters
        ----------
        window
            The last steps.
        state
            What is remembered up to the last finished patch of the stream that they are of; None if
            the window is all there is.
        unfinished
            Whether the stream has newer steps than that.
        """
        static = window.static_covariates
        last = None
        if state is None:
            newer = self.preparation.draw_newer(self.patch_length)
            if window.length < self.patch_length:
                newer = 0  # a stream as short has finished no patch
            patches = window.patches(self.patch_length, newer=newer)
            tokens, mask = self.tokens(patches, static), patches.mask
            start = self._start_of_window(window, tokens, mask, newer)
        else:
            patches = window.last_patch(self.patch_length, unfinished=unfinished)
            tokens, mask = self.tokens(patches, static), patches.mask
            start, last = state.get("layers", {}), state["last"]
        if self.reads_horizon:
            coming = self.tokens(window.horizon_patches(self.patch_length), static)
            tokens = torch.cat((tokens, coming), 2)
            mask = None if mask is None else F.pad(mask, (0, coming.shape[2]), value=True)
        if tokens.shape[2]:
            mask = None if mask is None else mask.flatten(0, 1)
            y, _ = self.layers(tokens.flatten(0, 1), start, Pass(mask))  # (B * C, T, D)
            last = _last(y, mask, last)
        assert last is not None
        last = last.unflatten(0, (-1, tokens.shape[1]))  # (B * C, D) -> (B, C, D)
        if self.cross is not None:
            last = self.cross(last, window.observed, window.places)
        learnt = self.head(self.norm(last))
        if self.covariates is not None:
            learnt = learnt + self.covariates(last, window).flatten(2)
        return learnt

    def tokens(self, patches: Patches, static_covariates: Tensor | None) -> Tensor:
        """Embed patches, (B, C, T, P) -> (B, C, T, D)."""
        P = self.patch_length
        weight, bias = self.embed_target.weight, self.embed_target.bias
        values = torch.asinh(patches.values) if self.squash else patches.values
        tokens = F.linear(values, weight[:, :P], bias)
        if patches.missing is not None:
            tokens = tokens + F.linear(patches.missing.to(tokens.dtype), weight[:, P:])
        if self.embed_covariates is not None and patches.covariates is not None:
            tokens = tokens + self.embed_covariates(patches.covariates.flatten(2))[:, None]
        if self.embed_static is not None and static_covariates is not None:
            tokens = tokens + self.embed_static(static_covariates)[:, :, None]
        return tokens

    def start_of(
        self,
        tokens: Tensor,
        static_covariates: Tensor | None = None,
        start: State | None = None,
    ) -> State | None:
        """Return the state before tokens, (B, C, T, D), or None where it is zero.

        Memory to start from, (B, ...), is added to what was learned with the weights.
        """
        if self.initial_state is None and start is None:
            return None
        static = static_covariates
        if static is not None:
            static = static.expand(*tokens.shape[:2], -1).flatten(0, 1)
        return self._start(tokens.shape[0] * tokens.shape[1], static, start)

    def _start(self, rows: int, static: Tensor | None, start: State | None) -> State:
        """State before the first token; static covariates are (rows, n)."""
        state = self.layers.init_state(rows)
        if self.initial_state is not None:
            state = self.initial_state(state, static)
        return state if start is None else with_memory(state, start)

    def _start_of_window(
        self, window: Window, tokens: Tensor, mask: Tensor | None, newer: int
    ) -> State | None:
        """State before a window: none, a learned one, or what other windows of the batch left."""
        start = self.start_of(tokens, window.static_covariates, window.start)
        if not self.preparation.draw_carried():
            return start
        whole = tokens.detach()
        if newer:  # histories are made of windows that end with a patch
            with torch.no_grad():
                patches = window.patches(self.patch_length)
                whole, mask = self.tokens(patches, window.static_covariates), patches.mask
        mask = None if mask is None else mask.flatten(0, 1)
        return self.preparation.carry(self.layers, start, whole.flatten(0, 1), mask)


def _last(y: Tensor, mask: Tensor | None, before: Tensor | None = None) -> Tensor:
    """Return the output of the last token that counts, or what was before, (B, T, D) -> (B, D)."""
    if mask is None:
        return y[:, -1]
    number = torch.arange(y.shape[1], device=y.device)
    index = torch.where(mask, number, 0).amax(1)
    last = y.gather(1, index[:, None, None].expand(-1, -1, y.shape[2]))[:, 0]
    return last if before is None else last.where(mask.any(1, keepdim=True), before)
