"""Covariates that write what the target reads: who reads what, at what cost, and what for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk
from operation_counts import work_of
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network import NetworkConfig, load_network, save_weights
from rimer_forecaster.network.transfer import arguments_like, take_over

TINY: dict[str, Any] = {"width": 8, "head_size": 4, "patch_length": 4, "dropout": 0.0}
KNOWN = {"past_covariates": 2, "future_covariates": 1}


def network(L: int = 22, H: int = 6, **arguments: Any) -> RimerNetwork:
    arguments = {"covariates": "cross", **KNOWN, **TINY, **arguments}
    return RimerNetwork(L, H, generator=torch.Generator().manual_seed(0), **arguments)


def crossing(L: int = 22, H: int = 6, **arguments: Any) -> RimerNetwork:
    return randomised(network(L, H, **arguments)).double().eval()


def covariates(B: int, L: int = 22, H: int = 6, *, seed: int = 5) -> dict[str, Tensor]:
    past, future = normal(B, L, 2, seed=seed), normal(B, L + H, 1, seed=seed + 1)
    return {"past_covariates": past, "future_covariates": future}


def with_head(net: RimerNetwork) -> RimerNetwork:
    """The network with a head that is not zero, and all else as it starts."""
    assert net.reader is not None
    randomised(net.reader.head)
    return net


def test_at_the_start_forecasts_are_those_without_covariates_bit_for_bit() -> None:
    x = walk(3, 22, 2).float()
    x[1, 3:9, 1] = float("nan")
    given = {name: value.float() for name, value in covariates(3).items()}
    cross = with_head(network())(x, **given)
    alone = with_head(network(past_covariates=0, future_covariates=0))(x)
    assert torch.equal(cross, alone)


def test_without_covariates_the_network_is_that_of_features() -> None:
    none = {"past_covariates": 0, "future_covariates": 0}
    cross, features = network(**none), network(**none, covariates="features")
    assert cross.state_dict().keys() == features.state_dict().keys()
    x = walk(3, 22, 2).float()
    assert torch.equal(randomised(cross)(x), randomised(features)(x))


@pytest.mark.parametrize(("L", "H"), [(10, 6), (8, 3), (9, 8), (5, 9)])
def test_a_step_reads_every_covariate_up_to_it_and_none_after(L: int, H: int) -> None:
    net, x = crossing(L, H), walk(1, L, 1)
    assert net.reader is not None
    torch.nn.init.zeros_(net.skip.lag_filter.weight)  # type: ignore[union-attr]
    known = {name: value.requires_grad_() for name, value in covariates(1, L, H).items()}
    for step in range(H):
        forecast = net(x, **known)[:, step].sum()
        past, future = torch.autograd.grad(forecast, list(known.values()))
        assert (past != 0).all()
        assert (future[:, : L + step + 1] != 0).all()
        assert not future[:, L + step + 1 :].any()


def test_the_target_says_what_is_read_of_the_state() -> None:
    """What covariates add depends on the order of a window, not on its mean and scale alone."""
    net, x, first, second = crossing(), walk(1, 22, 1), covariates(1), covariates(1, seed=7)
    added, other = (net(y, **first) - net(y, **second) for y in (x, x.flip(1)))
    assert not torch.allclose(added, other)


def test_components_read_one_state_each_with_its_own_token() -> None:
    net, x, given = crossing(), walk(3, 22, 4), covariates(3)
    together = net(x, **given)
    for i in range(4):
        torch.testing.assert_close(net(x[:, :, i : i + 1], **given), together[:, :, i : i + 1])


@pytest.mark.parametrize("known", [KNOWN, {"past_covariates": 0, "future_covariates": 0}])
def test_static_covariates_write_the_state_of_their_component(known: dict[str, int]) -> None:
    net, x = crossing(static_covariates=2, **known), walk(3, 22, 4)
    given = covariates(3) if any(known.values()) else {}
    static = normal(3, 4, 2, seed=9)
    together = net(x, **given, static_covariates=static)
    for i in range(4):
        own = net(x[:, :, i : i + 1], **given, static_covariates=static[:, i : i + 1])
        torch.testing.assert_close(own, together[:, :, i : i + 1])
    changed = net(x, **given, static_covariates=static + 1)
    assert not torch.allclose(changed, together)
    shared = net(x, **given, static_covariates=static[:, :1])
    same = net(x, **given, static_covariates=static[:, :1].expand(-1, 4, -1))
    torch.testing.assert_close(shared, same)


def test_a_missing_covariate_is_taken_at_its_last_value() -> None:
    net, x, given = crossing(), walk(2, 22, 1), covariates(2)
    filled = {name: value.clone() for name, value in given.items()}
    for value in given.values():
        value[:, 10:13] = float("nan")
    for value in filled.values():
        value[:, 10:13] = value[:, 9:10]
    torch.testing.assert_close(net(x, **given), net(x, **filled))


@pytest.mark.parametrize("cut", [1, 7, 22, 32])
def test_cut_a_stream_anywhere_and_carry_the_state(cut: int) -> None:
    net, x = crossing(static_covariates=1), walk(2, 45, 3)
    known = covariates(2, 45, 6)
    past, future = known["past_covariates"], known["future_covariates"].tensor_split([45], 1)
    x[0, 30:, 1] = past[1, 20:40, 0] = float("nan")
    static = normal(2, 3, 1)
    whole = net.observe(x, past, future[0], static)
    state = net.observe(x[:, :cut], past[:, :cut], future[0][:, :cut], static)
    state = net.update(state, x[:, cut:], past[:, cut:], future[0][:, cut:])
    forecasts = [net.forecast(one, 6, future[1]) for one in (state, whole)]
    torch.testing.assert_close(*forecasts)


def test_a_stream_of_one_window_is_that_window() -> None:
    net, x, known = crossing(24), walk(2, 24, 2), covariates(2, 24)
    past, future = known["past_covariates"], known["future_covariates"]
    state = net.observe(x, past, future[:, :24])
    torch.testing.assert_close(net.forecast(state, 6, future[:, 24:]), net(x, **known))


def test_forecasts_beyond_the_horizon_read_covariates_there() -> None:
    net, x = crossing(past_covariates=0), walk(1, 22, 1)
    future = normal(1, 22 + 14, 1)
    found = net.forecast_windows(x, 14, future)
    future[:, 22 + 9] += 1
    changed = net.forecast_windows(x, 14, future)
    assert torch.equal(found[:, :9], changed[:, :9])
    assert not torch.allclose(found[:, 9:12], changed[:, 9:12])


def test_the_work_grows_in_proportion_to_the_covariates() -> None:
    def work(n: int) -> int:
        net, x = network(past_covariates=n, future_covariates=0), walk(1, 22, 1).float()
        known = normal(1, 22, n).float()
        return work_of(lambda: net(x, known)).flops

    assert work(256) - work(128) == pytest.approx(2 * (work(128) - work(64)), rel=0.05)


def test_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    net, x, given = crossing(), walk(2, 22, 1), covariates(2)
    save_weights(net, tmp_path / "w.safetensors")
    again = load_network(tmp_path / "w.safetensors")
    assert again.config == net.config
    assert torch.equal(again(x, **given), net(x, **given))


def test_quantiles_widen_around_the_median() -> None:
    net, x = network(outputs=(0.1, 0.5, 0.9)).double().eval(), walk(2, 22, 1)
    assert net.reader is not None
    assert net.reader.covariates is not None
    for head in (net.reader.head, net.reader.covariates.head):
        randomised(head, 0.02)  # so that no quantiles cross
    before = net(x, **covariates(2))
    net.widen_quantiles(2.0)
    after = net(x, **covariates(2))
    median = before[..., 1:2]
    torch.testing.assert_close(after - median, 2 * (before - median))


def test_pretrained_weights_begin_as_they_are() -> None:
    prior = randomised(network(past_covariates=0, future_covariates=0, covariates="features"))
    like = arguments_like(prior.config, 22)
    own = network(**{**like, "patch_length": 4})
    take_over(own, prior)
    x, given = walk(2, 22, 1).float(), {k: v.float() for k, v in covariates(2).items()}
    torch.testing.assert_close(own(x, **given), prior(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"covariates": "both"}, r"covariates='both' must be 'features' .* or 'cross'"),
        ({"covariates": None}, r"covariates=None must be 'features'"),
        ({"covariates": "cross", "layers": None}, r"covariates='cross' needs layers"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(22, 6, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("lag", [5, 64])
def test_a_target_made_of_a_lagged_covariate_is_forecast_from_it(lag: int) -> None:
    """The squared error falls to three tenths and less; no linear map of the lags explains it."""
    with_it, without = (_error_of_lagged(lag, **own) for own in ({"past_covariates": 1}, {}))
    assert without > 0.8  # of the variance of the target, in whose past is nothing
    assert with_it <= 0.3 * without


def _error_of_lagged(lag: int, **own: Any) -> float:
    """Squared error of the size of what a covariate was `lag` steps before, over its variance."""
    L, H, steps = 80, 5, 400
    generator = torch.Generator().manual_seed(0)

    def windows(count: int) -> tuple[Tensor, Tensor]:
        cause = torch.randn(count, L + H + lag, generator=generator)
        return cause[:, : L + H, None].abs(), cause[:, lag : lag + L, None]

    net = RimerNetwork(
        *(L, H), width=16, head_size=8, dropout=0.0, generator=generator, covariates="cross", **own
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, steps)
    for _ in range(steps):
        target, cause = windows(256)  # with 64 one training of three never leaves its saddle
        given = (cause,) if own else ()
        loss = (net(target[:, :L], *given)[..., 0] - target[:, L:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    target, cause = windows(1000)
    with torch.no_grad():
        forecast = net.eval()(target[:, :L], *((cause,) if own else ()))[..., 0]
    return float((forecast - target[:, L:]).square().mean() / target[:, L:].var())
