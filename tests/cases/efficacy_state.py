"""Tasks that a way of writing or reading a state is for, on tokens, and how layers learn them.

Each generator returns tokens (B, T, features) and what is asked for at every token, with NaN, or a
negative class, where nothing is.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rimer_forecaster.layers import Mixer, build_layers

__all__ = ["factor", "long_copy", "swaps", "train", "two_seasons"]

Task = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]

_PERMUTATIONS = list(itertools.permutations(range(3)))
_SWAPS = [(0, 1), (0, 2), (1, 2)]


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
    B: int, generator: torch.Generator, *, T: int = 12, n: int = 5
) -> tuple[Tensor, Tensor]:
    """Of n items each points to one; asked for is where the pointer of a pointer leads.

    Features: the item, where it points, zero where that is asked, and whether it is asked.
    """
    pointers = torch.rand(B, n, generator=generator).argsort(1)
    order = torch.rand(B, n, generator=generator).argsort(1)
    items = torch.cat((order, torch.randint(n, (B, T - n), generator=generator)), 1)
    towards = pointers.gather(1, items)
    asked = torch.arange(T) >= n
    parts = (
        F.one_hot(items, n),
        F.one_hot(towards, n) * ~asked[:, None],
        asked.expand(B, T)[..., None],
    )
    answers = pointers.gather(1, towards)
    return torch.cat(parts, -1).float(), answers.where(asked, -100)


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


def swaps(B: int, generator: torch.Generator, *, T: int = 8) -> tuple[Tensor, Tensor]:
    """Swaps of three items; asked for is the permutation after each, one of six classes."""
    drawn = torch.randint(3, (B, T), generator=generator)
    after = torch.tensor(
        [[_PERMUTATIONS.index(_swapped(p, swap)) for swap in _SWAPS] for p in _PERMUTATIONS]
    )
    now, permutations = torch.zeros(B, dtype=torch.int64), []
    for t in range(T):
        now = after[now, drawn[:, t]]
        permutations.append(now)
    return F.one_hot(drawn, 3).float(), torch.stack(permutations, 1)


def _swapped(permutation: tuple[int, ...], swap: tuple[int, int]) -> tuple[int, ...]:
    items = list(permutation)
    i, j = swap
    items[i], items[j] = items[j], items[i]
    return tuple(items)


class Solver(nn.Module):
    """Tokens in by a linear map, through layers, and out by another."""

    def __init__(self, layers: str, features: int, outputs: int, *, width: int, head_size: int):
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.layers = build_layers(layers, width=width, head_size=head_size)
        self.layers.reset_parameters()
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layers(self.embed(x))
        return self.head(self.norm(y))

    def penalty(self) -> Tensor | float:
        mixers = [m for m in self.modules() if isinstance(m, Mixer) and m.penalty is not None]
        penalties = [mixer.penalty for mixer in mixers]
        for mixer in mixers:
            mixer.penalty = None
        return sum(penalties, 0.0)


def loss_of(answers: Tensor, asked: Tensor) -> Tensor:
    """Squared error, or cross entropy where classes are asked for; of what is asked for."""
    if not asked.is_floating_point():
        return F.cross_entropy(answers.flatten(0, 1), asked.flatten())
    there = ~asked.isnan()
    return (answers[there] - asked[there]).square().mean()


def train(
    layers: str,
    task: Task,
    *,
    seed: int = 0,
    steps: int,
    batch: int = 32,
    rate: float = 5e-3,
    width: int = 16,
    head_size: int = 8,
) -> Solver:
    """Train layers on a task, from one seed, with one cosine of the learning rate."""
    generator = torch.Generator().manual_seed(seed)
    x, asked = task(2, torch.Generator().manual_seed(0))
    outputs = asked.shape[-1] if asked.is_floating_point() else 6
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Solver(layers, x.shape[-1], outputs, width=width, head_size=head_size)
        fast = [p for m in net.modules() for n, p in m.named_parameters() if n in _faster(m)]
        names = {id(p) for p in fast}
        slow = [p for p in net.parameters() if id(p) not in names]
        groups = [{"params": slow, "lr": rate}]
        if fast:
            groups.append({"params": fast, "lr": 10 * rate})
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            x, asked = task(batch, generator)
            loss = loss_of(net(x), asked) + net.penalty()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return net.eval()


def _faster(module: nn.Module) -> set[str]:
    rates = getattr(module, "learning_rates", {})
    return {name for name, rate in rates.items() if rate >= 10}


@torch.no_grad()
def error_of(net: Solver, task: Task, *, sequences: int = 200) -> float:
    """Return the mean squared error on sequences never seen, or the share of wrong last classes."""
    x, asked = task(sequences, torch.Generator().manual_seed(10_000))
    answers = net(x)
    if asked.is_floating_point():
        return float(loss_of(answers, asked))
    return float((answers[:, -1].argmax(-1) != asked[:, -1]).float().mean())
