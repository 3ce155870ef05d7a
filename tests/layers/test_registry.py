"""Building layers: positions, options, ablations, and the sizes of the published models."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from network_cases import normal, randomised

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import LAYERS, RWKV7TimeMix, build_layers, check_layers, register
from rimer_forecaster.network import load_network, save_weights


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
        ("rwkv7(sse=yes)", "sse=yes of rwkv7 must be on or off"),
        ("rwkv7(time_mix=off, sse=on)", "time_mix=off leaves rwkv7 no state for sse=on"),
        (
            "rwkv7(time_mix=off, channel_mix=linear, retrospect=8)",
            "no token shift for retrospect to add to",
        ),
        ("rwkv7(retrospect=0)", "retrospect=0 of rwkv7 must be a whole number of at least 1"),
        ("rwkv7(retrospect=on)", "retrospect='on' of rwkv7 must be a whole number"),
        ("rwkv7(retrospect=8, mediums=1.5)", "mediums=1.5 of rwkv7 must be a whole number"),
        ("perspectives(rwkv7; lags=1+0)", r"lags=1\+0 of perspectives must be whole numbers"),
        ("perspectives(rwkv7; lags=day)", "lags=day of perspectives must be whole numbers"),
        ("perspectives(attention, gru)", "token shifts, which none of the layers inside has"),
        ("perspectives(perspectives(rwkv7))", "perspectives within perspectives"),
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
    check_layers("(rwkv7, attention)*200", width=4096, head_size=64)
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


PAGE = Path(__file__).parents[2] / "docs/develop/add-a-layer.md"


@pytest.fixture
def example_layer(tmp_path: Path) -> Iterator[str]:
    """The layer of the page on adding one, as a file of its own that is imported."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    file = tmp_path / "moving_average.py"
    file.write_text(code[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("moving_average", file)
    assert spec is not None
    assert spec.loader is not None
    before = dict(LAYERS)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield "moving_average"
    LAYERS.clear()
    LAYERS.update(before)


def test_a_file_with_one_registration_is_a_layer_of_the_string(
    example_layer: str, tmp_path: Path
) -> None:
    layers = f"({example_layer}(slowest=0.05), rwkv7)*2"
    net = randomised(RimerNetwork(24, 6, layers=layers).double())
    x = normal(2, 60, 1)
    net(x[:, :24]).sum().backward()
    rates = {name: p for name, p in net.named_parameters() if name.endswith("token_mixer.rate")}
    assert len(rates) == 2
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in rates.values())
    net.eval()
    parts = net.update(net.observe(x[:, :31]), x[:, 31:])
    torch.testing.assert_close(net.forecast(parts), net.forecast(net.observe(x)))
    save_weights(net, tmp_path / "weights.safetensors")
    loaded = load_network(tmp_path / "weights.safetensors")
    assert torch.equal(loaded(x[:, :24]), net(x[:, :24]))


def test_its_name_is_known_to_error_messages_and_its_options_to_their_checks(
    example_layer: str,
) -> None:
    with pytest.raises(ValueError, match=f"known layers: attention, .*{example_layer}"):
        check_layers("moving", width=8, head_size=4)
    with pytest.raises(ValueError, match=f"{example_layer} has no option 'rate'; it has slowest"):
        check_layers(f"{example_layer}(rate=1)", width=8, head_size=4)


@pytest.mark.parametrize("name", ["rwkv7", "two words", ""])
def test_a_name_that_is_taken_or_no_word_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a word that is not the name of another layer"):
        register(name)(lambda site: None)
    assert "icl_rate_max" in LAYERS["rwkv7"].options


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
        "head": net.reader.head.weight.numel() + net.skip.offset.numel(),
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


@pytest.mark.parametrize(
    "layers",
    [
        "taylor(feature=100000)",
        "attention(topk=3, chunk=100000000)",
        "rwkv7(retrospect=8, mediums=1000000000)",
        "perspectives(rwkv7; lags=1+1000000000)",
        "(attention(window=1000000))*100",
    ],
)
def test_a_state_of_gigabytes_is_refused_before_it_is_made(layers: str) -> None:
    with pytest.raises(ValueError, match=r"layers=.* its state has [\d,]+ values"):
        check_layers(layers, width=32, head_size=16)
