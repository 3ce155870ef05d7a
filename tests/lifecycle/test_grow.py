"""A grown network forecasts the same, and goes on learning where the small one left off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import LAYERS, Mixer, Pass, RWKV7TimeMix, State
from rimer_forecaster.layers.protocol import ALONE
from rimer_forecaster.layers.registry import Kind
from rimer_forecaster.lifecycle import compress, grow
from rimer_forecaster.lifecycle.grow import spread
from rimer_forecaster.network import load_network, save_weights
from rimer_forecaster.network.state import fingerprint, load_state, save_state
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.moments import give_moments, moments_in, moments_of

L, H, C = 24, 6, 2
QUANTILES = (0.1, 0.5, 0.9)
ALL = {"key_dim": 3, "heads": 2, "layers": 2}
WAYS: list[dict[str, int]] = [{"key_dim": 4}, {"heads": 1}, {"layers": 2}, ALL]
GROWN = [
    "rwkv7*2",
    "rwkv7(sse=on, icl_rate_max=2)*2",
    "rwkv7(channel_mix=linear)",
    "rwkv7(retrospect=2)*2",
    "taylor(feature=4), rwkv7",
    "parallel(attention, rwkv7)*2",
    "perspectives(rwkv7; lags=1+3)",
    "rwkv7(heads=3, key_size=6), rwkv7",
]
DEEPENED = ["attention", "rwkv4*2", "gru", "equilibrium(rwkv7)", "rwkv7(time_mix=off)"]


def network(layers: str | None = "rwkv7*2", **arguments: Any) -> RimerNetwork:
    """In float64, with every parameter random."""
    options = {"width": 8, "head_size": 4, "patch_length": 4, "outputs": QUANTILES, **arguments}
    return randomised(RimerNetwork(L, H, layers=layers, dtype=torch.float64, **options)).eval()


X = walk(5, L, C)


def largest_change(small: RimerNetwork, large: RimerNetwork, **known: Tensor) -> float:
    with torch.no_grad():
        return float((small(X, **known) - large(X, **known)).abs().max())


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("layers", GROWN)
def test_a_grown_network_forecasts_the_same(layers: str, way: dict[str, int]) -> None:
    small = network(layers)
    large = grow(small, **way)
    assert largest_change(small, large) < 1e-12
    counts = [sum(x.numel() for x in net.parameters()) for net in (small, large)]
    assert counts[1] > counts[0]
    assert fingerprint(large) != fingerprint(small)


@pytest.mark.parametrize("layers", DEEPENED)
def test_every_stack_gets_deeper(layers: str) -> None:
    small = network(layers)
    large = grow(small, layers=2)
    assert largest_change(small, large) == 0
    assert large.reader is not None
    assert small.reader is not None
    assert len(large.reader.layers.layers) == len(small.reader.layers.layers) + 2


def test_the_layer_string_says_the_new_sizes() -> None:
    assert grow(network(), **ALL).config.layers == "rwkv7(heads=4, key_size=7)*4"
    assert grow(network("equilibrium(rwkv7)"), **ALL).config.layers == (
        "equilibrium(rwkv7(heads=4, key_size=7))*3"
    )
    mixed = grow(network("attention(window=2), rwkv7(sse=on)"), heads=1)
    assert mixed.config.layers == "attention(window=2), rwkv7(sse=on, heads=3)"


class Louder(Mixer):
    """A layer that changes its tokens before it has learned anything."""

    def init_state(self, batch_size: int) -> State:
        return {}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        return 2 * x, state

    def reset_parameters(self, generator: torch.Generator | None = None) -> None: ...


def test_behind_a_layer_that_does_not_begin_by_adding_nothing_is_rwkv7(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LAYERS, "louder", Kind(lambda site: Louder(), ()))
    small = network("rwkv7, louder")
    large = grow(small, layers=1)
    assert large.config.layers == "rwkv7, louder, rwkv7"
    assert largest_change(small, large) == 0


def test_learned_starts_covariates_and_other_components_are_carried() -> None:
    arguments: dict[str, Any] = {
        "initial_state": "static",
        "past_covariates": 1,
        "future_covariates": 2,
        "static_covariates": 1,
        "components": "cross",
        "target_components": ("a", "b"),
    }
    small = network("rwkv7(sse=on)*2", **arguments)
    known = {
        "past_covariates": normal(5, L, 1),
        "future_covariates": normal(5, L + H, 2, seed=1),
        "static_covariates": normal(5, C, 1, seed=2),
    }
    assert largest_change(small, grow(small, **ALL), **known) < 1e-12
    assert largest_change(small, network("rwkv7(sse=on)*2", **arguments), **known) == 0


def test_streams_of_a_grown_network_forecast_the_same_and_are_its_own(tmp_path: Path) -> None:
    small = network(initial_state="learned")
    large = grow(small, **ALL)
    history, forecasts = walk(2, 40, 1, seed=7), []
    for net in (small, large):
        state = net.update(net.observe(history[:, :30]), history[:, 30:])
        forecasts.append(net.forecast(state, 15))
        save_state(state, tmp_path / f"{net.config.layers[5]}.safetensors", network=net)  # type: ignore[index]
    assert float((forecasts[0] - forecasts[1]).detach().abs().max()) < 1e-12
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    refused = 0
    for file in files:
        try:
            load_state(file, large)
        except ValueError as error:
            refused += "was not saved with this network" in str(error)
    assert refused == 1


def test_a_grown_network_is_saved_and_loaded_as_any_other(tmp_path: Path) -> None:
    large = grow(network(), **ALL)
    save_weights(large, tmp_path / "large.safetensors")
    loaded = load_network(tmp_path / "large.safetensors")
    assert loaded.config == large.config
    assert torch.equal(loaded(X), large(X))


def test_the_given_network_stays_and_the_same_call_gives_the_same() -> None:
    small = network()
    before = fingerprint(small)
    both = [fingerprint(grow(small, **ALL)) for _ in range(2)]
    assert fingerprint(small) == before
    assert both[0] == both[1]
    other = grow(small, **ALL, generator=torch.Generator().manual_seed(1))
    assert fingerprint(other) != both[0]


@pytest.mark.parametrize(
    ("layers", "way", "silenced"),
    [
        ("rwkv7", {"heads": 1}, "output.weight"),
        ("rwkv7", {"key_dim": 2}, "key.weight"),
        ("rwkv7(sse=on)", {"heads": 1}, "output.weight"),
    ],
)
def test_what_is_new_is_not_heard_and_learns(
    layers: str, way: dict[str, int], silenced: str
) -> None:
    """The zeros get gradients, and without them forecasts would be others."""
    small = network(layers)
    large = grow(small, **way)
    large(X).square().sum().backward()
    assert large.reader is not None
    weight = large.reader.layers.layers[0].token_mixer.get_parameter(silenced)
    zeros = weight == 0
    assert bool(zeros.any())
    assert weight.grad is not None
    assert bool((weight.grad[zeros] != 0).any())
    with torch.no_grad():
        weight[zeros] = normal(int(zeros.sum()), seed=3)
    assert largest_change(small, large) > 1e-3


def test_gradients_of_unequal_keys_and_values_are_those_of_finite_differences() -> None:
    mix = randomised(RWKV7TimeMix(6, head_size=2, heads=2, key_size=3, second_read=True).double())
    x = normal(2, 4, 6).requires_grad_()
    inputs = (x, *mix.parameters())

    def output(x: Tensor, *_: Tensor) -> Tensor:
        return mix(x)[0]

    assert torch.autograd.gradcheck(output, inputs, atol=1e-6)
    assert mix.init_state(5)["wkv"].shape == (5, 2, 2, 3)


def test_unequal_sizes_are_cut_anywhere() -> None:
    mix = randomised(RWKV7TimeMix(6, head_size=2, heads=5, key_size=3).double())
    x = normal(2, 9, 6)
    whole, _ = mix(x, mix.init_state(2))
    first, state = mix(x[:, :4], mix.init_state(2))
    second, _ = mix(x[:, 4:], state)
    assert float((torch.cat((first, second), 1) - whole).abs().max()) < 1e-12


def step_of(net: RimerNetwork, moments: Any) -> dict[str, Tensor]:
    """Parameters after a step on fixed windows, from moments."""
    optimizer = Recipe().optimisation(net, total_steps=100)["optimizer"]
    give_moments(net, optimizer, moments)
    net(X).square().mean().backward()
    optimizer.step()
    return dict(net.named_parameters())


def trained(net: RimerNetwork, steps: int = 3) -> Any:
    """Moments after some steps; the optimiser's own state beside them."""
    optimizer = Recipe().optimisation(net, total_steps=100)["optimizer"]
    for seed in range(steps):
        optimizer.zero_grad()
        net(walk(5, L, C, seed=seed)).square().mean().backward()
        optimizer.step()
    net.zero_grad()
    return moments_of(net, optimizer), optimizer.state_dict()


