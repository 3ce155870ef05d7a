"""Equilibrium layers: the equation, its gradient, its penalty. The rest is in test_protocol."""

from __future__ import annotations

import functools
import gc
import math
import weakref
from statistics import median
from typing import Any

import pytest
import torch
from network_cases import normal, randomised
from torch import Tensor

from rimer_forecaster.layers import Equilibrium, NotConverged, Pass, RandomModule, build_layers
from rimer_forecaster.layers.combinators import equilibrium

D, N = 8, 4


def layer(inner: str = "rwkv7", *, size: float = 0.2, dropout: float = 0.0, **options: Any) -> Any:
    """An equilibrium in float64 with random weights."""
    text = "; " + ", ".join(f"{key}={value}" for key, value in options.items()) if options else ""
    stack = build_layers(f"equilibrium({inner}{text})", width=D, head_size=N, dropout=dropout)
    net = randomised(stack.layers[0].double(), size, seed=0)
    with torch.no_grad():
        net.norm.weight.add_(1)
    assert isinstance(net, Equilibrium)
    return net.eval()


def tokens(B: int = 2, T: int = 5) -> Tensor:
    return normal(B, T, D, seed=1)


EXACT = {"tolerance": 1e-14, "max_iter": 500}


def image(net: Equilibrium, x: Tensor, z: Tensor) -> Tensor:
    y, _ = net.layers(z)
    return net.norm(x + torch.sigmoid(net.damping) * (y - z))


@pytest.mark.parametrize("inner", ["rwkv7", "rwkv7*2", "attention", "rwkv7(channel_mix=off)"])
def test_the_output_solves_the_equation(inner: str) -> None:
    net, x = layer(inner, **EXACT), tokens()
    z, _ = net(x)
    torch.testing.assert_close(image(net, x, z), z, rtol=0, atol=1e-12)
    once = image(net, x, net.norm(x))
    assert (once - z).abs().max() > 1e-5  # one pass would not have done


def test_the_gradient_is_that_of_a_dense_solve() -> None:
    net, x = layer(**EXACT), tokens(B=1, T=3)
    z, _ = net(x)
    weight = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(2))
    parameters = list(net.parameters())
    inputs = [x.requires_grad_(), *parameters]
    actual = torch.autograd.grad((net(x)[0] * weight).sum(), inputs)

    z = z.detach()
    jacobian = torch.autograd.functional.jacobian(lambda z: image(net, x, z), z)
    jacobian = jacobian.reshape(z.numel(), z.numel())
    identity = torch.eye(z.numel(), dtype=z.dtype)
    u = torch.linalg.solve(identity - jacobian.T, weight.flatten()).view_as(z)
    expected = torch.autograd.grad(image(net, x, z), inputs, u)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    naive = torch.autograd.grad(image(net, x, z), inputs, weight)
    assert (naive[0] - expected[0]).abs().max() > 1e-3  # the linear system matters


