"""Training prepares for streams: where windows start from, and where they end."""

from __future__ import annotations

import pytest
import torch
from network_cases import walk
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import State, leaves


def series(n: int) -> Tensor:
    """Two seasons, a slowly wandering level, noise; (n, 1)."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(n, dtype=torch.float32)
    noise = torch.randn(2, n, generator=generator)
    x = torch.sin(t / 24 * 6.2832) * (1 + torch.sin(t / 168 * 6.2832)) + 0.3 * noise[0]
    return (x + 0.05 * noise[1].cumsum(0))[:, None]


def trained(x: Tensor, length: int, horizon: int, streaming: bool) -> RimerNetwork:
    pytest.importorskip("pytorch_lightning", reason="the recipe is one for Lightning")
    from rimer_forecaster.training.recipe import parameter_groups

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = RimerNetwork(length, horizon, patch_length=12, streaming=streaming)
        windows = x.unfold(0, length + horizon, 1).transpose(1, 2)  # (n, L + H, 1)
        groups = parameter_groups(net, lr=3e-3, weight_decay=0.01)
        optimizer = torch.optim.AdamW(groups, fused=True)
        steps = 300
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            batch = windows[torch.randint(len(windows), (64,))]
            forecast = net(batch[:, :length])[..., 0]
            loss = (forecast - batch[:, length:]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def streamed_over_windowed(net: RimerNetwork, x: Tensor, first: int) -> Tensor:
    """Ratio of squared errors at each phase of the patch, from eight streams over parts of x.

    Each has read as many steps as come before the first of them.
    """
    length, horizon, patch = net.config.input_chunk_length, net.config.output_chunk_length, 12
    steps = (len(x) - horizon - first) // 8 // patch * patch
    parts = x.unfold(0, first + steps + horizon, steps)[:8].mT  # (8, first + steps + H, 1)
    errors = torch.zeros(2, patch)
    state = net.observe(parts[:, :first])
    for t in range(first, first + steps):
        truth = parts[:, t : t + horizon]
        window = net(parts[:, t - length : t])[..., 0]
        stream = net.forecast(state)[..., 0]
        for i, forecast in enumerate((stream, window)):
            errors[i, t % patch] += (forecast - truth).square().mean()
        state = net.update(state, parts[:, t : t + 1])
    return errors[0] / errors[1]


def test_half_of_the_batches_start_from_carried_states() -> None:
    net = RimerNetwork(24, 6, patch_length=6, dropout=0.0, streaming=True).train()
    assert net.reader is not None
    net.draw_from(torch.Generator().manual_seed(1))
    starts: list[State | None] = []
    net.reader.layers.register_forward_pre_hook(
        lambda _, given: starts.append(given[1]) if torch.is_grad_enabled() else None
    )
    for _ in range(100):
        net(walk(32, 24, 1).float())
    carried = [start for start in starts if start is not None]
    assert len(starts) == 100
    assert 35 < len(carried) < 65  # of 100 at one half
    kept = [dict(leaves(start))["0/token_mixer/wkv"].flatten(1).any(1) for start in carried]
    assert 0.65 < torch.cat(kept).float().mean() < 0.85  # the others begin anew


@pytest.mark.parametrize("n", [1, 4, 6])
def test_windows_shorter_than_a_patch_are_prepared_for_streams_too(n: int) -> None:
    """Of them no patch is finished, so none overlaps with the last one."""
    net = RimerNetwork(24, 6, patch_length=6, streaming=True, skip_length=4).train()
    net.draw_from(torch.Generator().manual_seed(1))
    for _ in range(30):
        assert bool(net(walk(4, n, 2).float()).isfinite().all())


def test_streams_forecast_as_well_as_windows_if_training_prepares_for_them() -> None:
    x = series(5000)
    ratio = {
        streaming: streamed_over_windowed(trained(x[:3500], 96, 24, streaming), x, 3500)
        for streaming in (True, False)
    }
    assert ratio[True].max() < 1.05
    assert ratio[False].max() > 1.1