@pytest.mark.parametrize("layers", ["rwkv7*2", "rwkv7(sse=on)*2"])
def test_old_entries_take_the_step_that_they_would_have_taken(layers: str) -> None:
    small = network(layers, initial_state="learned")
    moments, _ = trained(small)
    large = grow(small, **ALL)
    carried = spread(small, large, moments)
    assert set(carried) == set(moments)  # nothing of parameters that are new
    before = {name: x.detach().clone() for name, x in large.named_parameters()}
    after, expected = step_of(large, carried), step_of(small, moments)
    ones = {name: {"x": torch.ones_like(x)} for name, x in small.named_parameters()}
    places = spread(small, large, ones)
    for name, place in places.items():
        old = place["x"].bool()
        assert int(old.sum()) == expected[name].numel()
        assert float((after[name][old] - expected[name].flatten()).abs().max()) < 1e-12, name
    fresh = step_of(grow(small, **ALL), {})
    assert any(float((fresh[x] - after[x])[places[x]["x"].bool()].abs().max()) > 1e-5
               for x in places)  # fmt: skip
    assert any(bool((after[x] != before[x]).any()) for x in after if x not in places)


def test_moments_are_read_from_what_an_optimiser_saves() -> None:
    small = network(layers_rate=0.5)
    moments, saved = trained(small)
    found = moments_in(small, saved)
    assert found.keys() == moments.keys()
    assert all(torch.equal(found[n][x], moments[n][x]) for n in moments for x in moments[n])
    assert moments_in(network("rwkv7"), saved) == {}


