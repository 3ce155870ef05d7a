"""A device forecasts what the network does, by NumPy alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import darts_cases
import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_cases import randomised
from numpy.typing import NDArray

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.edge import EdgeForecaster
from rimer_forecaster.edge.export import export
from rimer_forecaster.layers import leaves
from rimer_forecaster.network.state import load_state, save_state
from rimer_forecaster.zero_shot import zero_shot_network

L, H, P = 20, 6, 5
QUANTILES = (0.1, 0.5, 0.9)
Pair = tuple[RimerNetwork, EdgeForecaster]
Values = NDArray[np.float32]


def network(layers: str | None = "rwkv7*2", **arguments: Any) -> RimerNetwork:
    """A small network in single precision with every parameter random."""
    options = {"width": 8, "head_size": 4, "patch_length": P, **arguments}
    return randomised(RimerNetwork(L, H, layers=layers, **options)).eval()


def paired(net: RimerNetwork, folder: Path) -> Pair:
    path = folder / "edge.safetensors"
    export(net, path)
    return net, EdgeForecaster(path)


def trained_network() -> RimerNetwork:
    values = np.sin(np.arange(200) / 4) + 0.1 * np.random.default_rng(0).normal(size=200)
    series = TimeSeries.from_values(values.astype(np.float32))
    options = {**darts_cases.TINY, "input_chunk_length": 24, "output_chunk_length": H}
    options |= {"n_epochs": 3, "streaming": True, "layers": "rwkv7*2"}
    model = RimerModel(**options, likelihood=QuantileRegression(list(QUANTILES)))
    return model.fit(series).network.eval()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return paired(network(outputs=QUANTILES), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def zero(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return paired(zero_shot_network(), tmp_path_factory.mktemp("zero"))


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return paired(trained_network(), tmp_path_factory.mktemp("streaming"))


def walk(n: int, components: int, seed: int, missing: float = 0.0) -> Values:
    """Random walks of which the last value is observed, (n, C)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, components)).cumsum(0).astype(np.float32)
    values[:-1][rng.random((n - 1, components)) < missing] = np.nan
    return values


@torch.no_grad()
def forecast_of(net: RimerNetwork, values: Values, steps: int) -> Values:
    state = net.observe(torch.from_numpy(values)[None])
    forecast: Values = net.forecast(state, steps)[0].numpy()
    return forecast


def assert_same_forecast(actual: Values, expected: Values, values: Values) -> None:
    """To 1e-4 of how much the values and the forecast vary."""
    assert actual.shape == expected.shape
    unit = np.nanstd(values) + np.abs(expected - np.nanmean(values)).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-4 * unit)


