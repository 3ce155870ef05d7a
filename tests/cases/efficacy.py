"""Tasks that a way of writing or reading a state is for, at the level of tokens.

A task draws tokens (B, T, features) and what is asked for at every token: numbers, with NaN where
nothing is, or classes, with -1 there. All draws come from the generator that is given.

Letters: B sequences, T tokens, P patch length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "NOT_ASKED",
    "Task",
    "factor",
    "long_copy",
    "passkey",
    "recall",
    "spikes",
    "swaps",
    "two_hops",
    "two_seasons",
]

Task: TypeAlias = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""Number of sequences and generator to tokens and what is asked for."""

NOT_ASKED = -1

_ORDERS = list(itertools.permutations(range(3)))
_SWAPS = [(0, 1), (0, 2), (1, 2)]


def swaps(B: int, generator: torch.Generator, *, T: int = 10) -> tuple[Tensor, Tensor]:
    """Swaps of three items; asked for is their order after each, one of six classes."""
    drawn = torch.randint(3, (B, T), generator=generator)
    after = torch.tensor([[_ORDERS.index(_swapped(p, swap)) for swap in _SWAPS] for p in _ORDERS])
    now, orders = torch.zeros(B, dtype=torch.int64), []
    for t in range(T):
        now = after[now, drawn[:, t]]
        orders.append(now)
    return F.one_hot(drawn, 3).float(), torch.stack(orders, 1)


def _swapped(order: tuple[int, ...], swap: tuple[int, int]) -> tuple[int, ...]:
    items = list(order)
    i, j = swap
    items[i], items[j] = items[j], items[i]
    return tuple(items)


def recall(
    B: int, generator: torch.Generator, *, pairs: int = 16, keys: int = 32, values: int = 8
) -> tuple[Tensor, Tensor]:
    """Keys, each with a value behind it, then the keys in another order; asked for is each's value.

    Multi-query associative recall of Arora et al. (2023), arXiv:2312.04927.
    """
    key = torch.rand(B, keys, generator=generator).argsort(1)[:, :pairs]
    value = torch.randint(values, (B, pairs), generator=generator)
    order = torch.rand(B, pairs, generator=generator).argsort(1)
    shown = torch.stack((key, keys + value), 2).flatten(1)  # (B, 2 pairs)
    symbols = torch.cat((shown, key.gather(1, order)), 1)
    asked = torch.full_like(symbols, NOT_ASKED)
    asked[:, 2 * pairs :] = value.gather(1, order)
    return F.one_hot(symbols, keys + values).float(), asked


