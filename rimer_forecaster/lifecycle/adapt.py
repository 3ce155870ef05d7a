"""State tuning: the weights stay as they are, and what the layers start from learns.

Source: Xiao, Li and Lin (2025), "State Tuning: State-based Test-Time Scaling on RWKV-7",
arXiv:2504.05097. That a state is kept only where it forecasts held back values better is ours.

Letters: G groups, n series, H heads, N channels of a head, r rank, M kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..layers import fresh_memory, from_leaves
from ..layers.parts.kernel_read import KERNELS, SUPPORTS
from ..network import RimerNetwork
from ..network.checks import plain_size
from ..network.state import fingerprint
from .adapted_state import AdaptedState, beside, names_of
from .kernels import Kernels, check_upscale, place_kernels
from .objective import Objective, StartOf

__all__ = ["adapt"]

_RATE = 0.05
"""Of Adam. A memory is of the size of a sum of tokens: rates of weights hardly move it."""

_BETAS = (0.9, 0.98)

_LEAST_GAIN = 0.01
"""Logarithm of the factor by which a state must lower the loss on held back values, at least..."""

_ERRORS = 2.0
"""...and standard errors over the series that this must stand out by."""

_ERROR_ALONE = 0.025
"""In place of a standard error, where a group is one series."""


def adapt(
    network: RimerNetwork,
    objective: Objective,
    *,
    steps: int = 60,
    rank: int | None = None,
    upscale: int = 0,
    decorrelate: bool = False,
    groups: Sequence[object] | None = None,
    keep: str = "better",
) -> AdaptedState:
    """Learn what the layers of a network start from, for series or groups of them.

    Two trainings of all groups at once. The first does not see the last part of each series, which
    then says for which groups a state helps. The second sees everything, and makes these states.
    The others are zero. The same call gives the same states.

    Parameters
    ----------
    network
        Its weights are left as they are, bit for bit.
    objective
        The series, and how well they are forecast.
    steps
        Of either training.
    rank
        r, of each head's state, at most its N channels; None for full ones.
    upscale
        M, kernels beside each head's state. They are read by how near a token's receptance is to
        one of M supports, are not written, and so do not decay. They start as an exact identity.
    decorrelate
        Whether the features of the kernels are mixed so that they do not correlate while learning.
    groups
        Of each series, (n,), anything with a name: series of a group share a state. None for a
        state of each series.
    keep
        ``"better"``, or ``"always"`` for the second training alone and all of its states.

    Raises
    ------
    ValueError
        If an argument is out of range, the layers have no memory of their own, or nothing can be
        held back of any series.
    """
    steps = plain_size("steps", steps)
    if keep not in ("better", "always"):
        raise ValueError(
            f"keep={keep!r} must be 'better', for states that forecast held back values better, or "
            "'always'."
        )
    check_upscale(upscale, decorrelate=decorrelate)
    names, owners = _groups(groups, objective.count)
    states = _States(network, len(names), rank, upscale, decorrelate=decorrelate)
    with _frozen(network), torch.enable_grad():
        everyone = torch.arange(objective.count)
        kept = torch.ones(len(names), dtype=torch.bool)
        if keep == "better":
            with torch.no_grad():
                before = objective.held_back(None)
            _check_held_back(before)
            states.train(objective, owners, everyone, steps, whole=False)
            with torch.no_grad():
                after = objective.held_back(states.of(owners))
            kept = _helped(before, after, owners, len(names))
        if bool(kept.any()):
            states.train(objective, owners, everyone[kept[owners]], steps, whole=True)
    tensors = {
        path: x if path.endswith(SUPPORTS) else x.where(kept.view(-1, 1, 1, 1), 0.0)
        for path, x in states.tensors().items()
    }
    return AdaptedState(tuple(names), tuple(kept.tolist()), fingerprint(network), tensors)


def _groups(groups: Sequence[object] | None, count: int) -> tuple[list[str], Tensor]:
    """Return the names of the groups, and the group of each series, (n,)."""
    own = list(range(count)) if groups is None else list(groups)
    if len(own) != count:
        raise ValueError(
            f"groups has {len(own)} entries, but there are {count} series: give one for each."
        )
    shown = names_of(own)
    names = list(dict.fromkeys(shown))
    places = {name: i for i, name in enumerate(names)}
    return names, torch.tensor([places[name] for name in shown])


class _States:
    """Initial states that are trained, of full or low rank, (G, ...), and kernels beside them."""

    def __init__(
        self,
        network: RimerNetwork,
        groups: int,
        rank: int | None,
        upscale: int,
        *,
        decorrelate: bool,
    ) -> None:
        layers = None if network.reader is None else network.reader.layers
        if layers is None or not layers.memory:
            raise ValueError(
                "adapt is for layers with a memory of their own, such as rwkv7 has; this network "
                f"has layers={network.config.layers!r}."
            )
        self._layers = layers
        self._fresh = fresh_memory(layers)
        N = min(min(x.shape[-2:]) for x in self._fresh.values())
        self._rank = None if rank is None else plain_size("rank", rank, most=N)
        self._groups, self._upscale, self._decorrelate = groups, upscale, decorrelate

    def _begin_anew(self) -> None:
        """Start at zero; of low rank the right factor alone is zero."""
        self._generator = torch.Generator().manual_seed(0)
        self._parameters: dict[str, Tensor] = {}
        for path, x in self._fresh.items():
            *heads, rows, columns = x.shape[1:]
            if self._rank is None:
                self._parameters[path] = x.new_zeros(self._groups, *x.shape[1:])
            else:
                left = torch.randn(
                    self._groups, *heads, rows, self._rank, generator=self._generator
                ) / math.sqrt(rows)
                self._parameters[f"{path}:left"] = left.to(x)
                self._parameters[f"{path}:right"] = x.new_zeros(
                    self._groups, *heads, self._rank, columns
                )
            if path in self._kernels:
                self._parameters[f"{path}:{KERNELS}"] = x.new_zeros(
                    self._groups, *heads, rows, self._upscale
                )
        for parameter in self._parameters.values():
            parameter.requires_grad_()

    def of(self, owners: Tensor) -> StartOf:
        """Return the states by the series that begin from them."""

        def start_of(series: Tensor) -> Any:
            rows, found = owners[series], {}
            for path in self._fresh:
                if self._rank is None:
                    found[path] = self._parameters[path][rows]
                else:
                    sides = (self._parameters[f"{path}:{x}"][rows] for x in ("left", "right"))
                    found[path] = torch.matmul(*sides)
            for path, kernels in self._kernels.items():
                weights = self._parameters[f"{path}:{KERNELS}"][rows]
                found |= beside(path, weights @ kernels.mixing, kernels.supports)
            return from_leaves(found)

        return start_of

    def train(
        self, objective: Objective, owners: Tensor, among: Tensor, steps: int, *, whole: bool
    ) -> None:
        """Start anew, and take steps of Adam at a rate that falls to zero."""
        self._kernels: dict[str, Kernels] = {}
        self._begin_anew()
        if self._upscale:
            self._kernels = place_kernels(
                self._layers,
                lambda: objective.loss(self.of(owners), among, self._generator, whole=whole),
                self._upscale,
                decorrelate=self._decorrelate,
            )
            self._begin_anew()
        parameters = list(self._parameters.values())
        optimizer = torch.optim.Adam(parameters, lr=_RATE, betas=_BETAS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        start_of = self.of(owners)
        for _ in range(steps):
            loss = objective.loss(start_of, among, self._generator, whole=whole)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
        if not all(bool(x.isfinite().all()) for x in parameters):
            raise ValueError(
                "the states diverged: they are not finite. Look for extreme values in the series."
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return what is stored, on the CPU."""
        found = {path: x.detach() for path, x in self._parameters.items()}
        for path, kernels in self._kernels.items():
            found[f"{path}:{KERNELS}"] = found[f"{path}:{KERNELS}"] @ kernels.mixing
            found[f"{path}:{SUPPORTS}"] = kernels.supports
        return {path: x.cpu() for path, x in found.items()}


