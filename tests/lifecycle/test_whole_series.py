"""The loss of whole series: what it reads, and what it does not see yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from adapt_cases import network, siblings
from numpy.typing import NDArray
from torch import Tensor

from rimer_forecaster.layers import State, from_leaves, leaves
from rimer_forecaster.lifecycle.whole_series import WholeSeries
from rimer_forecaster.network.dense import dense_forecast
from rimer_forecaster.zero_shot.forecast import standardised


def whole(series: list[NDArray[np.float64]], horizon: int = 8, **arguments: Any) -> WholeSeries:
    given = {"look_back": 64, "seasonal": False, **arguments}
    return WholeSeries(network(), series, horizon=horizon, **given)


def zeros(series: Tensor) -> State:
    net = network()
    assert net.reader is not None
    fresh = dict(leaves(net.reader.layers.init_state(len(series))))
    return from_leaves({path: fresh[path] for path in net.reader.layers.memory})


def loss(objective: WholeSeries, *, whole: bool) -> float:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return float(objective.loss(zeros, torch.arange(objective.count), generator, whole=whole))


def test_what_is_held_back_cannot_change_the_loss_before() -> None:
    """The unit of a series is of all of it, and so stays: the values swap their places."""
    series = siblings(1, 60)
    changed = [x.copy() for x in series]
    changed[0][-16:] = changed[0][-16:][::-1]  # two horizons of 8
    ours, theirs = whole(series), whole(changed)
    assert loss(ours, whole=False) == loss(theirs, whole=False)
    assert loss(ours, whole=True) != loss(theirs, whole=True)
    with torch.no_grad():
        assert (ours.held_back(None) != theirs.held_back(None)).all()


def test_held_back_are_the_last_two_horizons_each_from_its_beginning() -> None:
    series = siblings(1, 60)
    net = network()
    values = torch.as_tensor(standardised(series[0][:, 0], 64, 0)[0], dtype=torch.float32)
    expected = []
    for origin in (44, 52):
        dense = dense_forecast(net, values[None, :, None], steps=origin)
        losses, counts = dense.quantile_losses(
            values[None, : origin + 8, None], torch.tensor([0.1, 0.5, 0.9]), squash=True
        )
        assert counts[:, :, -1].sum() == 8
        expected.append(float(losses[:, :, -1].sum()) / 8)
    with torch.no_grad():
        found = whole(series).held_back(None)
    assert found.tolist() == [pytest.approx(expected, rel=1e-4)]  # in single precision


def test_units_and_levels_change_nothing() -> None:
    series = siblings(2, 60)
    scaled = [1000 * x - 5000 for x in series]
    assert loss(whole(series), whole=True) == pytest.approx(loss(whole(scaled), whole=True), 1e-4)


def test_short_and_empty_series_have_nothing_held_back() -> None:
    nothing = np.full((60, 1), np.nan)
    with torch.no_grad():
        losses = whole([np.arange(4.0)[:, None], nothing, *siblings(1, 60)]).held_back(None)
    assert losses.isnan().tolist() == [[True] * 2, [True] * 2, [False] * 2]


def test_components_of_a_series_count_as_one() -> None:
    a, b = siblings(2, 60)
    with torch.no_grad():
        both = whole([np.concatenate((a, b), 1)]).held_back(None)
        alone = whole([a, b]).held_back(None)
    assert both.shape == (1, 2)
    torch.testing.assert_close(both[0], alone.mean(0), rtol=1e-6, atol=0)


def test_a_series_of_one_patch_and_a_half_has_a_loss() -> None:
    """It begins anywhere in a patch, or else nothing would follow the end of the first one."""
    losses = [
        float(whole(siblings(1, 6)).loss(
            zeros, torch.arange(1), torch.Generator().manual_seed(seed), whole=True
        ))
        for seed in range(8)
    ]  # fmt: skip
    assert sum(x > 0 for x in losses) >= 6
