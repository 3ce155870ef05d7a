"""A network in fewer bytes forecasts much the same."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_cases import normal, randomised, walk
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.edge import EdgeForecaster
from rimer_forecaster.edge.export import export
from rimer_forecaster.edge.network_file import NetworkFile
from rimer_forecaster.layers.parts.compressed import CompressedMatrix
from rimer_forecaster.lifecycle import compress
from rimer_forecaster.network import load_network, save_weights
from rimer_forecaster.network.compressed import is_compressed, weight_bytes
from rimer_forecaster.network.state import fingerprint
from rimer_forecaster.network.transfer import arguments_like, take_over
from rimer_forecaster.zero_shot import zero_shot_network

L, H = 48, 12
QUANTILES = (0.1, 0.5, 0.9)
LAYERS = [None, "rwkv7*2", "attention, rwkv4", "taylor(feature=4)", "parallel(attention, rwkv7)"]


def network(layers: str | None = "rwkv7*2", **arguments: Any) -> RimerNetwork:
    options = {"width": 32, "outputs": QUANTILES, **arguments}
    net = randomised(RimerNetwork(L, H, layers=layers, **options), 0.2)
    with torch.no_grad():
        net.skip.weight.mul_(0.1)  # what the layers add is to be seen beside it
    return net.eval()


WINDOWS = walk(40, L, 1).float()


def relative(small: RimerNetwork, large: RimerNetwork, x: Tensor = WINDOWS) -> float:
    """Error over the deviation of forecasts from their windows."""
    with torch.no_grad():
        own, expected = small(x), large(x)
    return float((own - expected).square().mean().sqrt() / (expected - x.mean()).std())


def test_covariates_that_write_a_state_are_compressed_too() -> None:
    large = network(past_covariates=2, covariates="cross")
    known = normal(40, L, 2).float()
    small, report = compress(large, None, bits=8)
    assert "reader.covariates.head.matrix.whole" in small.state_dict()
    assert report.times_smaller > 2
    with torch.no_grad():
        own, expected = small(WINDOWS, known), large(WINDOWS, known)
    assert float((own - expected).std() / expected.std()) < 0.05


@pytest.mark.parametrize("layers", LAYERS)
def test_full_rank_without_bits_changes_nothing_but_rounding(layers: str | None) -> None:
    large = network(layers)
    small, report = compress(large, 1, bits=None, calibrate=WINDOWS)
    assert relative(small, large) < 1e-5
    assert (report.n_low_rank > 0) == (layers is not None)
    same, _ = compress(large, None, bits=None)
    assert torch.equal(same(WINDOWS), large(WINDOWS))


@pytest.mark.parametrize("layers", LAYERS)
def test_whole_numbers_change_little_and_take_a_quarter_of_the_bytes(layers: str | None) -> None:
    large = network(layers)
    small, report = compress(large, None, calibrate=WINDOWS)
    assert relative(small, large) < 0.03
    assert report.bytes_after == weight_bytes(small)
    assert report.times_smaller > 3


def test_a_skip_that_reads_nothing_is_left_alone() -> None:
    large = network(skip_length=0)
    small, _ = compress(large, None)
    assert small.skip.weight.shape == (H, 0)
    assert relative(small, large) < 0.03


def test_the_defaults_are_as_small_as_was_promised() -> None:
    large = RimerNetwork(96, 96).eval()
    _, report = compress(large, calibrate=walk(8, 96, 1).float())
    assert report.times_smaller > 3.4


def test_the_report_says_how_far_forecasts_moved_whatever_their_unit() -> None:
    large = network()
    small, report = compress(large, calibrate=WINDOWS)
    assert report.largest_change is not None
    moved = (small(WINDOWS) - large(WINDOWS)).abs() / WINDOWS.std(1, correction=0)[:, :, None, None]
    assert report.largest_change == pytest.approx(moved.max().item(), rel=0.01)
    _, other = compress(large, calibrate=1e4 * WINDOWS)
    assert other.largest_change == pytest.approx(report.largest_change, rel=0.01)
    _, constant = compress(large, calibrate=torch.full((2, L, 1), 7.0))
    assert constant.largest_change == 0
    with pytest.raises(ValueError, match="a component without a value in window 3"):
        compress(large, calibrate=WINDOWS.index_fill(0, torch.tensor([3]), float("nan")))


def test_the_given_network_stays_as_it_is() -> None:
    large = network()
    before = fingerprint(large)
    compress(large, calibrate=WINDOWS)
    assert fingerprint(large) == before
    assert not is_compressed(large)


def test_a_rank_is_spent_where_the_inputs_lie() -> None:
    """Inputs of the layers are of rank 2 here: that rank loses nothing on them."""
    large = network("rwkv7(channel_mix=off)")
    with torch.no_grad():
        assert large.reader is not None
        large.reader.embed_target.bias.zero_()
        large.reader.layers.layers[0].token_norm.bias.zero_()
        for name, x in large.named_parameters():
            if "embed_target.weight" in name:
                x[:] = normal(32, 1).float() @ normal(1, x.shape[1], seed=1).float()
            if "token_norm.weight" in name:
                x.fill_(1.0)
            if name.endswith("token_mixer.mix"):
                x.fill_(0.5)
    small, _ = compress(large, 2 / 32, bits=None, calibrate=WINDOWS)
    own = large.reader.layers.layers[0].token_mixer
    theirs = small.reader.layers.layers[0].token_mixer  # type: ignore[union-attr]
    for name in ("receptance", "key", "value"):
        lost = getattr(theirs, name).weight - getattr(own, name).weight
        assert lost.norm() > 0.5 * getattr(own, name).weight.norm()  # of all other inputs
    assert relative(small, large, walk(10, L, 1, seed=9).float()) < 0.02


def test_calibration_by_other_inputs_is_worse() -> None:
    large = network()
    right, _ = compress(large, 0.2, bits=None, calibrate=WINDOWS)
    constant = torch.arange(40.0)[:, None, None] + torch.sin(torch.arange(L) * 3.0)[None, :, None]
    wrong, _ = compress(large, 0.2, bits=None, calibrate=constant)
    assert relative(right, large) < 0.9 * relative(wrong, large)


def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    small, _ = compress(network(), calibrate=WINDOWS)
    save_weights(small, tmp_path / "small.safetensors")
    loaded = load_network(tmp_path / "small.safetensors")
    assert torch.equal(loaded(WINDOWS), small(WINDOWS))
    assert weight_bytes(loaded) == weight_bytes(small)
    for copied in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert torch.equal(copied(WINDOWS), small(WINDOWS))


def test_a_network_follows_the_weights_that_it_is_given() -> None:
    large = network()
    small, _ = compress(large, calibrate=WINDOWS)
    other = network()
    other.load_state_dict(small.state_dict())
    assert torch.equal(other(WINDOWS), small(WINDOWS))
    other.load_state_dict(large.state_dict())
    assert torch.equal(other(WINDOWS), large(WINDOWS))
    assert not is_compressed(other)


def test_a_whole_number_that_changes_is_another_network() -> None:
    small, _ = compress(network(), None)
    before = fingerprint(small)
    assert small.reader is not None
    numbers: Tensor = small.reader.head.matrix.whole  # type: ignore[assignment,union-attr]
    numbers[0, 0] += 1
    assert fingerprint(small) != before


def test_low_rank_is_trained_on_and_then_rounded() -> None:
    large = network()
    middle, _ = compress(large, 0.1, bits=None, calibrate=WINDOWS)
    target = large(WINDOWS).detach()
    first = relative(middle, large)
    optimiser = torch.optim.Adam(middle.parameters(), 1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        (middle(WINDOWS) - target).square().mean().backward()
        optimiser.step()
    trained = relative(middle, large)
    assert trained < 0.9 * first
    small, report = compress(middle, None)
    assert report.n_low_rank == sum(
        isinstance(x, CompressedMatrix) and x.rank is not None for x in middle.modules()
    )
    assert relative(small, large) < first


def test_quantiles_of_a_compressed_network_are_widened() -> None:
    small, _ = compress(network(), None)
    before = small(WINDOWS)
    small.widen_quantiles(2.0)
    after = small(WINDOWS)
    wide, narrow = (x[..., 2] - x[..., 0] for x in (after, before))
    torch.testing.assert_close(wide.mean(), 2 * narrow.mean(), rtol=0.05, atol=0)


def test_a_compressed_network_gives_its_weights_to_another() -> None:
    small, _ = compress(network(), calibrate=WINDOWS)
    arguments = arguments_like(small.config, L)
    own = RimerNetwork(L, H, outputs=QUANTILES, **arguments).eval()
    take_over(own, small)
    torch.testing.assert_close(own(WINDOWS), small(WINDOWS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [None, 0.25])
def test_a_device_takes_a_compressed_network_as_it_is(rank: float | None, tmp_path: Path) -> None:
    large = network() if rank else zero_shot_network()
    small, report = compress(large, rank, calibrate=WINDOWS)
    path = tmp_path / "edge.safetensors"
    export(small, path)
    stored = NetworkFile.read(path).arrays
    whole = [x for name, x in stored.items() if name.endswith(("matrix.whole", "matrix.left"))]
    assert len(whole) == report.n_whole_numbers
    assert all(x.dtype == np.int8 for x in whole)
    if not rank:
        assert path.stat().st_size < 0.7e6
    edge, values = EdgeForecaster(path), walk(1, 150, 1)[0].numpy()
    expected = small.forecast(small.observe(torch.tensor(values).float()[None]))[0]
    actual = edge.forecast(edge.observe(values))
    np.testing.assert_allclose(
        actual, expected.detach().numpy(), rtol=1e-4, atol=1e-4 * values.std()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "rank=0 must be above 0 and at most 1"),
        ({"rank": 1.5}, r"rank=1\.5 must be above 0"),
        ({"rank": "half"}, "rank='half' must be above 0"),
        ({"rank": None, "bits": 4}, "bits=4 must be 8, or None"),
        ({"rank": 0.5}, r"rank=0\.5 needs calibrate="),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compress(network(), **arguments)