def passkey(
    B: int, generator: torch.Generator, *, T: int = 64, P: int = 16, values: int = 8
) -> tuple[Tensor, Tensor]:
    """A motif once in a random walk with one of some shapes behind it; at the end it comes again.

    A token is a patch of P steps, and asked for is the number of the shape. The motif stands in the
    first quarter of the sequence.
    """
    walk = 0.3 * torch.randn(B, T, P, generator=generator)
    fixed = torch.Generator().manual_seed(7)  # motif and shapes are the same in every draw
    motif = torch.randn(P, generator=fixed).sign()
    shapes = 1.5 * torch.randn(values, P, generator=fixed)
    place = torch.randint(0, max(1, T // 4), (B,), generator=generator)
    value = torch.randint(values, (B,), generator=generator)
    rows = torch.arange(B)
    walk[rows, place] += 2 * motif
    walk[rows, place + 1] += shapes[value]
    walk[:, -1] += 2 * motif
    asked = torch.full((B, T), NOT_ASKED)
    asked[:, -1] = value
    return walk, asked


def spikes(
    B: int, generator: torch.Generator, *, T: int = 96, lag: int = 24, rate: float = 0.08
) -> tuple[Tensor, Tensor]:
    """A slow level with rare spikes, each echoed `lag` tokens later; asked for is what comes."""
    level = (0.1 * torch.randn(B, T + 1, generator=generator)).cumsum(1)
    level = level - level[:, :1]
    heights = torch.randn(B, T + 1, generator=generator) * 2
    there = torch.rand(B, T + 1, generator=generator) < rate
    first = heights * there
    echo = F.pad(first, (lag, 0))[:, : T + 1]
    series = 0.3 * level + first + echo
    # A spike itself cannot be foreseen: what is asked for is the level and the echo.
    asked = (0.3 * level + echo)[:, 1:].clone()
    asked[:, :lag] = math.nan
    return series[:, :-1, None], asked[..., None]


def factor(B: int, generator: torch.Generator, *, T: int = 24) -> tuple[Tensor, Tensor]:
    """A factor is shown now and then; asked for is each other token times the latest factor.

    Features: whether this is a factor, and the value.
    """
    value = torch.randn(B, T, generator=generator)
    shown = torch.rand(B, T, generator=generator) < 0.15
    shown[:, 0] = True
    steps = torch.arange(T)
    latest = torch.where(shown, steps, 0).cummax(1).values
    product = value * value.gather(1, latest)
    return torch.stack((shown.float(), value), -1), product.masked_fill(shown, math.nan)[..., None]


def two_hops(
    B: int, generator: torch.Generator, *, T: int = 32, n: int = 8
) -> tuple[Tensor, Tensor]:
    """Each of n items points to one, now and then to another; asked for: where its pointer points.

    What is asked for now may lead elsewhere later, so that it cannot be worked out in advance.
    Features: the item, where it points from now on, zero where that is asked, and whether it is.
    """
    first = torch.rand(B, n, generator=generator).argsort(1)
    items = torch.cat((first, torch.randint(n, (B, T - n), generator=generator)), 1)
    towards = torch.randint(n, (B, T), generator=generator)
    asked = (torch.rand(B, T, generator=generator) < 0.5) & (torch.arange(T) >= n)
    item = F.one_hot(items, n)
    told = item * ~asked[..., None]
    latest = (told * torch.arange(T)[:, None]).cummax(1).values  # (B, T, n), when each was told
    pointers = towards.gather(1, latest.flatten(1)).view(B, T, n)
    once = pointers.gather(2, items[..., None])
    answers = pointers.gather(2, once)[..., 0]
    x = torch.cat((item, F.one_hot(towards, n) * ~asked[..., None], asked[..., None]), -1)
    return x.float(), answers.where(asked, NOT_ASKED)


def long_copy(B: int, generator: torch.Generator, *, T: int = 200) -> tuple[Tensor, Tensor]:
    """Levels of segments of 5 tokens; asked for is the level of 125 tokens before.

    A token is a patch of 8 steps, with noise: the copy is over 1,000 steps.
    """
    levels = torch.randn(B, T // 5, 1, generator=generator).repeat_interleave(5, 1)  # (B, T, 1)
    patches = levels + 0.3 * torch.randn(B, T, 8, generator=generator)
    asked = torch.full_like(levels, math.nan)
    asked[:, 125:] = levels[:, :-125]
    return patches, asked


def two_seasons(B: int, generator: torch.Generator, *, T: int = 64) -> tuple[Tensor, Tensor]:
    """Seasons of 2 and of 8 tokens that change slowly; asked for is the next token."""
    total = torch.zeros(B, T + 1)
    for season, size in ((2, 0.7), (8, 0.7)):
        cycles = -(-(T + 1) // season)
        first = torch.randn(B, 1, season, generator=generator)
        changes = 0.2 * torch.randn(B, cycles - 1, season, generator=generator)
        wander = torch.cat((first, changes), 1).cumsum(1).flatten(1)
        total += size * wander[:, : T + 1]
    total += 0.1 * torch.randn(B, T + 1, generator=generator)
    asked = total[:, 1:, None].clone()
    asked[:, :16] = math.nan
    return total[:, :-1, None], asked
