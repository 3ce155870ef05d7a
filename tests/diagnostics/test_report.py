"""Diagnostics: what they say is what the network did."""

from __future__ import annotations

import dataclasses
import math
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from network_cases import randomised, walk
from torch import Tensor, nn

from rimer_forecaster import RimerNetwork
from rimer_forecaster.diagnostics import StateGrows, diagnose
from rimer_forecaster.layers import Equilibrium, RWKV7TimeMix, Stack, leaves

L, H, C, P = 20, 6, 2, 5


def network(layers: str | None = "rwkv7*2", **arguments: Any) -> RimerNetwork:
    """A network in float64 with every parameter random: its tokens differ, and so do its heads."""
    options = {"width": 8, "head_size": 4, "patch_length": P, **arguments}
    return randomised(RimerNetwork(L, H, layers=layers, **options).double())


def fresh(layers: str = "rwkv7*2", *, seed: int = 0) -> RimerNetwork:
    """A network as training begins with it."""
    generator = torch.Generator().manual_seed(seed)
    return RimerNetwork(L, H, layers=layers, patch_length=P, generator=generator)


def history(n: int, *, components: int = C, seed: int = 2) -> Tensor:
    return walk(1, n, components, seed=seed)


def season(n: int) -> Tensor:
    """A season of 24 steps and a little noise, above zero, (1, n, 1)."""
    noise = torch.randn(n, generator=torch.Generator().manual_seed(0))
    return (3 + torch.sin(torch.arange(n) / 24 * 6.2832) + 0.1 * noise)[None, :, None]


def mixers(net: nn.Module) -> list[RWKV7TimeMix]:
    return [module for module in net.modules() if isinstance(module, RWKV7TimeMix)]


@torch.no_grad()
def switch_off(net: RimerNetwork, *, removal: bool = True) -> RimerNetwork:
    """Let nothing decay, and nothing be removed."""
    for mixer in mixers(net):
        mixer.decay.up.bias.fill_(-1e3)
        if removal:
            mixer.learning_rate.up.bias.fill_(-1e3)
    return net


@pytest.mark.parametrize(
    ("layers", "paths"),
    [
        ("rwkv7*2", {"0": "layers/0/token_mixer/wkv", "1": "layers/1/token_mixer/wkv"}),
        ("attention(window=2), rwkv7", {"1": "layers/1/token_mixer/wkv"}),
        (
            "rwkv7, equilibrium(rwkv7*2)",
            {
                "0": "layers/0/token_mixer/wkv",
                "1.0": "layers/1/0/token_mixer/wkv",
                "1.1": "layers/1/1/token_mixer/wkv",
            },
        ),
        (
            "perspectives(rwkv7, equilibrium(rwkv7); lags=1+2)",
            {
                "0.0.0": "layers/0/0/0/token_mixer/wkv",
                "0.0.1.0": "layers/0/0/1/0/token_mixer/wkv",
                "0.1.0": "layers/0/1/0/token_mixer/wkv",
                "0.1.1.0": "layers/0/1/1/0/token_mixer/wkv",
            },
        ),
    ],
)
def test_norms_are_those_of_a_stream_at_the_end_of_each_patch(
    layers: str, paths: dict[str, str]
) -> None:
    net, x = network(layers), history(33)
    report = diagnose(net, x)
    net.eval()
    assert report.state_norms.index.tolist() == [5, 10, 15, 20, 25, 30]
    assert report.state_norms.index.name == "steps read"
    assert report.state_norms.columns.names == ["component", "layer", "head"]
    assert len(report.state_norms.columns) == C * len(paths) * 2
    for steps in report.state_norms.index:
        read = dict(leaves(net.observe(x[:, :steps])["reader"]))
        for component in range(C):
            for layer, path in paths.items():
                for head in range(2):
                    expected = read[path][component, head].detach().square().sum().sqrt()
                    actual = report.state_norms.loc[steps, (component, layer, head)]
                    # an equilibrium is the same up to its tolerance, 1e-4, however it is cut
                    tolerance = 1e-2 if "equilibrium" in layers else 1e-10
                    assert actual == pytest.approx(float(expected), rel=tolerance), (layer, head)


