"""Layers side by side, whose updates of the tokens are fused: hybrid heads.

Source: Xiao and others (2025), "WuNeng: Hybrid State with Attention", arXiv:2504.19191: the state
augments attention and does not replace it. That whole layers stand side by side is ours.

Letters: B sequences, T tokens, D width, n branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..block import of_parts
from ..layer_string import LayerCall
from ..protocol import ALONE, Mixer, Pass, State
from ..registry import Site, Variant, build_call, register

__all__ = ["Parallel"]

_FUSIONS = ("gated", "add", "concat")


class Parallel(Mixer):
    """Branches that read the same tokens x; u_0, u_1, ... are what each adds to them.

    | `fuse` | tokens |
    | --- | --- |
    | ``"gated"`` | ``x + u_0 + sum_i sigmoid(gate_i [u_0, u_i] + bias_i) u_i`` |
    | ``"add"`` | ``x + u_0 + sum_i scale_i u_i`` |
    | ``"concat"`` | ``x + matrix [u_0, u_1, ...]`` |

    Parameters
    ----------
    branches
        At least two layers; the first is what the others augment.
    width
        D.
    fuse
        See above.

    State
    -----
    That of each branch, by its number.

    Raises
    ------
    ValueError
        If there is one branch alone, or `fuse` is none of these.
    """

    def __init__(self, branches: Sequence[Mixer], *, width: int, fuse: str = "gated") -> None:
        super().__init__()
        if fuse not in _FUSIONS:
            raise ValueError(f"fuse={fuse} of parallel must be one of {', '.join(_FUSIONS)}.")
        if len(branches) < 2:
            raise ValueError(
                "parallel needs at least two layers, as in 'parallel(attention, rwkv7)'; one alone "
                "is written without it."
            )
        self.branches = nn.ModuleList(branches)
        named = [(str(i), branch) for i, branch in enumerate(branches)]
        self.memory, self.shifts, self.gives = of_parts(named)
        self.fuse, others = fuse, len(branches) - 1
        self.gates = self.scale = self.matrix = None
        if fuse == "gated":
            self.gates = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(others))
        elif fuse == "add":
            self.scale = nn.Parameter(torch.empty(others, width))
        else:
            self.matrix = nn.Linear(len(branches) * width, width, bias=False)

    def _branches(self) -> Iterator[tuple[str, Mixer]]:
        for i, branch in enumerate(self.branches):
            yield str(i), branch  # type: ignore[misc]  # ModuleList forgets its element type

    def init_state(self, batch_size: int) -> State:
        """Return the states of all branches; see `Mixer`."""
        return {name: branch.init_state(batch_size) for name, branch in self._branches()}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        ys: list[Tensor] = []
        after: State = {}
        for name, branch in self._branches():
            y, after[name] = branch(x, None if state is None else state[name], companions)
            ys.append(y)
        return self._fused(x, ys), None if state is None else after

    def _fused(self, x: Tensor, ys: list[Tensor]) -> Tensor:
        """Fuse (B, T, D) of each branch; without what the others add, exactly the first."""
        first, *others = (y - x for y in ys)
        if self.matrix is not None:
            return x + self.matrix(torch.cat((first, *others), -1))
        fused = ys[0]
        for i, update in enumerate(others):
            if self.gates is not None:
                share = torch.sigmoid(self.gates[i](torch.cat((first, update), -1)))
            else:
                assert self.scale is not None
                share = self.scale[i]
            fused = fused + share * update
        return fused

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; gates start half open, sums as sums."""
        for _, branch in self._branches():
            branch.reset_parameters(generator)
        for gate in self.gates or ():
            assert isinstance(gate, nn.Linear)
            nn.init.zeros_(gate.weight)
            nn.init.zeros_(gate.bias)
        if self.scale is not None:
            nn.init.ones_(self.scale)
        if self.matrix is not None:
            width = self.matrix.out_features
            self.matrix.weight.copy_(torch.eye(width).repeat(1, len(self.branches)))


@register(
    "parallel",
    Variant(
        "parallel(attention(window=64), rwkv7)", "Xiao et al. 2025, 2504.19191", "sum of its layers"
    ),
    made_of_layers=True,
)
def _parallel(site: Site, inner: Sequence[LayerCall], *, fuse: str = "gated") -> Parallel:
    branches = [build_call(call, site) for call in inner]
    return Parallel(branches, width=site.width, fuse=fuse)
