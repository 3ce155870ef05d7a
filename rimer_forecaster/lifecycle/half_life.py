"""How long what a state adds is left in the layers: it decays, and tokens write over it.

Letters: n steps, C components, P patch length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..layers import State, leaves
from ..network import RimerNetwork
from .adapted_state import AdaptedState

__all__ = ["half_life"]


@torch.no_grad()
def half_life(network: RimerNetwork, state: AdaptedState, values: NDArray[np.float64]) -> float:
    """Return after how many steps half of what a state adds to the memory of the layers is left.

    A stream that begins from the state is compared with one that begins from nothing, in the norm
    of the difference of their memories.

    Parameters
    ----------
    network
        Whose weights the state belongs to; without covariates.
    state
        Of one row.
    values
        A series, (n, C), NaN where missing.

    Returns
    -------
    float
        In steps, between the ends of patches by a straight line of logarithms; infinite where more
        than half is left at the end of the series, NaN for a state of zeros.

    Raises
    ------
    ValueError
        If the state belongs to other weights, or has several rows.
    """
    start = state.start(1, network)
    if start is None:
        return math.nan
    P = network.config.patch_length
    target = torch.as_tensor(values, dtype=network.dtype, device=network.device)[None]
    ours, theirs = (network.init_state(1, target.shape[2], start=x) for x in (start, None))
    assert network.reader is not None
    paths = network.reader.layers.memory
    first = before = _distance(ours, theirs, paths)
    for end in range(P, target.shape[1] + 1, P):
        ours, theirs = (network.update(x, target[:, end - P : end]) for x in (ours, theirs))
        after = _distance(ours, theirs, paths)
        if after <= first / 2:
            share = math.log(2 * before / first) / math.log(before / after)
            return end - P + P * share
        before = after
    return math.inf


def _distance(one: State, other: State, paths: Sequence[str]) -> float:
    """Return the norm of the difference of the memories of two streams."""
    ours, theirs = (dict(leaves(x["reader"]["layers"])) for x in (one, other))
    squares = [(ours[path] - theirs[path]).double().square().sum() for path in paths]
    return math.sqrt(float(torch.stack(squares).sum()))