def test_a_grown_network_is_compressed_and_a_compressed_one_does_not_grow() -> None:
    large = grow(network(), **ALL)
    small, report = compress(large, calibrate=X)
    assert report.times_smaller > 2
    with pytest.raises(ValueError, match="a compressed network does not grow"):
        grow(small, heads=1)


@pytest.mark.parametrize(
    ("layers", "way", "message"),
    [
        ("rwkv7", {}, "key_dim=0, heads=0 and layers=0 leave nothing to grow"),
        ("rwkv7", {"heads": -1}, "heads=-1 must be"),
        ("rwkv7", {"key_dim": 1.5}, r"key_dim=1\.5 must be"),
        ("rwkv7", {"layers": True}, "layers=True must be"),
        (None, {"layers": 1}, "layers=None is a network without layers"),
        ("attention, rwkv4", {"heads": 1}, "attention, rwkv4 cannot grow. Use layers= alone"),
        ("rwkv7(time_mix=off)", {"key_dim": 1}, "rwkv7 layers with a time mix"),
        ("rwkv7", {"layers": 600}, "there can be 500 at most"),
    ],
)
def test_nonsense_is_refused(layers: str | None, way: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grow(network(layers), **way)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("rwkv7(key_size=3)", "key_size=3 must be a whole number of at least 4, the head_size"),
        ("rwkv7(heads=0)", "heads=0 must be a whole number of at least 1"),
        ("rwkv7(heads=many)", "heads='many' must be"),
        ("rwkv7(time_mix=off, heads=2)", "time_mix=off leaves rwkv7 no heads"),
    ],
)
def test_sizes_that_no_layer_has_are_refused(layers: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(layers)
