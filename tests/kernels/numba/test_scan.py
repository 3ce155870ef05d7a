"""The compiled CPU path: what it refuses, what it keeps missing, and gradients of single inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import verification, wkv7
from rimer_forecaster.kernels.verification import relative_errors


def tensors(B: int = 2, T: int = 60, H: int = 3, N: int = 16) -> list[Tensor]:
    return [x.float() for x in verification.inputs(T, B=B, H=H, K=N, V=N)]


def test_missing_values_stay_missing() -> None:
    inputs = tensors()
    inputs[3][0, 20, 0, 0] = torch.nan
    o, _ = wkv7(*inputs, backend="numba")
    assert torch.isnan(o[0, 20:, 0, 0]).all()
    assert torch.isfinite(o[1]).all()
    assert torch.isfinite(o[0, :20]).all()


def test_odd_value_channels_are_refused_when_forced_and_go_elsewhere_when_not() -> None:
    r, w, k, v, a, b = tensors(B=1)
    v = v[..., :5].contiguous()
    with pytest.raises(ValueError, match="takes value channels in pairs, not 5"):
        wkv7(r, w, k, v, a, b, backend="numba")
    o, _ = wkv7(r, w, k, v, a, b)
    assert torch.equal(o, wkv7(r, w, k, v, a, b, backend="chunked")[0])


@pytest.mark.parametrize("leaf_index", range(6))
def test_any_input_alone_may_want_a_gradient(leaf_index: int) -> None:
    inputs = [x.clone() for x in tensors(B=1, T=70, H=1, N=8)]
    leaf = inputs[leaf_index].requires_grad_()
    (gradient,) = torch.autograd.grad(wkv7(*inputs, backend="numba")[0].sum(), leaf)
    (expected,) = torch.autograd.grad(wkv7(*inputs, backend="chunked")[0].sum(), leaf)
    # 70 steps in float32, each with sums over 8 channels in another order
    (error,) = relative_errors([gradient.double()], [expected.double()])
    assert error < 70 * torch.finfo(torch.float32).eps
