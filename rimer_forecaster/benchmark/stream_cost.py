"""What a live stream of a fitted network holds, and how long one of its updates takes.

Letters: L look-back, P patch length, C components, p covariates.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..layers import leaves
from ..network import RimerNetwork

__all__ = ["StreamCost", "stream_cost"]

_PATCHES = 5
"""Patches over which updates are timed, after one that warms up."""


class StreamCost(NamedTuple):
    """What a stream costs.

    Attributes
    ----------
    state_bytes
        Of its state, all components together, after L steps.
    update_milliseconds
        Of an update by one step. The layers read a token once per patch, so it is the mean over the
        updates of a patch; and of such means the median.
    update_of_processor
        The same of the processor alone, so that it is the same on a busy machine.
    """

    state_bytes: int
    update_milliseconds: float
    update_of_processor: float


@torch.inference_mode()
def stream_cost(network: RimerNetwork, values: NDArray[np.float32]) -> StreamCost:
    """Carry a stream on, a step at a time, and measure.

    Parameters
    ----------
    network
        Fitted. It must be in evaluation mode, as it is after a fit.
    values
        Steps of a series in the units that the network reads, (n, C) with n >= 1, NaN where
        missing. They are taken over and over. Covariates are zero: they change no cost.
    """
    config = network.config
    L, P = config.input_chunk_length, config.patch_length
    steps = torch.as_tensor(values, dtype=network.dtype, device=network.device)[None]
    repeats = -(-(L + (1 + _PATCHES) * P) // steps.shape[1])
    steps = steps.repeat(1, repeats, 1)  # (1, at least L + 6 P, C)

    def known(n: int) -> dict[str, Any]:
        sizes = {name: getattr(config, name) for name in ("past_covariates", "future_covariates")}
        return {name: steps.new_zeros(1, n, p) for name, p in sizes.items() if p}

    static = config.static_covariates
    at_rest = steps.new_zeros(1, steps.shape[2], static) if static else None
    state = network.observe(steps[:, :L], static_covariates=at_rest, **known(L))
    held = sum(leaf.nbytes for _, leaf in leaves(state))
    times, of_processor, one = [], [], known(1)
    for patch in range(1 + _PATCHES):
        first = L + patch * P
        begun = time.perf_counter(), time.process_time()
        for t in range(first, first + P):
            state = network.update(state, steps[:, t : t + 1], **one)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        times.append(1e3 * (time.perf_counter() - begun[0]) / P)
        of_processor.append(1e3 * (time.process_time() - begun[1]) / P)
    return StreamCost(held, median(times[1:]), median(of_processor[1:]))
