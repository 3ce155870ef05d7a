"""What the mediums of a layer hold, beside the steps that they sum up.

Letters: C components, T tokens, K mediums that are kept, m tokens of a segment, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from ..layers import Mediums

__all__ = ["MediumReader", "medium_table"]

_INDEX = ["component", "layer", "first step", "last step"]


class MediumReader:
    """Follows the mediums of one layer while a history is read patch by patch."""

    def __init__(self, layer: str, mediums: Mediums, components: list[Any]) -> None:
        self.layer, self.mediums, self.components = layer, mediums, components
        self.ends: list[list[int]] = [[] for _ in components]
        self.shares: list[list[float]] = [[0.0] * mediums.capacity for _ in components]
        self.bank: list[list[list[float]]] = [[] for _ in components]

    def read(self, steps: int, inputs: tuple[Any, ...]) -> None:
        """Take note of one token, (C, 1, D), read when the history was this many steps long."""
        shares = self.mediums.shares(*inputs)[:, -1]  # (C, K)
        _, after = self.mediums(*inputs)
        assert after is not None
        for c, count in enumerate(after["count"].tolist()):
            if count > len(self.ends[c]):  # a patch without a value is no token
                self.ends[c].append(steps)
                self.shares[c] = shares[c].tolist()
            self.bank[c] = after["bank"][c].tolist()

    def rows(self, patch_length: int) -> Iterator[dict[Any, Any]]:
        """Yield a row of `medium_table` for each medium that is kept."""
        m, K = self.mediums.segment, self.mediums.capacity
        for c, (name, ends) in enumerate(zip(self.components, self.ends, strict=True)):
            ended = len(ends) // m
            # The last token may have ended a segment, and read the mediums before it.
            seen = (len(ends) - 1) // m
            for j in range(max(0, ended - K), ended):
                age = seen - j
                medium = self.bank[c][K - ended + j]
                yield {
                    "component": name,
                    "layer": self.layer,
                    "first step": ends[j * m] - patch_length,
                    "last step": ends[j * m + m - 1] - 1,
                    "share": self.shares[c][K - age] if 1 <= age <= K else 0.0,
                    "norm": sum(x * x for x in medium) ** 0.5,
                    **dict(enumerate(medium)),
                }


def medium_table(readers: Iterable[MediumReader], patch_length: int) -> pd.DataFrame:
    """Return the table of `Diagnostics.mediums`."""
    rows = [row for reader in readers for row in reader.rows(patch_length)]
    columns = [] if rows else [*_INDEX, "share", "norm"]
    return pd.DataFrame(rows, columns=columns or None).set_index(_INDEX)
