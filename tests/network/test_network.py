"""The network: scaling, skips, patches, masks and covariates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk
from rounding import assert_same_but_for_rounding
from torch import Tensor
from torch.nn import functional as F

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.scale import window_scale

L, H, C = 40, 12, 3


def network(*, random: bool = True, input_chunk_length: int = L, **arguments: Any) -> RimerNetwork:
    """A network in float64, in evaluation mode; by default with every parameter random."""
    generator = torch.Generator().manual_seed(0)
    net = RimerNetwork(input_chunk_length, H, generator=generator, **arguments).double()
    return (randomised(net) if random else net).eval()


def windows(B: int = 4, seed: int = 2) -> Tensor:
    return walk(B, L, C, seed=seed)


def covariates(steps: int, n: int, B: int = 4, seed: int = 3) -> Tensor:
    return normal(B, steps, n, seed=seed)


ALL_COVARIATES = {"past_covariates": 2, "future_covariates": 1, "static_covariates": 2}


def given() -> dict[str, Tensor]:
    return {
        "past_covariates": covariates(L, 2),
        "future_covariates": covariates(L + H, 1, seed=4),
        "static_covariates": covariates(C, 2, seed=5),
    }


@pytest.mark.parametrize("outputs", [["location"], ["location", "scale"], [0.1, 0.3, 0.5]])
@pytest.mark.parametrize("layers", [None, "rwkv7", "rwkv7*2"])
def test_output_is_horizon_by_component_by_parameter(
    layers: str | None, outputs: list[Any]
) -> None:
    forecast = network(layers=layers, outputs=outputs)(windows())
    assert forecast.shape == (4, H, C, len(outputs))
    assert forecast.isfinite().all()


def test_an_untrained_network_is_its_linear_skip() -> None:
    net = network(random=False)
    with torch.no_grad():
        net.skip.weight.normal_()
    x = windows()
    location, scale = x.mean(1, keepdim=True), x.std(1, correction=0, keepdim=True)
    expected = location + scale * (net.skip.weight @ ((x - location) / scale))
    torch.testing.assert_close(net(x)[..., 0], expected)


def test_a_fresh_network_forecasts_the_mean_of_the_window() -> None:
    x = windows()
    expected = x.mean(1, keepdim=True).expand(-1, H, -1)
    torch.testing.assert_close(network(random=False)(x)[..., 0], expected)


def test_a_fresh_network_forecasts_the_normal_distribution_of_the_window() -> None:
    x = windows()
    mean, std = x.mean(1)[:, None], x.std(1, correction=0)[:, None]
    quantiles = network(random=False, outputs=[0.1, 0.5, 0.9])(x)
    for i, z in enumerate((-1.2815515, 0.0, 1.2815515)):
        torch.testing.assert_close(
            quantiles[..., i].float(), (mean + z * std).expand(-1, H, -1).float()
        )
    location, scale = network(random=False, outputs=["location", "scale"])(x).unbind(-1)
    torch.testing.assert_close(location, mean.expand(-1, H, -1))
    torch.testing.assert_close(F.softplus(scale).float(), std.expand(-1, H, -1).float())


def test_no_layers_means_no_parameters_but_the_skip_and_its_offset() -> None:
    names = {name for name, _ in network(layers=None).named_parameters()}
    assert names == {"skip.weight", "skip.offset"}


@pytest.mark.parametrize(("L", "reach"), [(2047, 2047), (2048, 2048), (2100, 2048)])
def test_the_skip_of_a_long_window_reads_its_last_2048_steps(L: int, reach: int) -> None:
    net = RimerNetwork(L, 2, layers=None)
    assert net.skip.weight.shape == (2, reach)
    with torch.no_grad():
        net.skip.weight.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.randn(1, L, 1, generator=torch.Generator().manual_seed(1))
    scaled = ((x - x.mean()) / x.std(correction=0))[0, L - reach :, 0]
    expected = x.mean() + x.std(correction=0) * (net.skip.weight @ scaled)
    torch.testing.assert_close(net(x)[0, :, 0, 0], expected, rtol=1e-3, atol=1e-3)
    assert net.config.lengths == (L, L)  # whole windows, as before


def test_the_layers_add_to_the_skip() -> None:
    net, x = network(), windows()
    with_layers = net(x)
    assert net.reader is not None
    with torch.no_grad():
        net.reader.head.weight.zero_()
    assert (net(x) - with_layers).abs().amax((0, 1, 3)).min() > 0.01


@pytest.mark.parametrize(("factor", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, 1e5), (3.0, -7.0)])
def test_forecasts_follow_the_units_of_the_series(factor: float, shift: float) -> None:
    net, x = network(), windows()
    expected = net(x) * factor + shift
    torch.testing.assert_close(net(factor * x + shift), expected, rtol=1e-6, atol=1e-6 * factor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_window_is_forecast_by_its_value(dtype: torch.dtype) -> None:
    """To the bit, also where some of it is missing."""
    net = network(outputs=[0.1, 0.5, 0.9]).to(dtype)
    for value in (0.0, 5.0, 0.1, -3.7, 1e9, -1e-9, 1e-30):
        x = torch.full((1, L, C), value, dtype=dtype)
        for past in (x, x.where(torch.arange(L)[:, None] % 3 > 0, torch.nan)):
            forecast = net(past)
            assert torch.equal(forecast, torch.full_like(forecast, x[0, 0, 0]))


def test_components_do_not_see_each_other() -> None:
    net, x = network(), windows()
    changed = x.clone()
    changed[..., 1] *= -2
    before, after = net(x), net(changed)
    assert torch.equal(before[:, :, [0, 2]], after[:, :, [0, 2]])
    assert (before[:, :, 1] - after[:, :, 1]).abs().min() > 0


def test_quantiles_never_cross() -> None:
    net = network(outputs=[0.1 * i for i in range(1, 10)])
    forecast = net(windows())
    assert (forecast.diff(dim=-1) >= 0).all()
    assert forecast.diff(dim=-1).max() > 0


def test_scale_comes_out_in_the_units_of_the_series() -> None:
    net, x = network(outputs=["location", "scale"]), windows()
    scale = F.softplus(net(x)[..., 1])
    assert (scale > 0).all()
    torch.testing.assert_close(F.softplus(net(1000 * x + 5)[..., 1]), 1000 * scale)


def test_the_skip_moves_locations_only() -> None:
    net, x = network(outputs=["location", "scale"]), windows()
    before = net(x)
    with torch.no_grad():
        net.skip.weight *= 2
    after = net(x)
    assert torch.equal(before[..., 1], after[..., 1])
    assert not torch.allclose(before[..., 0], after[..., 0])


def test_hidden_values_are_not_read() -> None:
    net, x = network(**ALL_COVARIATES), windows()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) > 0.3
    expected = net(x, **given(), mask=mask)
    for garbage in (float("nan"), float("inf"), 1e30):
        assert torch.equal(net(x.where(mask, garbage), **given(), mask=mask), expected)


def test_a_mask_that_hides_nothing_changes_nothing() -> None:
    net, x = network(**ALL_COVARIATES), windows()
    masked = net(x, **given(), mask=torch.ones_like(x, dtype=torch.bool))
    torch.testing.assert_close(masked, net(x, **given()))


def test_nan_is_a_missing_value() -> None:
    net, x = network(**ALL_COVARIATES), windows()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) > 0.3
    forecast = net(x.where(mask, float("nan")), **given())
    assert torch.equal(forecast, net(x, **given(), mask=mask))
    forecast.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize("padding", [1, 7, 8, 16, 19])
def test_left_padding_is_what_a_shorter_network_reads(padding: int) -> None:
    """It leaves scale, skips, lag filter and state alone, covariates or none."""
    net = network(patch_length=8, **ALL_COVARIATES)
    with torch.no_grad():  # lags that are longer than the shorter network's
        net.skip.lag_filter.weight[..., :padding] = 0
    shorter = network(patch_length=8, input_chunk_length=L - padding, **ALL_COVARIATES)
    weights = dict(net.state_dict())
    weights["skip.weight"] = net.skip.weight[:, padding:].detach()
    weights["skip.lag_filter.weight"] = net.skip.lag_filter.weight[..., padding:].detach()
    shorter.load_state_dict(weights)
    x, known = windows(), given()
    expected = {
        **known,
        **{name: known[name][:, padding:] for name in known if "static" not in name},
    }
    x[:, :padding] = float("nan")
    for name in ("past_covariates", "future_covariates"):
        known[name][:, :padding] = float("nan")
    torch.testing.assert_close(net(x, **known), shorter(x[:, padding:], **expected))


def test_a_missing_value_is_not_a_value_at_the_mean() -> None:
    net, x = network(), windows()
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 20] = False
    location, _ = window_scale(x, mask)
    filled = x.where(mask, location)  # same mean, nearly the same scale
    assert (net(x, mask=mask) - net(filled)).abs().max() > 0.01


@pytest.mark.parametrize("name", ALL_COVARIATES)
def test_every_kind_of_covariate_changes_the_forecast(name: str) -> None:
    net, x = network(**ALL_COVARIATES), windows()
    changed = given()
    changed[name][:, -1] += 1
    assert (net(x, **changed) - net(x, **given())).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["past_covariates", "future_covariates"])
def test_a_missing_covariate_is_taken_at_its_last_value(name: str) -> None:
    net, x, known = network(**ALL_COVARIATES), windows(), given()
    known[name][:, 5:9] = known[name][:, 4:5]
    known[name][:, -2:] = known[name][:, -3:-2]
    gaps = {**known, name: known[name].clone()}
    gaps[name][:, 5:9] = gaps[name][:, -2:] = float("nan")
    torch.testing.assert_close(net(x, **gaps), net(x, **known))


def test_a_covariate_before_its_first_value_contributes_nothing() -> None:
    x, known = windows(), given()
    known["past_covariates"][:] = known["future_covariates"][:] = float("nan")
    forecast = network(**ALL_COVARIATES)(x, **known)
    net = network(**ALL_COVARIATES)
    with torch.no_grad():
        net.skip.lag_filter.weight.zero_()
        net.reader.embed_covariates.weight.zero_()
    torch.testing.assert_close(forecast, net(x, **given()))


@pytest.mark.parametrize("part", ["lag_filter", "reader"])
def test_a_gap_in_the_target_hides_no_covariate_but_padding_does(part: str) -> None:
    net, x = network(past_covariates=1, patch_length=8), windows()
    with torch.no_grad():  # leave one way from covariates to forecast
        (net.skip.lag_filter if part == "reader" else net.reader.head).weight.zero_()  # type: ignore[union-attr]
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, :8] = mask[:, 16:24] = False
    for first, seen in ((0, False), (16, True)):
        changed = covariates(L, 1)
        changed[:, first : first + 8] += torch.arange(8.0)[:, None]
        before = net(x, past_covariates=covariates(L, 1), mask=mask)
        after = net(x, past_covariates=changed, mask=mask)
        assert torch.equal(before, after) is not seen


def test_static_covariates_may_be_shared_by_all_components() -> None:
    net, x = network(static_covariates=2), windows()
    shared = covariates(1, 2)
    torch.testing.assert_close(
        net(x, static_covariates=shared), net(x, static_covariates=shared.expand(-1, C, -1))
    )


@pytest.mark.parametrize("name", ALL_COVARIATES)
def test_a_wrong_number_of_covariates_is_named(name: str) -> None:
    with pytest.raises(
        ValueError, match=f"{name} has 0 components, but the network was built for 2"
    ):
        network(**{name: 2})(windows())
    with pytest.raises(
        ValueError, match=f"{name} has 3 components, but the network was built for 0"
    ):
        network()(windows(), **{name: covariates(L, 3)})


def test_a_wrong_number_of_steps_is_named() -> None:
    with pytest.raises(ValueError, match="past_target has 39 steps, but the network reads 40"):
        network()(windows()[:, 1:])
    with pytest.raises(ValueError, match="past_covariates has 41 steps, but the network reads 40"):
        network(past_covariates=1)(windows(), past_covariates=covariates(L + 1, 1))
    with pytest.raises(ValueError, match=r"future_covariates has 53 steps.* reads 40 to 52"):
        network(future_covariates=1)(windows(), future_covariates=covariates(L + H + 1, 1))


def test_the_generator_decides_all_weights_and_the_process_is_left_alone() -> None:
    process = torch.get_rng_state()
    nets = [
        RimerNetwork(L, H, generator=torch.Generator().manual_seed(7), **ALL_COVARIATES)
        for _ in range(2)
    ]
    assert torch.equal(torch.get_rng_state(), process)
    for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert p.isfinite().all()
        assert torch.equal(p, q)
    other = RimerNetwork(L, H, generator=torch.Generator().manual_seed(8), **ALL_COVARIATES)
    assert not torch.equal(other.reader.embed_target.weight, nets[0].reader.embed_target.weight)  # type: ignore[union-attr]


def test_without_a_generator_the_seed_of_the_process_decides() -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(RimerNetwork(L, H))
    assert all(torch.equal(p, q) for p, q in zip(*(n.parameters() for n in nets), strict=True))


def test_dropout_draws_from_the_generator_it_is_given() -> None:
    net, x = network(dropout=0.5).train(), windows()
    process = torch.get_rng_state()
    forecasts = []
    for _ in range(2):
        net.draw_from(torch.Generator().manual_seed(0))
        forecasts.append(net(x))
    assert torch.equal(*forecasts)
    assert torch.equal(torch.get_rng_state(), process)
    assert not torch.allclose(net.eval()(x), forecasts[0])


GRAPHS = [
    "rwkv7*2",
    "rwkv7(sse=on, retrospect=2)",
    "perspectives(rwkv7; lags=1+3)",
    "parallel(rwkv4, taylor(feature=2))",
    "attention(topk=1, chunk=2)",
]


@pytest.mark.parametrize("layers", GRAPHS)
def test_compiles_into_one_graph_forward_and_backward(layers: str) -> None:
    network = RimerNetwork(24, 6, layers=layers, generator=torch.Generator().manual_seed(0))
    target = torch.randn(3, 24, 2, generator=torch.Generator().manual_seed(1))
    network.eval()
    expected = network(target)
    gradients = torch.autograd.grad(expected.sum(), list(network.parameters()), allow_unused=True)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    forecast = compiled(target)
    torch.testing.assert_close(forecast, expected)
    same = torch.autograd.grad(forecast.sum(), list(network.parameters()), allow_unused=True)
    for actual, gradient in zip(same, gradients, strict=True):
        torch.testing.assert_close(actual, gradient)


@pytest.mark.parametrize("layers", GRAPHS)
def test_exports_a_graph_of_plain_operations(layers: str) -> None:
    network = RimerNetwork(24, 6, layers=layers, generator=torch.Generator().manual_seed(0))
    network.eval()
    target = torch.randn(3, 24, 2, generator=torch.Generator().manual_seed(1))
    program = torch.export.export(network, (target,))
    assert_same_but_for_rounding(program.module()(target).detach(), network(target).detach())
    operations = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith(("aten.", "<built-in")) for name in operations), operations
    assert not any("triangular" in name for name in operations), "ONNX has no such operation"


def test_levels_of_covariates_do_not_matter() -> None:
    net = network(layers=None, past_covariates=2, future_covariates=1)
    past, future = covariates(L, 2), covariates(L + H, 1, seed=4)
    expected = net(windows(), past, future)
    torch.testing.assert_close(net(windows(), past + 5, future + 1e3), expected)


def test_beyond_the_horizon_medians_are_fed_back() -> None:
    net, past = network(outputs=(0.1, 0.5, 0.9), input_chunk_length=8), windows()[:, :8]
    far = net.forecast_windows(past, 30)
    first = net(past)
    second = net(torch.cat((past, first[..., 1]), 1)[:, -8:])
    third = net(torch.cat((past, first[..., 1], second[..., 1]), 1)[:, -8:])
    expected = torch.cat((first, second, third), 1)[:, :30]
    torch.testing.assert_close(far, expected)


def causes(steps: int, rows: int = 1) -> tuple[RimerNetwork, Tensor, Tensor]:
    """A network with random weights that reads a covariate, pasts and covariates for them."""
    options = {"width": 8, "head_size": 4, "outputs": (0.1, 0.5, 0.9), "future_covariates": 1}
    net = randomised(RimerNetwork(8, 3, **options).double()).eval()
    return net, normal(rows, 8, 1, seed=2), normal(rows, 8 + steps, 1, seed=3)


def test_beyond_the_horizon_covariates_of_the_steps_are_read() -> None:
    net, past, X = causes(7)
    window, parts = past, []
    for start in (0, 3, 6):
        parts.append(net(window, future_covariates=X[:, start : start + 8 + 3]))
        window = torch.cat((window, parts[-1][..., 1]), 1)[:, -8:]
    torch.testing.assert_close(net.forecast_windows(past, 7, X), torch.cat(parts, 1)[:, :7])


def test_many_windows_are_read_in_parts_with_their_own_covariates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, past, X = causes(5, rows=3)
    expected = net.forecast_windows(past, 5, X)
    monkeypatch.setattr("rimer_forecaster.network.network._MOST_VALUES", 1)
    torch.testing.assert_close(net.forecast_windows(past, 5, X), expected)
