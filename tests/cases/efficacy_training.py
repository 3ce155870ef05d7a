"""The training that compares layers on the tasks of `efficacy`, and the comparisons that are made.

Letters: B sequences, T tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from efficacy import (
    NOT_ASKED,
    Task,
    factor,
    long_copy,
    passkey,
    recall,
    spikes,
    swaps,
    two_hops,
    two_seasons,
)
from torch import Tensor, nn
from torch.nn import functional as F

from rimer_forecaster.layers import Mixer, build_layers

__all__ = ["EXPERIMENTS", "Experiment", "Solver", "score", "train"]


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


class Experiment(NamedTuple):
    """A task and the layers that are compared on it.

    Attributes
    ----------
    task
        What is trained on.
    layers
        Layer strings.
    training
        Arguments of `train`.
    tested
        What is scored, if other than what is trained on.
    """

    task: Task
    layers: tuple[str, ...]
    training: dict[str, Any]
    tested: Task | None = None


EXPERIMENTS: dict[str, Experiment] = {
    "swaps": Experiment(swaps, ("rwkv4", "rwkv7(icl_rate_max=2)", "gru"), {"steps": 300}),
    "recall": Experiment(
        partial(recall, pairs=8, keys=16),
        ("taylor(feature=4, kernel=elu)", "taylor(feature=4)", "rwkv7", "gru"),
        {"steps": 400, "width": 32, "head_size": 16},
    ),
    "recall of 64 pairs": Experiment(
        partial(recall, pairs=64, keys=64),
        ("taylor(feature=16, kernel=elu)", "(taylor(feature=16), attention(window=64))"),
        {"steps": 700, "batch": 16, "width": 32, "head_size": 16},
    ),
    "passkey": Experiment(
        partial(passkey, P=8, values=4),
        (
            "rwkv7",
            "rwkv7*2",
            "attention(window=12, positions=off)",
            "attention(topk=2, chunk=4, positions=off)",
            "gru",
        ),
        {"steps": 400},
        tested=partial(passkey, T=1280, P=8, values=4),  # 10,240 steps
    ),
    "spikes": Experiment(
        partial(spikes, T=48, lag=12),
        ("rwkv7", "attention(window=16)", "parallel(attention(window=16), rwkv7)", "gru"),
        {"steps": 200},
    ),
    "long copy": Experiment(long_copy, ("rwkv7", "rwkv7(retrospect=5)", "gru"), {"steps": 150}),
    "two seasons": Experiment(
        two_seasons,
        ("rwkv7", "perspectives(rwkv7; lags=1+1)", "perspectives(rwkv7; lags=1+7)", "gru"),
        {"steps": 300},
    ),
    "factor": Experiment(factor, ("rwkv7", "rwkv7(sse=on)", "gru"), {"steps": 300}),
    "two hops": Experiment(
        two_hops,
        ("rwkv7", "rwkv7*2", "rwkv7(sse=on)", "gru"),
        {"steps": 1000, "width": 32},
    ),
    "swaps by depth": Experiment(swaps, ("rwkv7", "rwkv7*4", "equilibrium(rwkv7)"), {"steps": 600}),
}
"""By name. Sizes are the smallest at which a layer shows what it is for."""
