"""From scaled patches to what the layers add to a forecast, in windows and in streams.

A window is a short stream: each patch is scaled by what was observed up to its end and not later,
so that tokens read long ago need no second reading when the scale moves on.

Letters: B windows, C target components, L input steps, P patch length, T tokens, D width,
n covariates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Pass, RandomModule, State, build_layers, from_leaves, leaves
from ..layers.parts.initialisation import uniform_linear
from .initial_state import InitialState
from .missing_values import since_first
from .scale import running_scale

__all__ = ["PatchReader"]

_SHARE_OVERLAPPING = 0.75
_SHARE_CARRIED = 0.5
_SHARE_FRESH = 0.25
"""Shares of training passes whose last two patches overlap and of those with carried states, and of
windows that start afresh even so. Chosen by streamed against windowed forecasts on ETTh1, whose
squared errors differ by 9 to 17 % without them (examples/streaming.py)."""


_MOST_READ = 64
"""Windows that histories are made of, of one batch: to read them takes a tenth of a step."""


class PatchReader(RandomModule):
    """Patches to tokens, layers over them, and a head on the last one.

    Between two ends of patches a stream is forecast from a token of its last P steps, which
    overlaps with the last finished patch. Where training prepares for streams, most passes end like
    that, and half start most windows from what a history of other ones left, as all of a stream
    does.

    Parameters
    ----------
    layers, width, head_size, patch_length, dropout, initial_state, streaming
        As in `RimerNetwork`.
    covariates, static_covariates
        Number of components.
    outputs
        Number of outputs per target component.
    """

    def __init__(
        self,
        layers: str,
        *,
        width: int,
        head_size: int,
        patch_length: int,
        dropout: float,
        covariates: int,
        static_covariates: int,
        outputs: int,
        initial_state: str = "zero",
        streaming: bool = False,
    ) -> None:
        super().__init__()
        self.patch_length, self.streaming = patch_length, streaming
        # The second half weighs the marks of missing values.
        self.embed_target = nn.Linear(2 * patch_length, width)
        self.embed_covariates = (
            nn.Linear(covariates * patch_length, width, bias=False) if covariates else None
        )
        self.embed_static = (
            nn.Linear(static_covariates, width, bias=False) if static_covariates else None
        )
        self.layers = build_layers(layers, width=width, head_size=head_size, dropout=dropout)
        self.initial_state = None
        if initial_state != "zero":
            features = static_covariates if initial_state == "static" else 0
            self.initial_state = InitialState(self.layers, features)
        self.norm = nn.LayerNorm(width)
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

    def forward(
        self,
        values: Tensor,
        *,
        level: Tensor,
        least_scale: Tensor | None,
        missing: Tensor | None,
        covariates: Tensor | None,
        horizon: Tensor | None,
        static_covariates: Tensor | None,
    ) -> Tensor:
        """Read windows.

        Parameters
        ----------
        values
            Target scaled by the window, zero where missing, (B, C, L).
        level, least_scale
            See `running_scale`, (B, C, 1).
        missing
            Marks of missing values, (B, C, L), or None.
        covariates
            (B, L, n); not read if the reader was built for none.
        horizon
            Covariates after the window, (B, H, n), read as tokens of their own; or None.
        static_covariates
            (B, C or 1, n), or None.

        Returns
        -------
        Tensor
            (B, C, outputs).
        """
        C = values.shape[1]
        newer = self._draw_newer()
        window = values, level, least_scale, missing, covariates, static_covariates
        tokens, mask = self._window_tokens(*window, newer=newer)
        state = None
        if self.initial_state is not None:
            state = self._start(tokens.shape[0] * C, _of_rows(static_covariates, tokens.shape))
        if self._prepares(_SHARE_CARRIED):
            whole, whole_mask = tokens.detach(), mask
            if newer:
                with torch.no_grad():
                    whole, whole_mask = self._window_tokens(*window, newer=0)
            whole_mask = None if whole_mask is None else whole_mask.flatten(0, 1)
            state = self._carry(state, whole.flatten(0, 1), whole_mask)
        tokens, mask = self._with_horizon(tokens, mask, horizon, static_covariates)
        flat_mask = None if mask is None else mask.flatten(0, 1)
        y, _ = self.layers(tokens.flatten(0, 1), state, Pass(flat_mask))  # (B * C, T, D)
        return self._outputs(_last(y, flat_mask), C)

    def init_state(self, rows: int, static_covariates: Tensor | None = None) -> State:
        """Return the state before the first patch of B * C streams.

        It holds the state of the layers, and what they made of the last real token, (B * C, D).
        """
        static = None if static_covariates is None else static_covariates.flatten(0, 1)
        return {
            "layers": self._start(rows, static),
            "last": self.head.weight.new_zeros(rows, self.head.in_features),
        }

    def read(
        self,
        patches: Tensor,
        *,
        missing: Tensor | None,
        mask: Tensor | None,
        covariates: Tensor | None,
        static_covariates: Tensor | None,
        state: State,
    ) -> State:
        """Carry the state over finished patches of a stream.

        Parameters
        ----------
        patches
            Target, each patch scaled by what was observed up to its end, zero where missing,
            (B, C, T, P).
        missing
            Marks of missing values, (B, C, T, P), or None.
        mask
            False where a patch is to leave the state alone, (B, C, T), or None.
        covariates
            (B, T, P, n).
        static_covariates
            (B, C or 1, n), or None.
        state
            See `init_state`.
        """
        tokens = self._tokens(patches, missing, covariates, static_covariates).flatten(0, 1)
        flat_mask = None if mask is None else mask.flatten(0, 1)
        y, layers = self.layers(tokens, state.get("layers", {}), Pass(flat_mask))
        return {"layers": layers, "last": _last(y, flat_mask, state["last"])}

    def forecast(
        self,
        patches: Tensor,
        *,
        missing: Tensor | None,
        mask: Tensor | None,
        covariates: Tensor | None,
        horizon: Tensor | None,
        static_covariates: Tensor | None,
        state: State,
    ) -> Tensor:
        """Give the outputs at a moment of a stream, (B, C, outputs).

        What differs from `read`: the patches are the last P steps, where some of them are newer
        than the last finished patch, or none (T is 1 or 0), and `horizon` is as in `forward`.
        """
        C = patches.shape[1]
        tokens = self._tokens(patches, missing, covariates, static_covariates)
        tokens, mask = self._with_horizon(tokens, mask, horizon, static_covariates)
        last = state["last"]
        if tokens.shape[2]:
            flat_mask = None if mask is None else mask.flatten(0, 1)
            y, _ = self.layers(tokens.flatten(0, 1), state.get("layers", {}), Pass(flat_mask))
            last = _last(y, flat_mask, last)
        return self._outputs(last, C)

    def _outputs(self, last: Tensor, components: int) -> Tensor:
        return self.head(self.norm(last)).unflatten(0, (-1, components))

    def _tokens(
        self,
        patches: Tensor,
        missing: Tensor | None,
        covariates: Tensor | None,
        static_covariates: Tensor | None,
    ) -> Tensor:
        """(B, C, T, P) and (B, T, P, n) -> (B, C, T, D)."""
        P = self.patch_length
        weight, bias = self.embed_target.weight, self.embed_target.bias
        tokens = F.linear(patches, weight[:, :P], bias)
        if missing is not None:
            tokens = tokens + F.linear(missing.to(patches.dtype), weight[:, P:])
        if self.embed_covariates is not None and covariates is not None:
            tokens = tokens + self.embed_covariates(covariates.flatten(2))[:, None]
        if self.embed_static is not None and static_covariates is not None:
            tokens = tokens + self.embed_static(static_covariates)[:, :, None]
        return tokens

    def _with_horizon(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        horizon: Tensor | None,
        static_covariates: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Append tokens of steps whose target is not known yet, from their covariates (B, H, n)."""
        if horizon is None or self.embed_covariates is None:
            return tokens, mask
        B, C, P = *tokens.shape[:2], self.patch_length
        covariates = F.pad(horizon, (0, 0, 0, -horizon.shape[1] % P)).unflatten(1, (-1, P))
        patches = horizon.new_zeros(B, C, covariates.shape[1], P)
        missing = torch.ones_like(patches, dtype=torch.bool)
        future = self._tokens(patches, missing, covariates, static_covariates)
        mask = None if mask is None else F.pad(mask, (0, future.shape[2]), value=True)
        return torch.cat((tokens, future), 2), mask

    def _window_tokens(
        self,
        values: Tensor,
        level: Tensor,
        least_scale: Tensor | None,
        missing: Tensor | None,
        covariates: Tensor | None,
        static_covariates: Tensor | None,
        *,
        newer: int,
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens of windows, (B, C, T, D), and mask.

        The last patch always ends with the window. Where the one before it is to have ended a
        number of steps earlier, less than a patch, the two overlap.
        """
        L, P = values.shape[-1], self.patch_length
        lead = (newer - L) % P  # steps that fill the first patch
        ends = [*range(P - lead, L - newer + 1, P), *([L] if newer else [])]
        location, scale = running_scale(values, missing, ends, level, least_scale)

        def cut(x: Tensor, fill: float) -> Tensor:
            """(B, C, L) -> (B, C, T, P)."""
            whole = F.pad(x[..., : L - newer], (lead, 0), value=fill).unflatten(-1, (-1, P))
            if not newer:
                return whole
            return torch.cat((whole, x[..., None, L - P :]), -2)

        patches = (cut(values, 0.0) - location[..., None]) / scale[..., None]
        mask = marks = None
        if missing is not None or lead:
            marks = torch.zeros_like(values, dtype=torch.bool) if missing is None else missing
            marks = cut(marks, True)
            patches = patches.where(~marks, 0.0)
        if missing is not None and marks is not None:
            mask = ~marks.all(-1)  # (B, C, T)
            if self.embed_covariates is not None:
                mask = since_first(mask)  # a gap in the target is no gap in its causes
        if covariates is not None:
            covariates = cut(covariates.transpose(1, 2), 0.0).permute(0, 2, 3, 1)  # (B, T, P, n)
        return self._tokens(patches, marks, covariates, static_covariates), mask

    def _draw_newer(self) -> int:
        """Steps since the last patch but one ended that are not a whole patch."""
        if not self._prepares(_SHARE_OVERLAPPING):
            return 0
        return int(self._draw() * self.patch_length)

    def _prepares(self, share: float) -> bool:
        """Draw whether this pass of training prepares for streams; a share of them do."""
        return self.training and self.streaming and self._draw() < share

    def _start(self, rows: int, static: Tensor | None) -> State:
        """State before the first token; static covariates are (rows, n)."""
        state = self.layers.init_state(rows)
        return state if self.initial_state is None else self.initial_state(state, static)

    def _carry(self, start: State | None, tokens: Tensor, mask: Tensor | None) -> State:
        """Let three of four windows start from what a history of other ones leaves.

        The history is 1, 2, 4, ... or 64 windows long. States fill up for thousands of tokens, so
        those after a single window would not prepare for a long stream.
        """
        rows, device = len(tokens), self.device_of_draws()
        fresh = self.layers.init_state(rows) if start is None else start
        order = torch.randperm(rows, generator=self.generator, device=device).to(tokens.device)
        read = min(rows, _MOST_READ)
        windows = min(2 ** int(self._draw() * 7), read)
        histories = order[: read - read % windows].view(-1, windows)
        with torch.no_grad():
            _, left = self.layers(
                tokens[histories].flatten(1, 2),
                from_leaves({path: leaf[histories[:, 0]] for path, leaf in leaves(fresh)}),
                Pass(None if mask is None else mask[histories].flatten(1, 2)),
            )
        taken = torch.arange(rows, device=tokens.device) % len(histories)
        keeps = torch.rand(rows, generator=self.generator, device=device) < _SHARE_FRESH
        return _choose(keeps.to(tokens.device), fresh, left, taken)

    def _draw(self) -> float:
        return float(torch.rand((), generator=self.generator, device=self.device_of_draws()))


def _choose(keeps: Tensor, fresh: State, left: State, order: Tensor) -> State:
    """Rows of a fresh state where it is kept, elsewhere rows of another in a given order."""
    chosen = {}
    for (path, own), (_, other) in zip(leaves(fresh), leaves(left), strict=True):
        other = other[order]
        if own.shape == other.shape:  # the cache of full attention has grown
            other = torch.where(keeps.view(-1, *(1,) * (own.ndim - 1)), own, other)
        chosen[path] = other
    return from_leaves(chosen)


def _of_rows(static_covariates: Tensor | None, shape: torch.Size) -> Tensor | None:
    """(B, C or 1, n) -> (B * C, n)."""
    if static_covariates is None:
        return None
    return static_covariates.expand(shape[0], shape[1], -1).flatten(0, 1)


def _last(y: Tensor, mask: Tensor | None, before: Tensor | None = None) -> Tensor:
    """Return the output of the last token that counts, or what was before, (B, T, D) -> (B, D)."""
    if mask is None:
        return y[:, -1]
    number = torch.arange(y.shape[1], device=y.device)
    index = torch.where(mask, number, 0).amax(1)
    last = y.gather(1, index[:, None, None].expand(-1, -1, y.shape[2]))[:, 0]
    return last if before is None else last.where(mask.any(1, keepdim=True), before)
