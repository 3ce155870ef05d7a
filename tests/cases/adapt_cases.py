"""Series of one template, which a state can learn, and small networks."""

from __future__ import annotations

import numpy as np
from network_cases import randomised
from numpy.typing import NDArray

from rimer_forecaster import RimerNetwork

QUANTILES = (0.1, 0.5, 0.9)


def network(layers: str = "rwkv7*2", **arguments: object) -> RimerNetwork:
    """A network with random weights that reads windows of any length, as those of the package."""
    net = RimerNetwork(
        *(64, 8),
        layers=layers,
        width=8,
        head_size=4,
        patch_length=4,
        outputs=QUANTILES,
        streaming=True,
        skip_length=8,
        squash=True,
        read_gaps=True,
        **arguments,  # type: ignore[arg-type]
    )
    return randomised(net).eval()


def siblings(count: int, n: int, *, seed: int = 1) -> list[NDArray[np.float64]]:
    """Series (n, 1) that repeat one template from its beginning, each in its own units."""
    template = np.random.default_rng(0).normal(size=12)
    found = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        values = np.resize(template, n) * rng.uniform(0.5, 2) + 3 * rng.normal()
        found.append((values + 0.1 * rng.normal(size=n))[:, None])
    return found