def test_the_gradient_through_the_carried_state() -> None:
    """Both ways a cut can go: back from the output and back from the final state."""
    net, x = layer(**EXACT), tokens(T=6).requires_grad_()
    parameters = list(net.parameters())
    whole, _ = net(x)
    weight = torch.randn(whole.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    weight[:, :3] = 0  # so that the first half matters by its state alone
    expected = torch.autograd.grad((whole * weight).sum(), [x, *parameters])
    _, state = net(x[:, :3], net.init_state(2))
    right, _ = net(x[:, 3:], state)
    actual = torch.autograd.grad((right * weight[:, 3:]).sum(), [x, *parameters])
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert actual[0][:, :3].abs().max() > 1e-4


def saved_bytes(max_iter: int) -> tuple[int, int]:
    """Bytes kept for the backward pass, and passes made."""
    net = layer(size=0.3, tolerance=1e-15, max_iter=max_iter)
    seen: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        with pytest.warns(NotConverged):
            z, _ = net(tokens(B=4, T=20))
        assert z.requires_grad
    return sum(seen.values()), net.report.iterations


def test_memory_does_not_depend_on_the_number_of_passes() -> None:
    (few, passes_few), (many, passes_many) = saved_bytes(2), saved_bytes(12)
    assert (passes_few, passes_many) == (2, 12)
    assert many == few


def test_nothing_is_kept_after_the_backward_pass() -> None:
    net = layer(**EXACT)
    z, _ = net(tokens())
    kept = weakref.ref(z._base)  # what the backward system is solved on
    z.sum().backward()
    del z
    gc.collect()
    assert kept() is None


def test_a_hidden_token_changes_no_answer_and_no_report() -> None:
    net, x = layer(), tokens(T=6)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[:, :3] = False
    y, _ = net(x, None, Pass(mask))
    alone, _ = net(x[:, 3:])
    torch.testing.assert_close(y[:, 3:], alone, rtol=0, atol=1e-12)
    wild = torch.where(mask[..., None], x, 1e6 * x)
    assert torch.equal(net(wild, None, Pass(mask))[0][:, 3:], y[:, 3:])


def test_the_report_counts_passes_and_names_what_did_not_converge() -> None:
    net = layer()
    net(tokens())
    assert net.report.share_not_converged == 0
    assert 2 < net.report.iterations < 50
    assert net.report.residual.shape == (2,)
    hasty = layer(max_iter=2)
    with pytest.warns(NotConverged, match="100% of the sequences did not reach .* in 2 passes for"):
        hasty(tokens())
    assert hasty.report.share_not_converged == 1
    assert hasty.report.iterations == 2


def test_an_unsolved_backward_system_warns_too() -> None:
    net = layer(**EXACT)
    z, _ = net(tokens())
    net.max_iter = 2
    with pytest.warns(NotConverged, match="2 passes backward"):
        z.sum().backward()
    assert net.backward_report.iterations == 2


def test_dropout_is_the_same_in_all_passes() -> None:
    net, x = layer(dropout=0.5).train(), tokens()
    for module in net.modules():
        if isinstance(module, RandomModule):
            module.generator = torch.Generator().manual_seed(0)
    y, _ = net(x)  # would never converge otherwise, and warn
    z, _ = net(x)
    assert (y - z).abs().max() > 1e-3
    assert net.report.share_not_converged == 0


def feedback(net: Equilibrium, x: Tensor, z: Tensor, token: int) -> Tensor:
    """Jacobian of a token's image with respect to itself, (D, D)."""

    def own(step: Tensor) -> Tensor:
        changed = torch.cat((z[0, :token], z[0, token : token + 1] + step, z[0, token + 1 :]))
        return image(net, x, changed[None])[0, token]

    return torch.autograd.functional.jacobian(own, torch.zeros(D, dtype=z.dtype))


def test_the_penalty_is_how_far_the_feedback_of_a_token_exceeds_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For steps so small that the map is linear: by its Jacobian, along random directions."""
    monkeypatch.setattr(equilibrium, "_PROBE", 1e-5)
    net, x = layer(size=0.6, penalty=2, **EXACT), tokens(B=1, T=3)
    z = net(x)[0].detach()
    step = torch.randn(D, 1000, dtype=z.dtype, generator=torch.Generator().manual_seed(0))
    expected = []
    for token in range(3):
        jacobian, image_of_step = feedback(net, x, z, token), step
        for _ in range(3):
            image_of_step = jacobian @ torch.nn.functional.normalize(image_of_step, dim=0)
        excess = (image_of_step.norm(dim=0) - 0.9).clamp_min(0)
        expected.append(2 * float(excess.square().mean()))
    net.train()
    drawn = []
    for seed in range(100):
        net.generator = torch.Generator().manual_seed(seed)
        net(x)
        drawn.append(0.0 if net.penalty is None else float(net.penalty.detach()))
    assert sum(drawn) / 100 == pytest.approx(sum(expected) / 3, rel=0.15)
    assert sum(expected) > 0.1


def test_below_the_limit_there_is_no_penalty() -> None:
    net, x = layer(size=0.1).train(), tokens()
    for seed in range(20):
        net.generator = torch.Generator().manual_seed(seed)
        net(x)
        assert net.penalty is None


def test_without_training_or_weight_there_is_no_penalty() -> None:
    net = layer()
    net(tokens())
    assert net.penalty is None
    net = layer(penalty=0).train()
    net(tokens())
    assert net.penalty is None


def train(penalty: float, seed: int) -> Equilibrium:
    """Fit a layer to a recall task, hard enough to make the map expand."""
    net = layer(size=0.0, penalty=penalty, max_iter=80).float()
    net.reset_parameters(torch.Generator().manual_seed(seed))
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-2)
    generator = torch.Generator().manual_seed(seed + 1)
    for step in range(60):
        x = torch.randn(8, 8, D, generator=generator)
        net.generator = torch.Generator().manual_seed(step)
        z, _ = net(x)
        loss = (z[:, 1:] - 2 * x[:, :-1]).square().mean()
        loss = loss + (net.penalty if net.penalty is not None else 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@pytest.mark.filterwarnings("ignore::rimer_forecaster.layers.combinators.equilibrium.NotConverged")
def test_the_penalty_keeps_a_trained_layer_convergent() -> None:
    """The middle of three trainings: one is chaotic, and its last digits decide how it ends."""
    x = torch.randn(64, 8, D, generator=torch.Generator().manual_seed(9))
    ratios = []
    for seed in range(3):
        sizes = []
        for penalty in (1.0, 0.0):
            net = train(penalty, seed)
            z, _ = net(x[:2])
            one = functools.partial(image, net, x[:2])
            jacobian = torch.autograd.functional.jacobian(one, z.detach())
            sizes.append(float(jacobian.square().sum().log()))
        ratios.append(sizes[0] - sizes[1])
    assert median(ratios) < math.log(0.85)  # mostly .33 to .82; without the penalty 1
