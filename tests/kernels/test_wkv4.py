"""RWKV-4's recurrence against its closed form, and that it needs no loop over tokens."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal
from operation_counts import work_of
from torch import Tensor

from rimer_forecaster.kernels import EMPTY, wkv4

B, D = 2, 3


def inputs(T: int, *, size: float = 1.0) -> dict[str, Tensor]:
    return {
        "k": size * normal(B, T, D, seed=1),
        "v": normal(B, T, D, seed=2),
        "log_decay": -normal(D, seed=3).exp(),
        "bonus": normal(D, seed=4),
    }


def closed_form(k: Tensor, v: Tensor, log_decay: Tensor, bonus: Tensor) -> Tensor:
    """Equation 16 of the paper, as one matrix of exponents for each channel."""
    t = torch.arange(k.shape[1])
    age = (t[:, None] - 1 - t)[..., None]  # (T, T, 1)
    exponent = age * log_decay + k[:, None]  # (B, T, T, D)
    exponent = torch.where(age < -1, -torch.inf, exponent)
    exponent = torch.where(age == -1, k[:, None] + bonus, exponent)
    return (exponent.softmax(2) * v[:, None]).sum(2)


def step_by_step(x: dict[str, Tensor]) -> Tensor:
    state, ys = None, []
    for t in range(x["k"].shape[1]):
        one = {**x, "k": x["k"][:, t : t + 1], "v": x["v"][:, t : t + 1]}
        y, state = wkv4(**one, initial_state=state, output_final_state=True)
        ys.append(y)
    return torch.cat(ys, 1)


@pytest.mark.parametrize("T", [1, 2, 7, 31, 32, 33, 64, 100, 1100])
def test_the_recurrence_is_the_closed_form(T: int) -> None:
    x = inputs(T)
    torch.testing.assert_close(wkv4(**x)[0], closed_form(**x), rtol=0, atol=1e-12)


def test_the_prefixes_are_the_recurrence_step_by_step() -> None:
    x = inputs(100)
    torch.testing.assert_close(wkv4(**x)[0], step_by_step(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("T", [5, 70])
def test_the_state_goes_on_at_any_cut_and_past_masked_tokens(T: int) -> None:
    x = inputs(T)
    mask = torch.rand(B, T, generator=torch.Generator().manual_seed(0)) < 0.6
    y, end = wkv4(**x, mask=mask, output_final_state=True)
    for b in range(B):
        kept = {n: x[n][b : b + 1, mask[b]] for n in ("k", "v")}
        z, state = wkv4(**{**x, **kept}, output_final_state=True)
        torch.testing.assert_close(y[b, mask[b]], z[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(end[b], state[0], rtol=0, atol=1e-12)
    one = {**x, "k": x["k"][:, :3], "v": x["v"][:, :3]}
    rest = {**x, "k": x["k"][:, 3:], "v": x["v"][:, 3:]}
    _, middle = wkv4(**one, mask=mask[:, :3], output_final_state=True)
    _, last = wkv4(**rest, mask=mask[:, 3:], initial_state=middle, output_final_state=True)
    torch.testing.assert_close(last, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("T", [3, 80])
def test_nothing_overflows_for_keys_up_to_200(T: int) -> None:
    x = inputs(T)
    x["k"] = 200 * (2 * torch.rand(B, T, D, generator=torch.Generator().manual_seed(0)) - 1)
    x["k"][:, 0], x["k"][:, 1] = -200, 200
    small = {name: value.float().requires_grad_() for name, value in x.items()}
    y, state = wkv4(**small, output_final_state=True)
    (y.sum() + state.sum()).backward()
    assert y.isfinite().all()
    assert state.isfinite().all()
    assert all(value.grad.isfinite().all() for value in small.values())
    torch.testing.assert_close(y.double(), closed_form(**x), rtol=0, atol=1e-3)


def test_a_mask_of_nothing_leaves_the_state_alone_bit_for_bit() -> None:
    x = inputs(40)
    hidden = torch.zeros(B, 40, dtype=torch.bool)
    _, state = wkv4(**x, output_final_state=True)
    _, after = wkv4(**x, initial_state=state, mask=hidden, output_final_state=True)
    assert torch.equal(after, state)
    _, fresh = wkv4(**x, mask=hidden, output_final_state=True)
    assert torch.equal(fresh[:, 2], torch.full((B, D), EMPTY, dtype=torch.float64))


def test_gradients_are_those_of_finite_differences() -> None:
    x = {name: value.requires_grad_() for name, value in inputs(35).items()}
    start = (1 + normal(B, 3, D, seed=5).abs()).requires_grad_()
    mask = torch.rand(B, 35, generator=torch.Generator().manual_seed(0)) < 0.8

    def f(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        *own, state = tensors
        return wkv4(
            **dict(zip(x, own, strict=True)),
            initial_state=state,
            mask=mask,
            output_final_state=True,
        )

    assert torch.autograd.gradcheck(f, (*x.values(), start), fast_mode=True)


def test_work_grows_with_the_tokens_and_the_number_of_operations_hardly() -> None:
    """A loop over tokens would need eight times as many operations for eight times the tokens."""
    short, long = work_of(lambda: wkv4(**inputs(4096))), work_of(lambda: wkv4(**inputs(32768)))
    assert 7 < long.elements / short.elements < 9
    assert long.operations < 1.5 * short.operations