def _check_held_back(losses: Tensor) -> None:
    """Raise a ValueError if no series has a part that is held back."""
    if not bool(losses.isfinite().any()):
        raise ValueError(
            "the series are too short to adapt to: of none of them a last part could be held back "
            "that says whether a state helps. Give longer ones, or keep='always'."
        )


def _helped(before: Tensor, after: Tensor, owners: Tensor, groups: int) -> Tensor:
    """Whether a state lowers the loss of what was held back, by more than chance, (G,).

    Series of a group share what happened at one time, and a few may gain much: a standard error
    over them does not know of it. So the median series must gain in each part too.
    """
    gains = (before.double() / after.double()).log().cpu()  # (n, parts)
    kept = torch.zeros(groups, dtype=torch.bool)
    for group in range(groups):
        own = gains[owners == group]
        own = own[own.isfinite().any(1)]
        if len(own):
            means, medians = own.nanmean(1), own.nanquantile(0.5, 0)
            error = float(means.std() / math.sqrt(len(own))) if len(own) > 1 else _ERROR_ALONE
            stands_out = float(means.mean()) > max(_LEAST_GAIN, _ERRORS * error)
            kept[group] = stands_out and not bool((medians <= 0).any())  # NaN: nothing held back
    return kept


@contextmanager
def _frozen(network: RimerNetwork) -> Iterator[None]:
    """Let no gradient of the weights be computed."""
    trained = [x for x in network.parameters() if x.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
