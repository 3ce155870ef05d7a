"""Building layers: positions, options, ablations, and the sizes of the published models."""

from __future__ import annotations

import pytest
import torch

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import RWKV7TimeMix, build_layers, check_layers


def time_mixes(layers: str) -> list[RWKV7TimeMix]:
    stack = build_layers(layers, width=8, head_size=4)
    return [m for m in stack.modules() if isinstance(m, RWKV7TimeMix)]


def test_only_the_first_rwkv7_layer_gives_the_value_that_later_ones_share() -> None:
    mixers = time_mixes("rwkv7*3")
    assert [m.value_residual is None for m in mixers] == [True, False, False]
    assert [m.position.index for m in mixers] == [0, 1, 2]
    assert {m.position.depth for m in mixers} == {3}


@pytest.mark.parametrize(
    "before", ["attention", "rwkv7(time_mix=off)", "equilibrium(rwkv7)", "equilibrium(attention)"]
)
def test_a_layer_without_a_value_to_share_does_not_count_as_the_first(before: str) -> None:
    mixers = time_mixes(f"{before}, rwkv7, rwkv7")
    assert [m.value_residual is None for m in mixers[-2:]] == [True, False]


def test_a_head_size_that_does_not_divide_the_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width=20 is not a multiple of head_size=16"):
        build_layers("rwkv7", width=20, head_size=16)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("rwkv7(windw=3)", "rwkv7 has no option 'windw'; it has time_mix, channel_mix, icl_rate"),
        ("attention(time_mix=off)", "attention has no option 'time_mix'; it has window"),
        ("equilibrium(rwkv7; width=3)", "equilibrium has no option 'width'; it has tolerance"),
        ("rwkv7(time_mix=no)", "time_mix=no of rwkv7 must be on or off"),
        ("rwkv7(channel_mix=no)", "channel_mix=no of rwkv7 must be one of relu2, linear, off"),
        ("rwkv7(channel_mix=off, time_mix=off)", "leave nothing of rwkv7; use layers=None"),
        ("rwkv7(icl_rate_max=3)", "icl_rate_max=3 must be above 0 and at most 2"),
        ("rwkv7(icl_rate_max=high)", "icl_rate_max='high' must be above 0 and at most 2"),
        ("attention(window=0)", "window=0 of attention must be a whole number of at least 1"),
        ("attention(window=1.5)", "window=1.5 of attention must be a whole number"),
        ("equilibrium(rwkv7; tolerance=0)", "tolerance=0 of equilibrium is out of range"),
        ("equilibrium(rwkv7; max_iter=1.5)", "max_iter=1.5 of equilibrium is out of range"),
        ("equilibrium(rwkv7; penalty=low)", "penalty='low' of equilibrium is out of range"),
        ("equilibrium(rwkv7(icl_rate_max=3))", "icl_rate_max=3 must be above 0"),
    ],
)
def test_an_option_out_of_range_is_named_before_anything_is_built(
    layers: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_layers(layers, width=8, head_size=4)
    with pytest.raises(ValueError, match=message):
        RimerNetwork(96, 24, layers=layers)


def test_odd_heads_cannot_be_rotated() -> None:
    with pytest.raises(ValueError, match="head_size=3 must be even for attention"):
        check_layers("attention", width=9, head_size=3)


def test_checking_stores_and_draws_nothing() -> None:
    before = torch.get_rng_state()
    check_layers("(rwkv7, attention)*1000", width=4096, head_size=64)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layers", "absent"),
    [
        ("rwkv7(time_mix=off)", "token_mixer"),
        ("rwkv7(channel_mix=off)", "channel_mixer"),
        ("rwkv7(channel_mix=linear)", "channel_mixer.key"),
    ],
)
def test_an_ablation_takes_its_parameters_away(layers: str, absent: str) -> None:
    def named(layers: str) -> list[str]:
        stack = build_layers(layers, width=8, head_size=4)
        return [name for name, _ in stack.named_parameters() if absent in name]

    assert named("rwkv7")
    assert not named(layers)


# --- the published sizes ----------------------------------------------------------------------


def ledger(layers: str) -> dict[str, int]:
    """Parameters of a network of the released configuration: patch 32, width 512, 8 heads."""
    net = RimerNetwork(32, 32, layers=layers, width=512, head_size=64, patch_length=32)
    assert net.reader is not None
    values, marks = net.reader.embed_target.weight.split(32, 1)
    assert net.reader.embed_target.bias is not None
    count = {
        "embedding": values.numel(),
        "marks of missing values": marks.numel() + net.reader.embed_target.bias.numel(),
        "layers": sum(p.numel() for p in net.reader.layers.parameters()),
        "last norm": sum(p.numel() for p in net.reader.norm.parameters()),
        "head": net.reader.head.weight.numel() + net.offset.numel(),
        "linear skip": net.skip.weight.numel(),
    }
    assert sum(count.values()) == sum(p.numel() for p in net.parameters())
    return count


def test_twelve_attention_layers_have_the_size_of_the_released_timer() -> None:
    count = ledger("attention*12")
    parts = ("embedding", "layers", "last norm", "head")
    assert sum(count[part] for part in parts) == 37_862_432


def test_one_layer_with_a_linear_channel_mix_has_the_size_of_the_released_rimer() -> None:
    count = ledger("rwkv7(channel_mix=linear)")
    # The released model has no norm before its head.
    assert sum(count[part] for part in ("embedding", "layers", "head")) == 1_614_880