def test_ten_layers_come_in_their_order() -> None:
    report = diagnose(network("rwkv7*11"), history(P))
    layers = report.state_norms.columns.get_level_values("layer").unique()
    assert list(layers) == [str(i) for i in range(11)]
    assert report.table["layer"].tolist() == [str(i) for i in range(11) for _ in range(2)]


def test_covariates_of_every_kind_are_read_at_their_own_steps() -> None:
    sizes = {"past_covariates": 2, "future_covariates": 1, "static_covariates": 2}
    net, x = network(**sizes), history(32)
    known = {
        "past_covariates": history(32, seed=3),
        "future_covariates": history(32, components=1, seed=4),
        "static_covariates": history(C, seed=5),
    }
    report = diagnose(net, x, **known)
    read = dict(leaves(net.eval().observe(x[:, :30], **trimmed(known, 30))["reader"]))
    expected = torch.linalg.matrix_norm(read["layers/1/token_mixer/wkv"])[1]
    actual = report.state_norms.loc[30, (1, "1")]
    np.testing.assert_allclose(actual, expected.detach(), rtol=1e-10)
    for name, value in known.items():
        changed = diagnose(net, x, **{**known, name: value + 1})
        assert (changed.state_norms - report.state_norms).abs().to_numpy().max() > 1e-3, name


