"""Windows, loss and the training of the sktime side."""

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
from rimer_forecaster.training.windows import Windows, forecast, quantile_loss, train

NAN = float("nan")


def ramp(n: int, start: float = 0.0) -> Tensor:
    return torch.arange(start, start + n)[:, None]


def rows(windows: Windows) -> list[list[float]]:
    return windows[list(range(len(windows)))].target[..., 0].tolist()


def same(actual: list[list[float]], expected: list[list[float]]) -> bool:
    return np.array_equal(np.array(actual), np.array(expected), equal_nan=True)


def test_a_long_series_gives_its_whole_windows() -> None:
    windows = Windows([ramp(9)], None, input_chunk_length=3, output_chunk_length=2)
    assert same(rows(windows), [list(range(s, s + 5)) for s in range(5)])


def test_a_short_series_also_gives_padded_windows_from_its_middle_on() -> None:
    windows = Windows([ramp(6)], None, input_chunk_length=4, output_chunk_length=2)
    assert same(rows(windows), [[NAN, NAN, 0, 1, 2, 3], [NAN, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])


def test_a_series_no_longer_than_the_horizon_gives_windows_with_an_open_end() -> None:
    windows = Windows([ramp(3)], None, input_chunk_length=2, output_chunk_length=4)
    assert same(rows(windows), [[NAN, 0, 1, 2, NAN, NAN], [0, 1, 2, NAN, NAN, NAN]])


def test_no_window_reaches_into_another_series() -> None:
    windows = Windows(
        [ramp(2), ramp(9, 100.0), ramp(3, 200.0)], None, input_chunk_length=3, output_chunk_length=4
    )
    for window in rows(windows):
        assert len({int(x // 100) for x in window if x == x}) == 1


def test_covariates_stay_beside_their_targets_and_are_zero_outside() -> None:
    series = [ramp(5, 1.0), ramp(7, 50.0)]
    windows = Windows(series, [10 * x for x in series], input_chunk_length=4, output_chunk_length=3)
    batch = windows[list(range(len(windows)))]
    assert batch.covariates is not None
    assert torch.equal(batch.covariates, 10 * batch.target.nan_to_num(0.0))


def test_windows_from_a_given_origin_on() -> None:
    windows = Windows(
        [ramp(9)], None, input_chunk_length=3, output_chunk_length=2, first_origins=[6]
    )
    assert same(rows(windows), [[3, 4, 5, 6, 7], [4, 5, 6, 7, 8]])


def test_quantile_loss_is_least_at_the_quantile() -> None:
    target = torch.randn(20000, 1, 1, generator=torch.Generator().manual_seed(0))
    for level in (0.1, 0.5, 0.9):
        exact = target.quantile(level)
        losses = [
            quantile_loss(torch.full((20000, 1, 1, 1), x), target, torch.tensor([level]))
            for x in (float(exact) - 0.1, float(exact), float(exact) + 0.1)
        ]
        assert losses[1] < losses[0]
        assert losses[1] < losses[2]


def test_quantile_loss_by_hand_and_without_what_was_not_observed() -> None:
    forecast = torch.tensor([1.0, 3.0, 9.0]).view(1, 3, 1, 1)
    target = torch.tensor([3.0, 2.0, NAN]).view(1, 3, 1)
    loss = quantile_loss(forecast, target, torch.tensor([0.9]))
    assert loss.item() == pytest.approx((0.9 * 2 + 0.1 * 1) / 2)


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
        "lr": 1e-3,
        "weight_decay": 0.01,
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
        fit(net, [noise()], lr=1e38)


def test_beyond_the_horizon_medians_are_fed_back() -> None:
    net = network().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(0, 0.3, generator=torch.Generator().manual_seed(p.numel()))
    past = noise(8)[None]
    far = forecast(net, past, None, steps=10)
    first = net(past)
    second = net(torch.cat((past, first[..., 1]), 1)[:, -8:])
    third = net(torch.cat((past, first[..., 1], second[..., 1]), 1)[:, -8:])
    expected = torch.cat((first, second, third), 1)[:, :10]
    torch.testing.assert_close(far, expected)


def causes(steps: int, rows: int = 1) -> tuple[RimerNetwork, Tensor, Tensor]:
    """A network with random weights that reads a covariate, pasts and covariates for them."""
    options = {"width": 8, "head_size": 4, "outputs": (0.1, 0.5, 0.9), "future_covariates": 1}
    net, generator = RimerNetwork(8, 3, **options).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    past = torch.randn(rows, 8, 1, generator=generator)
    return net, past, torch.randn(rows, 8 + steps, 1, generator=generator)


def test_beyond_the_horizon_covariates_of_the_steps_are_read() -> None:
    net, past, X = causes(7)
    window, parts = past, []
    for start in (0, 3, 6):
        parts.append(net(window, future_covariates=X[:, start : start + 8 + 3]))
        window = torch.cat((window, parts[-1][..., 1]), 1)[:, -8:]
    torch.testing.assert_close(forecast(net, past, X, steps=7), torch.cat(parts, 1)[:, :7])


def test_many_windows_are_read_in_parts_with_their_own_covariates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, past, X = causes(5, rows=3)
    expected = forecast(net, past, X, steps=5)
    monkeypatch.setattr("rimer_forecaster.training._MOST_VALUES", 1)
    torch.testing.assert_close(forecast(net, past, X, steps=5), expected)