VARIANTS: list[dict[str, Any]] = [
    {"layers": None},
    {"layers": None, "outputs": QUANTILES},
    {"layers": "rwkv7(sse=on), rwkv7(icl_rate_max=1.5)"},
    {"layers": "rwkv7(time_mix=off), rwkv7"},
    {"layers": "rwkv7(heads=3), rwkv7*2, rwkv7(heads=3, key_size=4, sse=on)"},
    {"layers": "rwkv7(channel_mix=linear), rwkv7(channel_mix=off)"},
    {"initial_state": "learned"},
    {"squash": True, "outputs": QUANTILES},
    {"read_gaps": True, "outputs": (0.2, 0.3)},
    {"skip_length": 0},
    {"skip_length": 7, "squash": True, "read_gaps": True, "outputs": QUANTILES},
    {"least_scale": 5.0},
    {"patch_length": L, "head_size": 8},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("n", [1, 23, 50])
def test_every_network_that_can_be_exported_forecasts_alike(
    variant: dict[str, Any], n: int, tmp_path: Path
) -> None:
    net, edge = paired(network(**variant), tmp_path)
    values = walk(n, 2, seed=n, missing=0.3)
    values[7 : n - 4, 1] = np.nan  # whole patches of one component, where there are enough steps
    state = edge.observe(values)
    for steps in (1, H, 3 * H - 1):
        assert_same_forecast(edge.forecast(state, steps), forecast_of(net, values, steps), values)
    for name, leaf in leaves(net.observe(torch.from_numpy(values)[None])):
        np.testing.assert_allclose(state[name], leaf.detach().numpy(), rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("fixture", ["zero", "streaming"])
def test_cut_anywhere_with_nan_anywhere_at_any_scale_is_what_torch_forecasts(
    fixture: str, data: st.DataObject, request: pytest.FixtureRequest
) -> None:
    net, edge = request.getfixturevalue(fixture)
    n = data.draw(st.integers(1, 90))
    cuts = sorted(data.draw(st.sets(st.integers(0, n), max_size=4)) | {0, n})
    missing = data.draw(st.sampled_from([0.0, 0.1, 0.8]))
    values = walk(n, data.draw(st.integers(1, 2)), data.draw(st.integers(0, 99)), missing)
    values[: n - 1][slice(*sorted(data.draw(st.tuples(*2 * [st.integers(0, n)]))))] = np.nan
    values *= np.float32(10 ** data.draw(st.floats(-6, 6)))
    steps = data.draw(st.sampled_from([1, net.config.output_chunk_length, 150]))
    silent = np.isnan(values[-net.config.input_chunk_length :]).all(0)
    assert not silent.any()
    state = edge.init_state(values.shape[1])
    for start, end in itertools.pairwise(cuts):
        state = edge.update(state, values[start:end])
    actual = edge.forecast(state, steps)
    assert_same_forecast(actual, forecast_of(net, values, steps), values)
    whole = edge.observe(values)
    for name, x in state.items():
        np.testing.assert_allclose(x, whole[name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("level", [0.0, 7.25, -1e6])
def test_a_constant_series_is_forecast_as_its_value(zero: Pair, level: float) -> None:
    _, edge = zero
    forecast = edge.forecast(edge.observe(np.full(40, level)), 70)
    np.testing.assert_array_equal(forecast, np.float32(level))


def test_one_component_does_not_change_another(zero: Pair) -> None:
    _, edge = zero
    values = walk(70, 3, seed=4, missing=0.6)
    forecast = edge.forecast(edge.observe(values))
    for c in range(3):
        alone = edge.forecast(edge.observe(values[:, c]))
        np.testing.assert_allclose(forecast[:, c], alone[:, 0], rtol=1e-4, atol=1e-4)


def test_a_state_stays_as_it_is(small: Pair) -> None:
    _, edge = small
    state = edge.observe(walk(33, 2, seed=1))
    before = {name: x.copy() for name, x in state.items()}
    edge.update(state, walk(40, 2, seed=2))
    edge.forecast(state, 3 * H)
    assert state.keys() == before.keys()
    for name, x in before.items():
        np.testing.assert_array_equal(state[name], x)


def test_the_size_of_a_state_does_not_depend_on_the_history(small: Pair) -> None:
    _, edge = small

    def size(n: int) -> int:
        state = edge.observe(walk(n, 1, seed=0))
        return sum(x.nbytes if x.base is None else x.base.nbytes for x in state.values())

    assert size(1) == size(500)


def test_a_stream_moves_between_torch_and_the_device(small: Pair, tmp_path: Path) -> None:
    net, edge = small
    history, new = walk(37, 2, seed=3, missing=0.2), walk(9, 2, seed=4)
    path = tmp_path / "state.safetensors"
    with torch.no_grad():
        save_state(net.observe(torch.from_numpy(history)[None]), path, network=net)
        state = edge.update(edge.load(path), new)
        edge.save(state, path)
        back = net.forecast(load_state(path, net), 2 * H)[0].numpy()
    whole = forecast_of(net, np.concatenate((history, new)), 2 * H)
    assert_same_forecast(edge.forecast(state, 2 * H), whole, history)
    assert_same_forecast(back, whole, history)


def test_what_was_saved_is_loaded_to_the_bit(small: Pair, tmp_path: Path) -> None:
    _, edge = small
    state = edge.observe(walk(31, 2, seed=6, missing=0.4))
    edge.save(state, tmp_path / "state")
    loaded = edge.load(tmp_path / "state")
    assert loaded.keys() == state.keys()
    for name, x in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (x.dtype, x.shape)
        np.testing.assert_array_equal(loaded[name], x)


@pytest.mark.parametrize("what", ["network", "state"])
def test_every_bit_of_a_file_counts(small: Pair, tmp_path: Path, what: str) -> None:
    net, edge = small
    path = tmp_path / "x.safetensors"
    if what == "network":
        export(net, path)
    else:
        edge.save(edge.observe([1.0, 2.0]), path)
    read: Callable[[Path], object] = EdgeForecaster if what == "network" else edge.load
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 60, dtype=int):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"damaged|weights are others"):
            read(path)


def test_files_of_others_are_refused(small: Pair, zero: Pair, tmp_path: Path) -> None:
    (net, edge), (_, other) = small, zero
    path = tmp_path / "x.safetensors"
    edge.save(edge.observe([1.0, 2.0]), path)
    with pytest.raises(ValueError, match="was not saved with this network"):
        other.load(path)
    with pytest.raises(ValueError, match="it is no network that export_edge wrote"):
        EdgeForecaster(path)
    with torch.no_grad():
        save_state(net.observe(torch.zeros(3, 4, 1)), path, network=net)
    with pytest.raises(ValueError, match="holds 3 streams"):
        edge.load(path)
    with pytest.raises(FileNotFoundError):
        EdgeForecaster(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.inf], "values hold inf in step 1, component 0"),
        ([[1.0, 2.0], [1.0, -3e19]], re.escape("values hold -3e+19 in step 1, component 1")),
        ([], r"values have shape \(0,\)"),
        (3.0, r"values have shape \(\)"),
        (np.zeros((2, 3, 1)), r"values have shape \(2, 3, 1\)"),
        (["a"], "values are of dtype <U1"),
        ([None, 1.0], "values are of dtype object"),
    ],
    ids=str,
)
def test_values_that_cannot_be_read_are_named(small: Pair, values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small[1].observe(values)


def test_a_state_of_others_is_refused(small: Pair, zero: Pair) -> None:
    edge, other = small[1], zero[1]
    state = edge.observe(walk(8, 2, seed=0))
    with pytest.raises(ValueError, match="it is the state of another network"):
        other.update(state, [[1.0, 2.0]])
    with pytest.raises(ValueError, match="or of other components"):
        edge.update(state, [1.0])
    with pytest.raises(ValueError, match="the state lacks 'reader/last'"):
        edge.forecast({name: x for name, x in state.items() if name != "reader/last"})


@pytest.mark.parametrize("steps", [0, 1.5, True])
def test_steps_that_are_none_are_named(small: Pair, steps: Any) -> None:
    with pytest.raises(ValueError, match=f"steps={steps} must be a whole number"):
        small[1].forecast(small[1].observe([1.0]), steps)


def test_a_silent_component_is_named_until_it_speaks(small: Pair) -> None:
    _, edge = small
    state = edge.observe(np.ones((5, 2)))
    silent = np.stack((np.ones(L), np.full(L, np.nan)), 1)
    state = edge.update(state, silent)
    with pytest.raises(ValueError, match="component 1 has observed nothing in the last 20 steps"):
        edge.forecast(state)
    assert np.isfinite(edge.forecast(edge.update(state, [[1.0, 4.0]]))).all()


def test_a_forecast_that_overflows_is_an_error(tmp_path: Path) -> None:
    net = network(squash=True)
    with torch.no_grad():
        net.skip.offset.fill_(200.0)
    _, edge = paired(net, tmp_path)
    with pytest.raises(ValueError, match="the forecast beyond step 0 is not finite"):
        edge.forecast(edge.observe([1.0, 2.0]))


def test_a_forecast_that_is_too_large_to_feed_back_is_an_error(tmp_path: Path) -> None:
    net = network()
    with torch.no_grad():
        net.skip.offset.fill_(1e21)
    _, edge = paired(net, tmp_path)
    state = edge.observe([1.0, 2.0])
    assert edge.forecast(state).max() > 1e20
    with pytest.raises(ValueError, match="or too large to be fed back"):
        edge.forecast(state, net.config.output_chunk_length + 1)


def test_a_state_that_is_not_finite_is_not_saved(small: Pair, tmp_path: Path) -> None:
    _, edge = small
    state = edge.observe([1.0, 2.0])
    state["reader/last"] = state["reader/last"] * np.float32("nan")
    with pytest.raises(ValueError, match="'reader/last' in the state is not finite"):
        edge.save(state, tmp_path / "state")
    assert not (tmp_path / "state").exists()