def trimmed(known: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    return {name: x if "static" in name else x[:, :n] for name, x in known.items()}


def test_components_have_names_in_the_data_and_the_largest_in_the_table() -> None:
    x = torch.cat((history(40, components=1), torch.zeros(1, 40, 1)), 2)
    report = diagnose(network(), x, components=["sales", "nothing"])
    norms = report.state_norms
    assert list(norms.columns.get_level_values("component").unique()) == ["sales", "nothing"]
    row = report.table.iloc[1]
    both = norms.xs((row["layer"], row["head"]), axis=1, level=("layer", "head"))
    assert row["last norm"] == both.iloc[-1].max() > both.iloc[-1].min()
    assert row["largest norm"] == both.to_numpy().max()


@pytest.mark.parametrize("layers", ["rwkv7*2", "equilibrium(rwkv7)"])
@pytest.mark.parametrize("bias", [-6.0, 0.5, 4.0])
def test_half_lives_of_a_constant_decay_are_the_closed_form_in_steps(
    layers: str, bias: float
) -> None:
    net = network(layers)
    with torch.no_grad():
        for mixer in mixers(net):
            mixer.decay.down.weight.zero_()
            mixer.decay.up.weight.zero_()
            mixer.decay.up.bias.fill_(bias)
    # Eq. 12 of arXiv:2503.14456: a token keeps exp(-exp(-0.5) sigmoid(decay)) of a channel.
    kept = math.exp(-math.exp(-0.5) / (1 + math.exp(-bias)))
    steps = P * math.log(0.5) / math.log(kept)
    report = diagnose(net, history(40))
    np.testing.assert_allclose(report.half_lives[["10 %", "median", "90 %"]], steps, rtol=1e-10)


def test_half_lives_are_quantiles_over_tokens_and_channels_of_their_own_head() -> None:
    net, x = network(), history(200, components=1)
    seen: list[Tensor] = []
    with mixers(net)[1].decay.register_forward_hook(lambda *call: seen.append(call[2])):
        net.eval().observe(x)
    report = diagnose(net, x).half_lives.set_index(["layer", "head"])
    kept = torch.exp(-math.exp(-0.5) * torch.sigmoid(seen[0]))  # (1, T, D)
    half_life = (P * math.log(0.5) / kept.log()).detach().numpy()
    assert np.ptp(half_life) > 1
    for head, channels in enumerate((slice(0, 4), slice(4, 8))):
        expected = np.quantile(half_life[..., channels], [0.1, 0.5, 0.9])
        # between two values, log decays are interpolated and not half-lives
        np.testing.assert_allclose(report.loc["1", head], expected, rtol=1e-2)
    assert report.loc["1", 0]["median"] != pytest.approx(report.loc["1", 1]["median"], rel=1e-2)


def test_only_the_last_pass_of_an_equilibrium_counts() -> None:
    net, x = network("equilibrium(rwkv7)"), history(200, components=1)
    equilibrium = next(module for module in net.modules() if isinstance(module, Equilibrium))
    solved: list[Tensor] = []

    def of_solution(module: nn.Module, inputs: Any, output: Any) -> None:
        x = inputs[0]
        solved.append(x + module.feedback * (output[0] - x))

    with equilibrium.register_forward_hook(of_solution):
        report = diagnose(net, x)
    assert len(solved) == 40
    assert report.solvers["passes"].item() > 1
    block = equilibrium.layers.layers[0]
    with torch.no_grad():
        tokens = block.token_norm(torch.cat(solved, 1))  # (1, T, D)
        previous = nn.functional.pad(tokens, (0, 0, 1, -1))
        x_w = tokens + (previous - tokens) * block.token_mixer.mix[1]
        kept = torch.exp(-math.exp(-0.5) * torch.sigmoid(block.token_mixer.decay(x_w)))
    half_life = P * math.log(0.5) / kept.log()
    expected = np.quantile(half_life[..., :4], [0.1, 0.5, 0.9])
    actual = report.half_lives.loc[0, ["10 %", "median", "90 %"]].to_numpy(dtype=float)
    np.testing.assert_allclose(actual, expected, rtol=1e-2)  # the interpolation, as above


def test_what_does_not_decay_has_an_infinite_half_life() -> None:
    report = diagnose(switch_off(network(), removal=False), history(40))
    assert np.isposinf(report.half_lives[["10 %", "median", "90 %"]].to_numpy()).all()


def test_solvers_tell_of_the_last_read_of_each_equilibrium_layer() -> None:
    net = network("equilibrium(rwkv7), rwkv7, equilibrium(rwkv7*2)")
    report = diagnose(net, history(43))
    assert report.solvers["layer"].tolist() == ["0", "2"]
    equilibria = [module for module in net.modules() if isinstance(module, Equilibrium)]
    for row, equilibrium in zip(report.solvers.to_dict("records"), equilibria, strict=True):
        assert equilibrium.report is not None
        assert equilibrium.report.residual.shape == (C,)
        assert row["passes"] == equilibrium.report.iterations > 1
        assert row["residual"] == float(equilibrium.report.residual.max()) <= equilibrium.tolerance
        assert row["share not converged"] == 0
    assert diagnose(network(), history(43)).solvers.empty


@pytest.mark.filterwarnings("ignore::rimer_forecaster.layers.NotConverged")
def test_a_solver_that_is_cut_short_has_not_converged() -> None:
    solvers = diagnose(network("equilibrium(rwkv7; max_iter=2)"), history(43)).solvers
    assert solvers["passes"].item() == 2
    assert solvers["share not converged"].item() == 1
    assert solvers["residual"].item() > 1e-4


def test_a_report_from_before_is_not_taken_for_one_of_this_history() -> None:
    net = network("equilibrium(rwkv7)")
    net.eval()(history(L))
    assert diagnose(net, history(P - 1)).solvers.empty


def test_mediums_are_those_of_the_state_beside_the_steps_that_they_sum_up() -> None:
    net, x = network("rwkv7, rwkv7(retrospect=2, mediums=3)"), history(48)
    report = diagnose(net, x, components=["a", "b"])
    found = report.mediums
    assert found.index.names == ["component", "layer", "first step", "last step"]
    spans = [(10, 19), (20, 29), (30, 39)]  # of patches of 5 steps; the last is still open
    assert found.index.tolist() == [(c, "1", *span) for c in "ab" for span in spans]
    bank = dict(leaves(net.eval().observe(x)["reader"]))["layers/1/mediums/bank"].detach()
    channels = found[list(range(8))].to_numpy().reshape(2, 3, 8)
    np.testing.assert_allclose(channels, bank, rtol=1e-9)
    np.testing.assert_allclose(found["norm"], bank.norm(dim=2).flatten(), rtol=1e-9)
    assert found["share"].gt(0).all()
    assert found.groupby(level=0)["share"].sum().lt(1).all()


def test_the_token_that_ends_a_segment_has_not_read_its_medium() -> None:
    found = diagnose(network("rwkv7(retrospect=2, mediums=3)"), history(40, components=1)).mediums
    assert found["share"].gt(0).tolist() == [True, True, False]


def test_what_is_missing_is_in_no_medium() -> None:
    x = history(40)
    x[0, 10:20, 1] = float("nan")
    found = diagnose(network("rwkv7(retrospect=2)"), x).mediums
    assert [span[2:] for span in found.loc[[0]].index] == [(0, 9), (10, 19), (20, 29), (30, 39)]
    assert [span[2:] for span in found.loc[[1]].index] == [(0, 9), (20, 29), (30, 39)]


@pytest.mark.parametrize("layers", [None, "rwkv7", "rwkv7(retrospect=9)"])
def test_without_mediums_their_table_is_empty(layers: str | None) -> None:
    found = diagnose(network(layers), history(40)).mediums
    assert found.empty
    assert found.index.names == ["component", "layer", "first step", "last step"]
    assert list(found.columns) == ["share", "norm"]


def test_mediums_are_those_of_each_perspective() -> None:
    report = diagnose(network("perspectives(rwkv7(retrospect=2); lags=1+2)"), history(20))
    layers = report.mediums.index.get_level_values("layer")
    assert list(layers) == ["0.0.0"] * 4 + ["0.1.0"] * 4
    assert report.table["layer"].unique().tolist() == ["0.0.0", "0.1.0"]


@pytest.mark.parametrize(("n", "share"), [(1, 0.95), (5, 0.75), (13, 0.35), (20, 0), (33, 0)])
@pytest.mark.parametrize("layers", [None, "rwkv7"])
def test_the_share_padded_is_what_the_history_lacks_of_a_look_back(
    layers: str | None, n: int, share: float
) -> None:
    assert diagnose(network(layers), history(n)).share_padded == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("layers", "n"), [(None, 40), ("attention", 40), ("rwkv7", P - 1)])
