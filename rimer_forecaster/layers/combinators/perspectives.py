"""Perspectives: the same layers several times, with token shifts of their own.

Source: Dumitru, Peteleaza and Surdeanu (2024), "Enhancing Transformer RNNs with Multiple Temporal
Perspectives", arXiv:2402.02625, whose perspectives are copies of the token shift's vectors; that
each looks back by a lag of its own, such as a season, is ours.

Letters: B sequences, T tokens, D width, n perspectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..block import Stack
from ..layer_string import LayerCall
from ..protocol import ALONE, Mixer, Pass, State
from ..registry import Site, Variant, build_calls, register

__all__ = ["Perspectives"]


class Perspectives(Mixer):
    """``sum_i p_i layers_i(x)``, with ``p = softmax(mixture(mean_i layers_i(x)))`` for each token.

    The layers have one set of weights but for the vectors of their token shifts: perspective i has
    its own, and stands every token beside the one ``lags[i]`` places before it. Cost and state grow
    in proportion to n.

    Parameters
    ----------
    layers
        Built for n perspectives, see `Site`.
    width
        D.
    lags
        n whole numbers of at least 1, in tokens.

    State
    -----
    That of the layers for each perspective, by its number; with the last ``lags[i]`` tokens in the
    place of the last one.

    Raises
    ------
    ValueError
        If a lag is out of range, or no layer has a token shift.
    """

    def __init__(self, layers: Stack, *, width: int, lags: Sequence[int]) -> None:
        super().__init__()
        if not all(isinstance(lag, int) and lag >= 1 for lag in lags):
            given = "+".join(map(str, lags))
            raise ValueError(
                f"lags={given} of perspectives must be whole numbers of at least 1, in tokens, "
                "such as lags=1+7."
            )
        if not layers.shifts:
            raise ValueError(
                "perspectives differ in their token shifts, which none of the layers inside has; "
                "use layers such as rwkv7."
            )
        self.layers, self.lags = layers, tuple(lags)
        self.memory = tuple(f"{i}/{path}" for i in range(len(lags)) for path in layers.memory)
        self.mixture = nn.Parameter(torch.empty(len(lags), width))

    def init_state(self, batch_size: int) -> State:
        """Return the states of all perspectives; see `Mixer`."""
        return {str(i): self._start(batch_size, lag) for i, lag in enumerate(self.lags)}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`. The layers' own values are not shared with others."""
        views, after = [], {}
        for i, lag in enumerate(self.lags):
            inside = replace(companions, shared=None, perspective=i)
            before = None if state is None else state[str(i)]
            if before is None and lag > 1:
                before = self._start(len(x), lag)
            view, after[str(i)] = self.layers(x, before, inside)
            views.append(view)
        stacked = torch.stack(views, -2)  # (B, T, n, D)
        share = (stacked.mean(-2) @ self.mixture.T).softmax(-1)  # (B, T, n)
        return (share[..., None, :] @ stacked).squeeze(-2), None if state is None else after

    def _start(self, batch_size: int, lag: int) -> State:
        state = self.layers.init_state(batch_size)
        for path in self.layers.shifts if lag > 1 else ():
            *parents, name = path.split("/")
            place = state
            for parent in parents:
                place = place[parent]
            place[name] = place[name][:, None].repeat(1, lag, 1)
        return state

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; all perspectives weigh alike at the start."""
        self.layers.reset_parameters(generator)
        nn.init.zeros_(self.mixture)


@register(
    "perspectives",
    Variant("perspectives(rwkv7; lags=1+7)", "Dumitru et al. 2024, 2402.02625", "T * lags"),
    made_of_layers=True,
)
def _perspectives(
    site: Site, inner: Sequence[LayerCall], *, lags: int | tuple[int, ...] = (1, 7)
) -> Perspectives:
    if site.perspectives > 1:
        raise ValueError("perspectives within perspectives cannot be built; name all lags at once.")
    lags = lags if isinstance(lags, tuple) else (lags,)
    layers = build_calls(
        inner,
        width=site.width,
        head_size=site.head_size,
        dropout=site.dropout,
        perspectives=len(lags),
    )
    return Perspectives(layers, width=site.width, lags=lags)
