"""Layers side by side: what fuses them, and what it costs. The rest is in test_protocol."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal, randomised
from operation_counts import work_of

from rimer_forecaster.layers import Parallel, RWKV7TimeMix, Stack, build_layers

D, N = 16, 8


def parallel(string: str) -> tuple[Stack, Parallel]:
    stack = randomised(build_layers(string, width=D, head_size=N).double(), 0.5, seed=0)
    layer = stack.layers[0]
    assert isinstance(layer, Parallel)
    return stack, layer


def x() -> torch.Tensor:
    return normal(2, 12, D, seed=1)


@torch.no_grad()
@pytest.mark.parametrize("fuse", ["gated", "add"])
def test_a_closed_gate_leaves_the_first_branch_alone_exactly(fuse: str) -> None:
    stack, layer = parallel(f"parallel(attention, rwkv7, gru; fuse={fuse})")
    alone, _ = layer.branches[0](x())
    assert (stack(x())[0] - alone).abs().max() > 1e-3
    if layer.gates is not None:
        for gate in layer.gates:
            gate.bias.fill_(-torch.inf)
    else:
        assert layer.scale is not None
        layer.scale.zero_()
    assert torch.equal(stack(x())[0], alone)


@torch.no_grad()
def test_each_fusion_is_its_formula() -> None:
    for fuse in ("gated", "add", "concat"):
        stack, layer = parallel(f"parallel(attention, rwkv7, gru; fuse={fuse})")
        u, v, w = (branch(x())[0] - x() for branch in layer.branches)
        if fuse == "gated":
            assert layer.gates is not None
            gates = [
                (torch.cat((u, z), -1) @ g.weight.T + g.bias).sigmoid()
                for g, z in zip(layer.gates, (v, w), strict=True)
            ]
            expected = x() + u + gates[0] * v + gates[1] * w
        elif fuse == "add":
            assert layer.scale is not None
            expected = x() + u + layer.scale[0] * v + layer.scale[1] * w
        else:
            assert layer.matrix is not None
            expected = x() + torch.cat((u, v, w), -1) @ layer.matrix.weight.T
        torch.testing.assert_close(stack(x())[0], expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_at_the_start_all_fusions_sum_and_gates_are_half_open() -> None:
    outputs = {}
    for fuse in ("gated", "add", "concat"):
        stack, layer = parallel(f"parallel(attention, rwkv7; fuse={fuse})")
        layer.reset_parameters(torch.Generator().manual_seed(0))
        assert torch.equal(stack(x())[0], x())
        randomised(layer.branches)
        outputs[fuse] = stack(x())[0]
        sums = [branch(x())[0] - x() for branch in layer.branches]
    torch.testing.assert_close(outputs["add"], x() + sums[0] + sums[1])
    torch.testing.assert_close(outputs["concat"], outputs["add"])
    torch.testing.assert_close(outputs["gated"], x() + sums[0] + sums[1] / 2)


def test_branches_stand_where_the_layer_stands() -> None:
    """So a later RWKV-7 branch takes a share of the first one's value, as in a plain stack."""
    stack = build_layers("parallel(attention, rwkv7)*3", width=D, head_size=N)
    mixers = [m for m in stack.modules() if isinstance(m, RWKV7TimeMix)]
    assert [m.value_residual is None for m in mixers] == [True, False, False]
    assert [(m.position.index, m.position.depth) for m in mixers] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("fuse", ["gated", "add", "concat"])
def test_fusion_costs_a_tenth_at_most(fuse: str) -> None:
    """In parameters and in products of matrices."""

    def cost(string: str) -> tuple[int, int]:
        stack = build_layers(string, width=32, head_size=16)
        flops = work_of(lambda: stack(torch.zeros(4, 48, 32))).flops
        return flops, sum(p.numel() for p in stack.parameters())

    parts = [cost("attention"), cost("rwkv7")]
    for whole, first, second in zip(
        cost(f"parallel(attention, rwkv7; fuse={fuse})"), *parts, strict=True
    ):
        assert first + second <= whole <= 1.1 * (first + second)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("parallel(attention)", "parallel needs at least two layers"),
        ("parallel(attention, rwkv7; fuse=mean)", "fuse=mean of parallel must be one of gated"),
        ("parallel(attention, rwkv7; gate=on)", "parallel has no option 'gate'; it has fuse"),
        ("parallel", "parallel is made of other layers"),
    ],
)
def test_what_cannot_be_built_is_named(layers: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_layers(layers, width=D, head_size=N)