def test_without_a_wkv_state_the_tables_are_empty_and_the_report_works(
    layers: str | None, n: int
) -> None:
    report = diagnose(network(layers), history(n))
    assert report.state_norms.size == 0
    assert report.half_lives.empty
    assert report.table.empty
    assert "growth exponent" in report.table
    assert len(report.plot().axes) == 2


def grows(net: RimerNetwork, x: Tensor) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        diagnose(net, x)
    return [one for one in caught if issubclass(one.category, StateGrows)]


@pytest.mark.parametrize("layers", ["rwkv7*2", "equilibrium(rwkv7)"])
def test_a_state_that_forgets_nothing_grows_and_the_warning_says_where(layers: str) -> None:
    net = switch_off(fresh(layers))
    with pytest.warns(StateGrows, match="grows without bound") as caught:
        report = diagnose(net, season(1000))
    (warning,) = caught
    assert warning.filename == __file__  # the line that called
    row = report.table.sort_values("growth exponent").iloc[-1]
    assert row["growth exponent"] == pytest.approx(1, abs=0.1)  # plain accumulation
    message = str(warning.message)
    assert f"layer {row['layer']}, head {row['head']} " in message
    assert f"as do those of {len(report.table) - 1} other heads" in message
    norms = report.state_norms[0, row["layer"], row["head"]]
    assert f"was {norms.loc[130]:.3g} after 130 steps" in message
    assert f"is {norms.loc[1000]:.3g} after 1000" in message
    assert f"its last input_chunk_length={L} steps" in message


