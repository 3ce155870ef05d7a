"""What an exported network is in its file, and how it comes out of it again.

Letters: H output steps, D width.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import Arrays, damaged, read_arrays, write_arrays

__all__ = ["FORMAT", "START", "NetworkFile"]

FORMAT = 1
"""Number of the format. A reader knows files of its own number alone."""

START = "start/"
"""Head of the names of learned initial states; the path in the state follows."""


@dataclass(frozen=True)
class NetworkFile:
    """An exported network: weights by the names of the network, and what it was built from.

    Attributes
    ----------
    arrays
        Weights, in half precision where that changes none; initial states under `START`. Those of
        `rimer_forecaster.layers.parts.compressed` are as they are there.
    fingerprint
        Of the network, which states belong to.
    config
        Arguments of `rimer_forecaster.network.NetworkConfig`.
    icl_rates
        Largest in-context learning rate of each layer.
    layout
        Shape of each part of the layers' state for one component, by path.
    """

    arrays: Arrays
    fingerprint: str
    config: dict[str, Any]
    icl_rates: list[float]
    layout: dict[str, list[int]]

    def write(self, path: str | PathLike[str], version: str) -> None:
        """Write safetensors with a JSON head; see `write_arrays`."""
        head = {
            "format": FORMAT,
            "version": version,
            "fingerprint": self.fingerprint,
            "config": self.config,
            "icl_rates": self.icl_rates,
            "layout": self.layout,
        }
        write_arrays(path, self.arrays, {"edge": json.dumps(head)})

    @classmethod
    def read(cls, path: str | PathLike[str]) -> NetworkFile:
        """Read what `write` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, is no exported network, or is of another format.
        """
        arrays, metadata = read_arrays(path)
        if "edge" not in metadata:
            raise damaged(path, "it is no network that export_edge wrote")
        head = json.loads(metadata["edge"])
        if head.get("format") != FORMAT:
            raise ValueError(
                f"{str(path)!r} is of format {head.get('format')}, written by rimer_forecaster "
                f"{head.get('version')}, and this version reads format {FORMAT}. Export the model "
                "again with this version."
            )
        names = ("fingerprint", "config", "icl_rates", "layout")
        return cls(arrays, **{name: head[name] for name in names})

    def has(self, name: str) -> bool:
        """Whether there is a weight of this name."""
        return name in self.arrays

    def weight(self, name: str) -> NDArray[np.float32]:
        """Return a weight in single precision; a compressed one multiplied out."""
        if name in self.arrays:
            return self.arrays[name].astype(np.float32)
        matrix = f"{name.removesuffix('weight')}matrix."
        if f"{matrix}whole" in self.arrays:
            return self._factor(f"{matrix}whole")
        if f"{matrix}left" in self.arrays:
            product: NDArray[np.float32] = self._factor(f"{matrix}left") @ self._factor(
                f"{matrix}right"
            )
            return product
        raise KeyError(name)

    def _factor(self, name: str) -> NDArray[np.float32]:
        """Return a factor of a compressed matrix: whole numbers have a scale per row."""
        factor = self.arrays[name].astype(np.float32)
        scale = f"{name}_scale"
        return factor * self.arrays[scale].astype(np.float32) if self.has(scale) else factor
