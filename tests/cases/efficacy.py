"""Tasks that a layer is for, at the level of tokens, and the training that compares layers on them.

A task draws tokens (B, T, features) and what is asked for at every token: numbers, with NaN where
nothing is, or classes, with -1 there. All draws come from the generator that is given.

Letters: B sequences, T tokens, D width, P patch length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rimer_forecaster.layers import Mixer, build_layers

__all__ = [
    "Experiment",
    "Solver",
    "Task",
    "loss_of",
    "passkey",
    "recall",
    "score",
    "spikes",
    "swaps",
    "train",
]

Task: TypeAlias = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""Number of sequences and generator to tokens and what is asked for."""

NOT_ASKED = -1


# --- tasks ----------------------------------------------------------------------------------------

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
    """A slow level with rare spikes, each with an echo `lag` tokens later; asked for is the next."""
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


# --- training -------------------------------------------------------------------------------------


class Solver(nn.Module):
    """Tokens in by a linear map, through layers, and out by another."""

    def __init__(
        self, layers: str, features: int, outputs: int, *, width: int, head_size: int
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.layers = build_layers(layers, width=width, head_size=head_size)
        self.layers.reset_parameters()
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, features) -> (B, T, outputs)."""
        y, _ = self.layers(self.embed(x))
        return self.head(self.norm(y))

    def penalty(self) -> Tensor | float:
        """Return what the layers add to the loss."""
        mixers = [m for m in self.modules() if isinstance(m, Mixer)]
        return sum((m.penalty for m in mixers if m.penalty is not None), 0.0)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Return the parameters by their learning rates, some of which are multiples."""
        factors = {
            f"{path}.{name}": factor
            for path, module in self.named_modules()
            for name, factor in getattr(module, "learning_rates", {}).items()
        }
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            groups.setdefault(factors.get(name, 1.0), []).append(parameter)
        return [{"params": own, "lr": factor * rate} for factor, own in groups.items()]


def loss_of(answers: Tensor, asked: Tensor) -> Tensor:
    """Squared error, or cross entropy where classes are asked for; of what is asked for."""
    if not asked.is_floating_point():
        return F.cross_entropy(answers.flatten(0, 1), asked.flatten(), ignore_index=NOT_ASKED)
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
    x, asked = task(64, torch.Generator().manual_seed(0))
    outputs = asked.shape[-1] if asked.is_floating_point() else int(asked.max()) + 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Solver(layers, x.shape[-1], outputs, width=width, head_size=head_size)
        optimizer = torch.optim.AdamW(net.groups(rate), weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [group["lr"] for group in optimizer.param_groups], steps, pct_start=0.1
        )
        for _ in range(steps):
            x, asked = task(batch, generator)
            loss = loss_of(net(x), asked) + net.penalty()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def score(net: Solver, task: Task, *, sequences: int = 256, batch: int = 32) -> float:
    """Return the mean squared error on sequences never seen, or the share of right classes."""
    generator = torch.Generator().manual_seed(10_000)
    total = count = 0.0
    for _ in range(-(-sequences // batch)):
        x, asked = task(batch, generator)
        answers = net(x)
        if asked.is_floating_point():
            there = ~asked.isnan()
            errors = (answers[there] - asked[there]).square()
        else:
            there = asked != NOT_ASKED
            errors = (answers[there].argmax(-1) == asked[there]).float()
        total += float(errors.sum())
        count += errors.numel()
    return total / count


# --- comparisons ----------------------------------------------------------------------------------


class Experiment(NamedTuple):
    """A task and the layers that are compared on it, as published.

    Attributes
    ----------
    task
        What is trained on.
    rows
        Layer strings.
    training
        Arguments of `train`.
    tested
        What is scored, if other than what is trained on.
    """

    task: Task
    rows: tuple[str, ...]
    training: dict[str, Any]
    tested: Task | None = None