def test_decay_bounds_a_state_from_which_nothing_is_removed() -> None:
    net = switch_off(fresh())
    with torch.no_grad():
        for mixer in mixers(net):
            mixer.decay.up.bias.fill_(3.0)
    assert not grows(net, season(5000))
    assert diagnose(net, season(5000)).table["growth exponent"].abs().max() < 0.05


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [80, 320, 3000])
def test_a_fresh_network_does_not_grow(n: int, seed: int) -> None:
    walk = history(n, seed=seed).float()
    for x in (season(n), walk, walk.diff(dim=1), torch.ones(1, n, 1)):
        assert not grows(fresh(seed=seed), x)


def test_a_state_that_is_not_finite_is_told_of_after_one_token() -> None:
    net = network()
    with torch.no_grad():
        mixers(net)[1].value.weight[0] = float("nan")
    with pytest.warns(StateGrows, match=r"layer 1, head 0 is not finite: .* is nan after 5"):
        report = diagnose(net, history(P, components=1))
    assert report.table["growth exponent"].tolist()[2] == math.inf
    assert math.isnan(report.table["last norm"].tolist()[2])


def test_too_few_tokens_have_no_growth_exponent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few = diagnose(switch_off(fresh()), season(63 * P))
    assert few.table["growth exponent"].isna().all()
    with pytest.warns(StateGrows):
        diagnose(switch_off(fresh()), season(64 * P))


def test_a_silent_beginning_is_no_growth() -> None:
    """A constant series leaves no trace in a fresh network: its norm is zero."""
    x = season(2000)
    x[:, :500] = 3.0
    report = diagnose(fresh(), x)
    assert (report.state_norms.loc[500] == 0).all()
    assert not grows(fresh(), x)
    assert report.table["growth exponent"].max() < 0.75
    with pytest.warns(StateGrows):
        diagnose(switch_off(fresh()), x)


def test_the_table_has_a_row_for_each_layer_and_head() -> None:
    report = diagnose(network("rwkv7, equilibrium(rwkv7)"), history(70 * P))
    table = report.table
    assert list(table) == [
        "layer",
        "head",
        "last norm",
        "largest norm",
        "growth exponent",
        "half-life 10 %, steps",
        "half-life median, steps",
        "half-life 90 %, steps",
    ]
    places = [("0", 0), ("0", 1), ("1.0", 0), ("1.0", 1)]
    assert list(zip(table["layer"], table["head"], strict=True)) == places
    assert (table["last norm"] <= table["largest norm"]).all()
    assert (table["half-life 10 %, steps"] < table["half-life 90 %, steps"]).all()
    assert np.isfinite(table.iloc[:, 2:].to_numpy(dtype=float)).all()


def test_the_growth_exponent_is_the_power_of_the_number_of_tokens() -> None:
    net = network("rwkv7")
    report = diagnose(net, history(100 * P, components=1))
    for power in (0.0, 0.5, -0.3):
        norms = report.state_norms.copy()
        norms[0, "0", 0] = 7 * np.arange(1, 101) ** power
        changed = dataclasses.replace(report, state_norms=norms)
        assert changed.table["growth exponent"][0] == pytest.approx(power, abs=1e-9)


def test_the_plot_draws_norms_and_half_lives_with_units_and_without_colour() -> None:
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    report = diagnose(network("rwkv7*3"), history(400))
    figure = report.plot()
    left, right = figure.axes
    assert left.get_xlabel() == "steps read"
    assert "norm" in left.get_ylabel()
    assert "largest" in left.get_title()
    assert "steps" in right.get_xlabel()
    assert right.get_xscale() == "log"
    assert len(left.lines) == 6
    assert len({(line.get_linestyle(), line.get_marker()) for line in left.lines}) == 6
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert names == [text.get_text() for text in right.get_yticklabels()]
    assert names[-1] == "layer 2, head 1"
    norms = report.state_norms.xs(("2", 1), axis=1, level=("layer", "head"))
    np.testing.assert_array_equal(left.lines[-1].get_xdata(), report.state_norms.index)
    np.testing.assert_array_equal(left.lines[-1].get_ydata(), norms[norms.max().idxmax()])
    row = report.half_lives.iloc[-1]
    spans = [list(line.get_xdata()) for line in right.lines]
    assert [row["10 %"], row["90 %"]] in spans
    assert [row["median"]] in spans
    figure.canvas.draw()


