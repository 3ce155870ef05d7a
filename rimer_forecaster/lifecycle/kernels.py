"""Kernels beside the states that are tuned: where they stand, and how they are mixed.

What they are is in `rimer_forecaster.layers.parts.kernel_read`. Source: Xiao, Li and Lin (2025),
"State Tuning: State-based Test-Time Scaling on RWKV-7", arXiv:2504.05097; that the supports are
means of observed receptances, and that correlations are taken off at once by their inverse root, to
which the source's rule leads step by step, is ours.

Letters: n tokens, H heads, N channels of a head, M kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor, nn

from ..layers import Block, Mixer, RWKV7TimeMix, Stack
from ..layers.parts.kernel_read import kernel_features

__all__ = ["Kernels", "check_upscale", "place_kernels"]

_MOST_TOKENS = 4096
"""Of each layer that supports are looked for among."""

_NEAREST = 1e-3
"""Distance of supports, one minus a cosine, below which they count as one."""

_RIDGE = 1e-4
"""Share of the mean variance that is added to each before its root is inverted."""


@dataclass(frozen=True)
class Kernels:
    """The kernels of one layer.

    Attributes
    ----------
    supports
        (1, H, M, N).
    mixing
        What features are multiplied with before they are weighted, (1, H, M, M).
    """

    supports: Tensor
    mixing: Tensor


def check_upscale(upscale: object, *, decorrelate: bool) -> None:
    """Raise a ValueError unless an upscale is 0 or a number of kernels."""
    if isinstance(upscale, bool) or not isinstance(upscale, int) or not 0 <= upscale <= 256:
        raise ValueError(
            f"upscale={upscale!r} must be a number of kernels per head, from 0, for none, to 256."
        )
    if not isinstance(decorrelate, bool):
        raise ValueError(f"decorrelate={decorrelate!r} must be True or False.")
    if decorrelate and not upscale:
        raise ValueError(
            "decorrelate=True is for the features of kernels, of which upscale=0 gives none. Give "
            "upscale=16, say."
        )


@torch.no_grad()
def place_kernels(
    layers: Mixer, read: Callable[[], object], count: int, *, decorrelate: bool
) -> dict[str, Kernels]:
    """Return kernels by the path of the memory that they stand beside.

    Parameters
    ----------
    layers
        Of a network, whose RWKV-7 layers get kernels.
    read
        Lets the network read what it is to be tuned for.
    count
        M.
    decorrelate
        Whether features are mixed so that those of the tokens that were read do not correlate.

    Raises
    ------
    ValueError
        If the layers are not a stack of RWKV-7 blocks, or fewer than M tokens were read.
    """
    mixers = {path: _mixer_at(layers, path) for path in layers.memory}
    with _listening(mixers) as heard:
        read()
    found = {}
    for path, mixer in mixers.items():
        receptance = torch.cat(heard[path])[:_MOST_TOKENS].unflatten(-1, (-1, mixer.key_size))
        if len(receptance) < count:
            raise ValueError(
                f"upscale={count} is beyond the {len(receptance)} tokens that the layers read of "
                "the series. Give fewer kernels, or more series."
            )
        supports = torch.stack([_supports(head, count) for head in receptance.unbind(1)])[None]
        features = kernel_features(receptance[None], supports)[0].transpose(0, 1)  # (H, n, M)
        mixing = _inverse_root(features) if decorrelate else torch.eye(count).expand(1, 1, -1, -1)
        found[path] = Kernels(supports, mixing.to(supports))
    return found


def _supports(receptance: Tensor, count: int) -> Tensor:
    """Return means of clusters of directions, as long as they are near to each other, (M, N)."""
    directions = F.normalize(receptance.double(), dim=-1).cpu()
    means = KMeans(count, n_init=1, random_state=0).fit(directions.numpy()).cluster_centers_
    centres = F.normalize(torch.from_numpy(means), dim=-1)
    apart = 1 - centres @ centres.T
    apart.fill_diagonal_(2.0)
    width = apart.amin(-1).mean().clamp_min(_NEAREST)
    return (centres / width.sqrt()).to(receptance)


def _inverse_root(features: Tensor) -> Tensor:
    """Return the inverse root of the covariance of features (H, n, M), as (1, H, M, M)."""
    x = features.double()
    x = x - x.mean(-2, keepdim=True)
    values, vectors = torch.linalg.eigh(x.transpose(-1, -2) @ x / x.shape[-2])
    values = values.clamp_min(0) + _RIDGE * values.mean(-1, keepdim=True)
    return (vectors * values.rsqrt()[..., None, :] @ vectors.transpose(-1, -2))[None]


def _mixer_at(layers: Mixer, path: str) -> RWKV7TimeMix:
    """Return the layer that owns a memory."""
    module: nn.Module | None = layers
    for name in path.split("/")[:-1]:
        if isinstance(module, Stack):
            module = module.layers[int(name)]
        else:
            module = getattr(module, name) if isinstance(module, Block) else None
    if not isinstance(module, RWKV7TimeMix):
        raise ValueError(
            f"upscale is for layers that are rwkv7 throughout; {path!r} is the memory of another. "
            "Leave it at 0."
        )
    return module


@contextmanager
def _listening(mixers: dict[str, RWKV7TimeMix]) -> Iterator[dict[str, list[Tensor]]]:
    """Keep the receptances of the tokens that count, (n, D), while the layers read."""
    heard: dict[str, list[Tensor]] = {path: [] for path in mixers}
    masks: dict[str, Tensor | None] = {}
    hooks = []

    def remember(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            masks[path] = given[2].mask if len(given) > 2 else None

        return hook

    def listen(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], receptance: Tensor) -> None:
            mask = masks[path]
            heard[path].append(receptance.flatten(0, 1) if mask is None else receptance[mask])

        return hook

    try:
        for path, mixer in mixers.items():
            hooks.append(mixer.register_forward_pre_hook(remember(path)))
            hooks.append(mixer.receptance.register_forward_hook(listen(path)))
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
