"""Training of a network on windows."""

from __future__ import annotations

import logging
import random
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("pytorch_lightning", reason="training needs the extra 'sktime'")

from rimer_forecaster import RimerNetwork
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.fit import train
from rimer_forecaster.training.held_out import quantile_loss
from rimer_forecaster.training.windows import Windows


def network(seed: int = 0, *, H: int = 4) -> RimerNetwork:
    return RimerNetwork(
        8,
        H,
        width=8,
        head_size=4,
        outputs=(0.1, 0.5, 0.9),
        generator=torch.Generator().manual_seed(seed),
    )


def fit(net: RimerNetwork, series: list[Tensor], **arguments: object) -> None:
    settings = {
        "batch_size": 8,
        "n_epochs": 2,
        "recipe": Recipe(),
        "generator": torch.Generator().manual_seed(1),
        "trainer_kwargs": None,
    }
    windows = Windows(series, None, input_chunk_length=8, output_chunk_length=4)
    train(net, windows, **{**settings, **arguments})  # type: ignore[arg-type]


def noise(n: int = 60) -> Tensor:
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(2))


def test_training_lowers_the_loss_and_leaves_the_network_ready() -> None:
    series = torch.sin(torch.arange(200) / 3)[:, None]
    windows = Windows([series], None, input_chunk_length=8, output_chunk_length=4)
    batch = windows[list(range(len(windows)))].target
    net = network()

    def loss() -> float:
        with torch.no_grad():
            return quantile_loss(
                net(batch[:, :8]), batch[:, 8:], torch.tensor([0.1, 0.5, 0.9])
            ).item()

    before = loss()
    fit(net, [series], n_epochs=30)
    assert loss() < before / 3
    assert not net.training
    assert next(net.parameters()).device.type == "cpu"


def test_the_same_generator_gives_the_same_weights_and_another_one_others() -> None:
    nets = [network() for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        fit(net, [noise()], generator=torch.Generator().manual_seed(seed))
    weights = [[p.detach() for p in net.parameters()] for net in nets]
    assert all(torch.equal(p, q) for p, q in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(weights[0], weights[2], strict=True))


def test_the_generators_of_the_process_stay_as_they_are() -> None:
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    fit(network(), [noise()])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def test_training_is_silent(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        fit(network(), [noise()])
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_a_progress_bar_on_request(capfd: pytest.CaptureFixture[str]) -> None:
    fit(network(), [noise()], trainer_kwargs={"enable_progress_bar": True})
    assert "train_loss" in "".join(capfd.readouterr())


def test_a_module_that_ran_in_a_trainer_leaves_nothing_on_the_network() -> None:
    net = network()
    fit(net, [noise()])
    assert not [name for name in vars(net) if "trainer" in name]
    assert all(getattr(m, "generator", None) is None for m in net.modules())


def test_divergence_is_an_error() -> None:
    net = network()
    with pytest.raises(ValueError, match=r"training diverged.*Lower learning_rate=1e\+38"):
        fit(net, [noise()], recipe=Recipe(learning_rate=1e38))