def test_the_plot_draws_on_given_axes_and_beyond_any_half_life() -> None:
    plt = pytest.importorskip("matplotlib.pyplot", reason="the plot needs matplotlib")
    figure, axes = plt.subplots(1, 3)
    report = diagnose(switch_off(network(), removal=False), history(100))
    assert report.plot(axes[1:]) is figure
    assert not axes[0].lines
    assert "> does not decay" in axes[2].get_xlabel()
    assert all(np.isfinite(line.get_xdata()).all() for line in axes[2].lines)
    figure.canvas.draw()
    with pytest.raises(ValueError, match="axes has 3 axes; give two"):
        report.plot(axes)
    plt.close(figure)


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    report = diagnose(network(), history(40))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        report.plot()


def test_the_network_stays_as_it_was() -> None:
    net = network(dropout=0.5)
    assert net.reader is not None
    net.train()
    net.reader.layers.eval()
    flags = [module.training for module in net.modules()]
    before = {name: x.clone() for name, x in net.state_dict().items()}
    one, other = diagnose(net, history(40)), diagnose(net, history(40))
    pd.testing.assert_frame_equal(one.state_norms, other.state_norms)  # without dropout
    bad = history(40)
    mixers(net)[0].register_forward_pre_hook(_interrupt)
    with pytest.raises(KeyboardInterrupt):
        diagnose(net, bad)
    assert [module.training for module in net.modules()] == flags
    assert not any(mixer.decay._forward_hooks for mixer in mixers(net))
    assert all(torch.equal(x, before[name]) for name, x in net.state_dict().items())


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_cannot_be_read_is_refused() -> None:
    net = network(past_covariates=1)
    known = history(30, components=1)
    with pytest.raises(ValueError, match=r"shape \(30, 2\); it must be \(1, n, C\)"):
        diagnose(net, history(30)[0], known)
    with pytest.raises(ValueError, match=r"shape \(2, 30, 2\).* Call diagnose for each"):
        diagnose(net, history(30).expand(2, -1, -1), known)
    with pytest.raises(ValueError, match="at least one step"):
        diagnose(net, history(30)[:, :0], known[:, :0])
    with pytest.raises(ValueError, match="past_covariates has 0 components, but the network was"):
        diagnose(net, history(30))
    with pytest.raises(ValueError, match="past_covariates has 30 steps, but the network reads 29"):
        diagnose(net, history(29), known)
    with pytest.raises(ValueError, match="components has 1 names, but past_target has 2"):
        diagnose(net, history(30), known, components=["one"])
    x = history(30)
    x[0, 23, 1] = float("inf")
    with pytest.raises(
        ValueError, match=r"past_target holds inf in stream 0, step 23, component 1"
    ):
        diagnose(net, x, known)


def test_a_history_with_missing_values_is_read() -> None:
    x = history(60)
    x[0, 20:30, 1] = float("nan")
    norms = diagnose(network(), x).state_norms
    assert np.isfinite(norms.to_numpy()).all()
    assert norms.loc[25, 1].equals(norms.loc[20, 1])  # nothing to write
    assert not norms.loc[25, 0].equals(norms.loc[20, 0])


def test_a_layer_is_named_by_its_path_in_the_stack() -> None:
    """The rule that names modules and states holds for the modules there are."""
    net = network("rwkv7, equilibrium(rwkv7, equilibrium(rwkv7))")
    assert net.reader is not None
    assert isinstance(net.reader.layers, Stack)
    report = diagnose(net, history(P))
    assert report.table["layer"].unique().tolist() == ["0", "1.0", "1.1.0"]
    assert report.solvers["layer"].tolist() == ["1", "1.1"]
