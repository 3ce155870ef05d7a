"""A block, token mixer and channel mixer with pre-norm residuals, and a stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from .parts.dropout import Dropout
from .protocol import ALONE, Mixer, Pass, State

__all__ = ["Block", "Stack", "of_parts"]


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
    mediums
        Reads the normalised tokens for the token shifts of both mixers; its output goes to them as
        `Pass.medium`.
    """

    def __init__(
        self,
        token_mixer: Mixer | None,
        channel_mixer: Mixer | None,
        *,
        width: int,
        dropout: float = 0.0,
        mediums: Mixer | None = None,
    ) -> None:
        super().__init__()
        self.mediums = mediums
        self.token_norm = None if token_mixer is None else nn.LayerNorm(width)
        self.token_mixer = token_mixer
        self.channel_norm = None if channel_mixer is None else nn.LayerNorm(width)
        self.channel_mixer = channel_mixer
        self.dropout = Dropout(dropout)
        halves = [(name, mixer) for name, _, mixer in self._halves()]
        self.memory, self.shifts, self.gives = of_parts(halves)
        self.from_source = any(mixer.from_source for _, mixer in halves)

    def _halves(self) -> Iterator[tuple[str, nn.LayerNorm, Mixer]]:
        for name, norm, mixer in (
            ("token_mixer", self.token_norm, self.token_mixer),
            ("channel_mixer", self.channel_norm, self.channel_mixer),
        ):
            if norm is not None and mixer is not None:
                yield name, norm, mixer

    def init_state(self, batch_size: int) -> State:
        """Return the states of both mixers; see `Mixer`."""
        state = {name: mixer.init_state(batch_size) for name, _, mixer in self._halves()}
        if self.mediums is not None:
            state["mediums"] = self.mediums.init_state(batch_size)
        return state

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens, then channels; see `Mixer`. A source is normalised as the tokens are."""
        if companions.source is not None and not self.from_source:
            mixers = " and ".join(type(mixer).__name__ for _, _, mixer in self._halves())
            raise ValueError(
                f"a source accompanies the tokens of {mixers}, which cannot be written by one: use "
                "RWKV7TimeMix(from_source=True), or give no Pass(source=...)."
            )
        new_state: State = {}
        if self.mediums is not None:
            _, norm, _ = next(self._halves())
            before = None if state is None else state["mediums"]
            read, new_state["mediums"] = self.mediums(norm(x), before, companions)
            companions = replace(companions, medium=read)
        for name, norm, mixer in self._halves():
            before = None if state is None else state.get(name, {})
            given = companions
            if companions.source is not None:
                given = replace(companions, source=norm(companions.source))
            y, new_state[name] = mixer(norm(x), before, given)
            x = x + self.dropout(y)
        return x, None if state is None else new_state

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; see `Mixer`."""
        for _, norm, mixer in self._halves():
            norm.reset_parameters()
            mixer.reset_parameters(generator)
        if self.mediums is not None:
            self.mediums.reset_parameters(generator)


class Stack(Mixer):
    """Layers one after another; the state is keyed by their number, ``"0"``, ``"1"``, ..."""

    def __init__(self, layers: Iterable[Mixer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.memory, self.shifts, self.gives = of_parts(list(self._layers()))

    def _layers(self) -> Iterator[tuple[str, Mixer]]:
        for i, layer in enumerate(self.layers):
            yield str(i), layer  # type: ignore[misc]  # ModuleList forgets its element type

    def init_state(self, batch_size: int) -> State:
        """Return the state of every layer; see `Mixer`."""
        return {name: layer.init_state(batch_size) for name, layer in self._layers()}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Run the layers in turn; see `Mixer`."""
        if companions.shared is None:
            companions = replace(companions, shared={})
        new_state: State = {}
        for name, layer in self._layers():
            before = None if state is None else state.get(name, {})
            x, new_state[name] = layer(x, before, companions)
        return x, None if state is None else new_state

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; see `Mixer`."""
        for _, layer in self._layers():
            layer.reset_parameters(generator)


def of_parts(
    parts: Sequence[tuple[str, Mixer]],
) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]:
    """Return `memory`, `shifts` and `gives` of a layer made of others, by keys of their states."""
    memory = tuple(f"{name}/{path}" for name, mixer in parts for path in mixer.memory)
    shifts = tuple(f"{name}/{path}" for name, mixer in parts for path in mixer.shifts)
    return memory, shifts, frozenset().union(*(mixer.gives for _, mixer in parts))
