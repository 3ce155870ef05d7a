"""GRU and LSTM, against their definitions. The rest is in test_protocol."""

from __future__ import annotations

import pytest
import torch
from network_cases import randomised
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import Pass, Recurrent, build_layers

D = 6


def mixer(cell: str) -> Recurrent:
    return randomised(Recurrent(D, cell=cell).double(), 0.5, seed=0)  # type: ignore[arg-type]


def plain(mixer: Recurrent, x: Tensor) -> Tensor:
    """The cells written out, as in torch's documentation."""
    w, u, b, c = mixer.recurrence.all_weights[0]
    hidden, cell, rows = x.new_zeros(len(x), D), x.new_zeros(len(x), D), []
    for t in range(x.shape[1]):
        of_input, of_hidden = (x[:, t] @ w.T + b).split(D, 1), (hidden @ u.T + c).split(D, 1)
        if mixer.is_lstm:
            i, f, g, o = (one + two for one, two in zip(of_input, of_hidden, strict=True))
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        else:
            r = (of_input[0] + of_hidden[0]).sigmoid()
            z = (of_input[1] + of_hidden[1]).sigmoid()
            n = (of_input[2] + r * of_hidden[2]).tanh()
            hidden = (1 - z) * n + z * hidden
        rows.append(hidden)
    return mixer.output(torch.stack(rows, 1))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_cell_is_its_definition_with_and_without_a_mask(cell: str) -> None:
    net = mixer(cell)
    x = torch.randn(3, 9, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = plain(net, x)
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)
    mask = torch.tensor([False, True, True, False, True, True, False, True, True])
    y, _ = net(x, None, Pass(mask.expand(3, -1)))
    torch.testing.assert_close(y[:, mask], plain(net, x[:, mask]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", ["gru", "lstm"])
def test_a_layer_starts_as_the_linear_skip_and_is_as_large_as_an_rwkv7_one(layers: str) -> None:
    net = RimerNetwork(48, 12, layers=layers)
    net.reset_parameters()
    x = torch.randn(2, 48, 1, generator=torch.Generator().manual_seed(2))
    alone = RimerNetwork(48, 12, layers=None)
    alone.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(net.eval()(x), alone.eval()(x))
    ours = sum(one.numel() for one in build_layers("rwkv7", width=32, head_size=16).parameters())
    theirs = sum(one.numel() for one in build_layers(layers, width=32, head_size=16).parameters())
    assert 0.95 * ours < theirs < 1.2 * ours


def test_an_option_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="gru has no option 'window'; it has none"):
        build_layers("gru(window=2)", width=8, head_size=8)
