"""From patches to what the layers add to a forecast, in NumPy.

Letters: C target components, T patches, P patch length, D width, H output steps, Q outputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .layers import Block, LayerNorm, transposed
from .network_file import START, NetworkFile

__all__ = ["Reader"]

Array = NDArray[np.float32]


class Reader:
    """Patches to tokens, layers over them, and a head on the last one.

    Parameters
    ----------
    file
        Of a network with layers.
    """

    def __init__(self, file: NetworkFile) -> None:
        embed = "reader.embed_target"
        self.embed = transposed(file.weight(f"{embed}.weight"))  # (2 P, D)
        self.bias = file.weight(f"{embed}.bias")
        self.squash = bool(file.config["squash"])
        self.blocks = [
            Block(
                f"reader.layers.layers.{i}",
                f"reader/layers/{i}",
                file.weight,
                has=file.has,
                head_size=file.config["head_size"],
                icl_rate_max=rate,
            )
            for i, rate in enumerate(file.icl_rates)
        ]
        self.norm = LayerNorm("reader.norm", file.weight)
        self.head = transposed(file.weight("reader.head.weight"))  # (D, H * Q)
        self.layout = file.layout
        self.start = {
            path: file.weight(START + path) for path in self.layout if file.has(START + path)
        }

    def init_state(self, components: int) -> dict[str, Array]:
        """Return the state before the first patch of C components, by path."""
        state = {}
        for path, shape in self.layout.items():
            state[path] = np.zeros((components, *shape), np.float32)
            if path in self.start:
                state[path] += self.start[path]
        return state

    def read(
        self,
        values: Array,
        missing: NDArray[np.bool_],
        mask: NDArray[np.bool_],
        state: dict[str, Array],
    ) -> dict[str, Array]:
        """Carry the state over patches.

        Parameters
        ----------
        values
            In units of what was observed up to the end of each, 0 where missing, (C, T, P).
        missing
            Marks of missing values, (C, T, P).
        mask
            False where a patch leaves the state alone, (C, T).
        state
            See `init_state`; it stays as it is.
        """
        tokens = np.concatenate((np.arcsinh(values) if self.squash else values, missing), -1)
        tokens = tokens.astype(np.float32) @ self.embed + self.bias  # (C, T, D)
        if mask.all():
            return self._read(tokens, state)
        rows = []  # components wait at different places: each by itself
        for c, real in enumerate(mask):
            own = {path: state[path][c : c + 1] for path in self.layout}
            rows.append(self._read(tokens[c : c + 1, real], own) if real.any() else own)
        return {path: np.concatenate([row[path] for row in rows]) for path in self.layout}

    def _read(self, x: Array, before: dict[str, Array]) -> dict[str, Array]:
        after: dict[str, Array] = {}
        shared: dict[int, Array] = {}
        for block in self.blocks:
            x = block(x, before, after, shared)
        after["reader/last"] = x[:, -1].copy()
        return after

    def outputs(self, state: dict[str, Array]) -> Array:
        """Return what the layers add to a forecast, (C, H * Q)."""
        return self.norm(state["reader/last"]) @ self.head
