"""Tracking a permutation through swaps: what a state that can be turned over is for.

A swap of two contents is a reflection of the state. With an in-context learning rate of at most 1 a
step can erase and write, but not reflect (Grazzi et al., 2024, arXiv:2411.12537).
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rimer_forecaster.kernels import wkv7
from rimer_forecaster.layers import build_layers

PERMUTATIONS = list(itertools.permutations(range(3)))
SWAPS = [(0, 1), (0, 2), (1, 2)]


def apply_swap(permutation: tuple[int, ...], swap: tuple[int, int]) -> tuple[int, ...]:
    items = list(permutation)
    i, j = swap
    items[i], items[j] = items[j], items[i]
    return tuple(items)


AFTER = torch.tensor(
    [[PERMUTATIONS.index(apply_swap(p, swap)) for swap in SWAPS] for p in PERMUTATIONS]
)


def episodes(B: int, T: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random swaps (B, T), and the permutation after each of them (B, T)."""
    swaps = torch.randint(3, (B, T), generator=generator)
    now = torch.zeros(B, dtype=torch.int64)
    permutations = []
    for t in range(T):
        now = AFTER[now, swaps[:, t]]
        permutations.append(now)
    return swaps, torch.stack(permutations, 1)


def accuracy_after_training(icl_rate_max: float, seed: int = 0) -> float:
    """Share of permutations of all three items that one trained layer names, at step 20."""
    width = 32
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        embed, head = nn.Embedding(3, width), nn.Linear(width, 6)
        layers = build_layers(f"rwkv7(icl_rate_max={icl_rate_max})", width=width, head_size=16)
        layers.reset_parameters()
    parameters = [*embed.parameters(), *layers.parameters(), *head.parameters()]
    steps = 400
    optimizer = torch.optim.AdamW(parameters, lr=5e-3, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        swaps, permutations = episodes(64, 10, generator)
        y, _ = layers(embed(swaps))
        loss = F.cross_entropy(head(y).flatten(0, 1), permutations.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    swaps, permutations = episodes(500, 20, generator)
    with torch.no_grad():
        y, _ = layers(embed(swaps))
        named = head(y[:, -1]).argmax(-1)
    return float((named == permutations[:, -1]).float().mean())


def test_a_layer_that_may_reflect_learns_to_track_swaps() -> None:
    assert accuracy_after_training(2) > 0.9


def test_a_layer_that_may_not_does_not() -> None:
    assert accuracy_after_training(1) < 0.5


@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_a_state_set_by_hand_tracks_a_thousand_swaps_of_five(rate: float) -> None:
    """Five values under five keys: taking away twice what lies along e_i - e_j swaps two."""
    generator = torch.Generator().manual_seed(0)
    pairs = torch.stack([torch.randperm(5, generator=generator)[:2] for _ in range(1000)])
    kappa = torch.zeros(1, 1000, 1, 5, dtype=torch.float64)
    kappa[0, torch.arange(1000), 0, pairs[:, 0]] = 0.5**0.5
    kappa[0, torch.arange(1000), 0, pairs[:, 1]] = -(0.5**0.5)
    zero = torch.zeros_like(kappa)
    start = torch.diag(torch.arange(1.0, 6, dtype=torch.float64))[None, None]
    _, end = wkv7(
        *(zero, zero, zero, zero, -kappa, rate * kappa),
        initial_state=start,
        output_final_state=True,
    )
    expected = start[0, 0].clone()
    for i, j in pairs.tolist():
        expected[:, [i, j]] = expected[:, [j, i]]
    assert end is not None
    mistakes = int(((end[0, 0] - expected).abs() > 1e-6).sum())
    assert mistakes == 0 if rate == 2 else mistakes > 0
