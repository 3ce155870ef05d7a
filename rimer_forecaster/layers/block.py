"""A block, token mixer and channel mixer with pre-norm residuals, and a stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from .parts.dropout import Dropout
from .protocol import Mixer, Shared, State

__all__ = ["Block", "Stack"]


class Block(Mixer):
    """``x += token_mixer(norm(x)); x += channel_mixer(norm(x))``.

    Parameters
    ----------
    token_mixer, channel_mixer
        Mixers of width D; None leaves one out.
    width
        D.
    dropout
        Probability of zeroing an element of what either mixer adds.
    """

    def __init__(
        self,
        token_mixer: Mixer | None,
        channel_mixer: Mixer | None,
        *,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.token_norm = None if token_mixer is None else nn.LayerNorm(width)
        self.token_mixer = token_mixer
        self.channel_norm = None if channel_mixer is None else nn.LayerNorm(width)
        self.channel_mixer = channel_mixer
        self.dropout = Dropout(dropout)

    def _halves(self) -> Iterator[tuple[str, nn.LayerNorm, Mixer]]:
        for name, norm, mixer in (
            ("token_mixer", self.token_norm, self.token_mixer),
            ("channel_mixer", self.channel_norm, self.channel_mixer),
        ):
            if norm is not None and mixer is not None:
                yield name, norm, mixer

    def init_state(self, batch_size: int) -> State:
        """Return the states of both mixers; see `Mixer`."""
        return {name: mixer.init_state(batch_size) for name, _, mixer in self._halves()}

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        mask: Tensor | None = None,
        shared: Shared | None = None,
    ) -> tuple[Tensor, State | None]:
        """Mix tokens, then channels; see `Mixer`."""
        new_state: State = {}
        for name, norm, mixer in self._halves():
            before = None if state is None else state.get(name, {})
            y, new_state[name] = mixer(norm(x), before, mask=mask, shared=shared)
            x = x + self.dropout(y)
        return x, None if state is None else new_state

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; see `Mixer`."""
        for _, norm, mixer in self._halves():
            norm.reset_parameters()
            mixer.reset_parameters(generator)


class Stack(Mixer):
    """Layers one after another; the state is keyed by their number, ``"0"``, ``"1"``, ..."""

    def __init__(self, layers: Iterable[Mixer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def _layers(self) -> Iterator[Mixer]:
        return iter(self.layers)  # type: ignore[arg-type]  # ModuleList forgets its element type

    def init_state(self, batch_size: int) -> State:
        """Return the state of every layer; see `Mixer`."""
        return {str(i): layer.init_state(batch_size) for i, layer in enumerate(self._layers())}

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        mask: Tensor | None = None,
        shared: Shared | None = None,
    ) -> tuple[Tensor, State | None]:
        """Run the layers in turn; see `Mixer`."""
        shared = {} if shared is None else shared
        new_state: State = {}
        for i, layer in enumerate(self._layers()):
            before = None if state is None else state.get(str(i), {})
            x, after = layer(x, before, mask=mask, shared=shared)
            new_state[str(i)] = after
        return x, None if state is None else new_state

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; see `Mixer`."""
        for layer in self._layers():
            layer.reset_parameters(generator)
