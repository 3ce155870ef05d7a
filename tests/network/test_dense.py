"""Dense forecasts are what streams forecast at the same places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_cases import randomised, walk
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.dense import dense_forecast

L, H, P = 30, 7, 5

SETTINGS: dict[str, dict[str, Any]] = {
    "whole skip": {},
    "short skip": {"skip_length": 6},
    "no skip, squashed": {"skip_length": 0, "squash": True},
    "gaps are read": {"skip_length": 6, "squash": True, "read_gaps": True},
    "a learned start": {"initial_state": "learned", "skip_length": 6},
    "attention": {"layers": "(rwkv7, attention(window=3))*2", "read_gaps": True},
}


def network(**arguments: Any) -> RimerNetwork:
    settings = {"layers": "rwkv7*2", "width": 8, "head_size": 4, "patch_length": P, **arguments}
    net = RimerNetwork(L, H, outputs=(0.1, 0.5, 0.9), **settings)
    return randomised(net.double(), 0.2).eval()


def series(n: int, gaps: str) -> Tensor:
    x = 5 + walk(3, n, 2)
    if gaps != "none":
        x[0, :8, 0] = float("nan")  # begins later: more than a patch
        x[1, 12:14] = float("nan")
        x[2, 20:31, 1] = float("nan")  # whole patches
        x[2, 3::4, 0] = float("nan")
    return x


def streamed(net: RimerNetwork, x: Tensor, end: int) -> Tensor:
    """(B, C, H, Q)."""
    with torch.no_grad():
        return net.forecast(net.observe(x[:, :end])).transpose(1, 2)


@pytest.mark.parametrize("gaps", ["none", "some"])
@pytest.mark.parametrize("n", [65, 63])  # ends with a patch, and in one; both beyond the look-back
@pytest.mark.parametrize("setting", SETTINGS)
def test_forecasts_at_every_end_are_those_of_streams(setting: str, n: int, gaps: str) -> None:
    net, x = network(**SETTINGS[setting]), series(n + 10, gaps)
    found = dense_forecast(net, x, steps=n)
    assert found.ends.tolist() == [*range(P, n + 1, P), *([n] if n % P else [])]
    forecasts = found.to_units(net.config.squash)
    compared = 0
    for i, end in enumerate(found.ends.tolist()):
        window = x[:, max(0, end - L) : end]
        if bool(window.isnan().all(1).any()):
            continue  # nothing to forecast a component from, which a stream refuses
        compared += 1
        expected = streamed(net, x, end)
        torch.testing.assert_close(forecasts[:, :, i], expected, rtol=0, atol=1e-10)
    assert compared >= len(found.ends) - 2


def test_what_comes_after_an_end_changes_no_forecast_before_it() -> None:
    net, x = network(**SETTINGS["gaps are read"]), series(60, "some")
    changed = x.clone()
    changed[:, 40:] += 100
    before, after = (dense_forecast(net, y, steps=60).to_units(True) for y in (x, changed))
    torch.testing.assert_close(after[:, :, :8], before[:, :, :8], rtol=0, atol=1e-9)
    assert not torch.allclose(after[:, :, 8:], before[:, :, 8:])


def test_truth_is_what_came_after_in_the_same_units() -> None:
    net, x = network(squash=True, skip_length=0), series(40, "some")
    found = dense_forecast(net, x, steps=30)
    truth = found.of_truth(x, squash=True)
    assert truth.shape == (3, 2, 6, H)
    units = found.location[..., None] + found.scale[..., None] * torch.sinh(truth)
    for i, end in enumerate(found.ends.tolist()):
        torch.testing.assert_close(units[:, :, i], x[:, end : end + H].mT, equal_nan=True)
    beyond = found.of_truth(x[:, :33], squash=True)
    assert beyond[:, :, -1, 3:].isnan().all()
    assert beyond[0, 0, -1, :3].isfinite().all()


def test_units_of_the_series_are_those_of_the_forecast() -> None:
    net, x = network(**SETTINGS["gaps are read"]), series(60, "some")
    expected = 1e6 * dense_forecast(net, x, steps=60).to_units(True) - 3
    found = dense_forecast(net, 1e6 * x - 3, steps=60).to_units(True)
    torch.testing.assert_close(found[:, :, 2:], expected[:, :, 2:], rtol=1e-6, atol=1e-3)


def test_every_weight_learns_from_dense_forecasts() -> None:
    net, x = network(**SETTINGS["gaps are read"]), series(60, "some")
    dense_forecast(net, x, steps=53).outputs.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_beyond_the_horizon_medians_are_fed_back_and_quantiles_are_those_of_a_gap() -> None:
    net, x = network(**SETTINGS["gaps are read"]), series(60, "none")
    state, middle = net.observe(x), net.config.middle
    far = net.forecast(state, 2 * H)
    after_medians = net.forecast(net.update(state, far[:, :H, :, middle]))
    after_gap = net.forecast(net.update(state, torch.full_like(far[:, :H, :, 0], float("nan"))))
    medians = far[:, H:, :, middle, None]
    torch.testing.assert_close(medians[..., 0], after_medians[..., middle])
    distances = after_gap - after_gap[..., middle : middle + 1]
    torch.testing.assert_close(far[:, H:] - medians, distances)
    feeds = torch.tensor([[True, False]] * 3)
    some = net.forecast(state, 2 * H, feeds_back=feeds)[:, H:]
    torch.testing.assert_close(some[:, :, 0], far[:, H:, 0])
    torch.testing.assert_close(some[:, :, 1], after_gap[:, :, 1])


@pytest.mark.parametrize("feeds", [None, False])
def test_far_beyond_the_window_forecasts_keep_level_and_width(feeds: bool | None) -> None:
    net, x = network(**SETTINGS["gaps are read"]), 1e6 + series(60, "some")
    given = None if feeds is None else torch.full((3, 2), feeds)
    for state in (net.observe(x), net.window(x[:, -L:])):
        far = net.forecast(state, 5 * L, feeds_back=given)
        widths = far[..., -1] - far[..., 0]
        assert widths.min() > 0.02 * widths[:, :H].max()
        assert (far - 1e6).abs().max() < 1e3


def test_a_window_that_ends_with_a_gap_is_forecast_as_wide_beyond_the_horizon() -> None:
    net, x = network(**SETTINGS["gaps are read"]), series(L, "none")
    x[:, 6:] = float("nan")
    far = net.forecast(net.window(x), 4 * H)
    widths = far[..., -1] - far[..., 0]
    assert (widths[:, H:] > 0.1 * widths[:, :H].amax(1, keepdim=True)).all()


@pytest.mark.parametrize("n", [3, P, 12, 17, L])
def test_a_short_window_is_one_with_padding(n: int) -> None:
    net, x = network(**SETTINGS["gaps are read"]), series(n, "none")
    padded = torch.cat((torch.full((3, L - n, 2), float("nan"), dtype=x.dtype), x), 1)
    torch.testing.assert_close(net(x), net(padded), rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match=f"past_target has {n - 1} steps" if n < L else "reads 30"):
        network()(x[:, : n - 1] if n < L else x[:, :-1])


@pytest.mark.parametrize(
    "arguments",
    [{"layers": None}, {"future_covariates": 1}, {"outputs": ("location", "scale")}],
)
def test_what_has_no_dense_forecasts_is_refused(arguments: dict[str, Any]) -> None:
    net = RimerNetwork(L, H, **{"outputs": (0.5,), **arguments})
    with pytest.raises(ValueError, match="dense forecasts are of networks"):
        dense_forecast(net, series(60, "none").float(), steps=60)
