"""Linear attention: maps of queries and keys whose products are weights, and their causal sums.

Source of the Taylor series: Arora et al. (2024), "Simple linear attention language models balance
the recall-throughput tradeoff", arXiv:2402.18668; of the other map: Katharopoulos et al. (2020),
"Transformers are RNNs", arXiv:2006.16236.

Letters: B sequences, T tokens, H heads, d features of a query or key, F numbers that a map makes
of them, V channels of a value, C tokens of a chunk, n chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["KERNELS", "FeatureMap", "causal_sums", "taylor_features"]

_CHUNK_LENGTH = 64


class FeatureMap(NamedTuple):
    """A map phi of queries and keys."""

    image: Callable[[Tensor], Tensor]
    """phi, (..., d) -> (..., F)."""

    products: Callable[[Tensor, Tensor], Tensor]
    """phi(q) phi(k) for all pairs, (..., T, d) and (..., S, d) -> (..., T, S)."""

    size: Callable[[int], int]
    """F for a given d."""


def taylor_features(x: Tensor) -> Tensor:
    """Map queries or keys, (..., d) -> (..., 1 + d + d (d + 1) / 2).

    The product of two images is ``1 + s + s^2 / 2`` with s = q k / sqrt(d), always above 0.
    Products of two features stand once, in place of twice in a full square.
    """
    d = x.shape[-1]
    rows, columns = torch.triu_indices(d, d, device=x.device)
    weight = x.new_ones(len(rows)).masked_fill(rows == columns, 0.5**0.5)
    x = x * d**-0.25
    return torch.cat((torch.ones_like(x[..., :1]), x, x[..., rows] * x[..., columns] * weight), -1)


def _taylor_products(q: Tensor, k: Tensor) -> Tensor:
    s = q @ k.mT * q.shape[-1] ** -0.5
    return 1 + s + s.square() / 2


def _elu_features(x: Tensor) -> Tensor:
    return F.elu(x) + 1


KERNELS = {
    "taylor": FeatureMap(taylor_features, _taylor_products, lambda d: 1 + d + d * (d + 1) // 2),
    "elu": FeatureMap(
        _elu_features, lambda q, k: _elu_features(q) @ _elu_features(k).mT, lambda d: d
    ),
}
"""The second-order series of the exponential, and ``elu(x) + 1`` of plain linear attention."""


def causal_sums(
    kernel: FeatureMap, q: Tensor, k: Tensor, v: Tensor, real: Tensor, start: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Sum values over the tokens up to each, weighted by the products of their keys with its query.

    Parameters
    ----------
    kernel
        Whose products weigh.
    q, k, v
        (B, H, T, d), (B, H, T, d) and (B, H, T, V).
    real
        1 for real tokens and 0 for masked ones, (B or 1, T).
    start
        Sum of phi(k) v over earlier tokens, (B, H, F, V).

    Returns
    -------
    sums, total
        (B, H, T, V), and `start` after all tokens; None without a start.
    """
    T, C = q.shape[2], min(q.shape[2], _CHUNK_LENGTH)
    pad = (0, 0, 0, -T % C)
    q, k, v = (F.pad(z, pad).unflatten(2, (-1, C)) for z in (q, k, v))  # (B, H, n, C, ·)
    real = F.pad(real, (0, -T % C)).unflatten(1, (-1, C))[:, None]  # (B, 1, n, C)
    place = torch.arange(C, device=q.device)
    seen = (place <= place[:, None]) & (real[..., None, :] > 0)
    seen = seen | (place == place[:, None])  # also by a masked token: no output is NaN
    sums = kernel.products(q, k).where(seen, 0.0) @ v
    total = None
    if start is not None or q.shape[2] > 1:
        written = (kernel.image(k) * real[..., None]).mT @ v  # (B, H, n, F, V)
        if start is None:
            written = F.pad(written, (0, 0, 0, 0, 1, 0))
        else:
            written = torch.cat((start[:, :, None], written), 2)
        total = written.cumsum(2)
        sums = sums + kernel.image(q) @ total[:, :, :-1]
        total = None if start is None else total[:, :, -1]
    return sums.flatten(2, 3)[:, :, :T], total
