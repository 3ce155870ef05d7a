"""Many streams at once: each forecasts what it does alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from network_cases import normal, randomised

from rimer_forecaster import RimerNetwork
from rimer_forecaster.sktime.stream_bank import StreamBank


def network(layers: str | None = "rwkv7", **options: Any) -> RimerNetwork:
    net = RimerNetwork(
        12,
        3,
        layers=layers,
        width=8,
        head_size=4,
        patch_length=4,
        outputs=(0.1, 0.5, 0.9),
        **options,
    )
    return randomised(net.double()).eval()


def histories(*lengths: int, columns: int = 2) -> dict[str, torch.Tensor]:
    return {
        name: normal(n, columns, seed=i)
        for i, (name, n) in enumerate(zip("abcdefgh", lengths, strict=False))
    }


def alone(net: RimerNetwork, x: torch.Tensor, steps: int, **covariates: Any) -> torch.Tensor:
    known = covariates.get("past")
    with torch.no_grad():
        state = net.observe(x[None], future_covariates=None if known is None else known[None])
        return net.forecast(state, steps, future_covariates=covariates.get("future"))[0]


@pytest.mark.parametrize("layers", [None, "rwkv7*2", "attention(window=2)", "attention"])
def test_in_a_bank_each_stream_is_what_it_is_alone(layers: str | None) -> None:
    """Unequal lengths, parts of unequal lengths, some without new values, and one begun anew."""
    net, full = network(layers), histories(30, 30, 17, 41, 9, 26)
    bank = StreamBank[str]().begun(net, {name: x[:7] for name, x in full.items()})
    for start, end in ((7, 8), (8, 13), (13, 41)):
        bank = bank.updated(net, {name: x[start:end] for name, x in full.items() if len(x) > start})
    bank = bank.begun(net, {"c": full["c"][5:]})
    full["c"] = full["c"][5:]
    forecasts = bank.forecast(net, 5)
    assert forecasts.keys() == full.keys()
    for name, x in full.items():
        torch.testing.assert_close(forecasts[name], alone(net, x, 5), rtol=0, atol=1e-10)


def test_streams_with_covariates_and_gaps() -> None:
    net = network(future_covariates=1)
    full, causes = histories(22, 35), histories(25, 38, columns=1)
    full["a"][9:15] = float("nan")
    past = {name: causes[name][: len(x)] for name, x in full.items()}
    future = {name: causes[name][len(x) :] for name, x in full.items()}
    start, later = slice(None, 8), slice(8, None)
    bank = StreamBank[str]()
    for part, carry in ((start, StreamBank.begun), (later, StreamBank.updated)):
        new, known = ({n: x[part] for n, x in of.items()} for of in (full, past))
        bank = carry(bank, net, new, known)
    forecasts = bank.forecast(net, 3, future)
    for name, x in full.items():
        expected = alone(net, x, 3, past=past[name], future=future[name][None])
        torch.testing.assert_close(forecasts[name], expected, rtol=0, atol=1e-10)


def test_streams_at_the_same_place_of_a_patch_share_a_call() -> None:
    net, calls = network(), []
    net.register_forward_hook(lambda *_: calls.append("window"))
    alike_but_one = histories(12, 12, 16, 20, 13)  # in patches of 4
    bank = StreamBank[str]().begun(net, alike_but_one)
    assert bank.n_batches == 2
    bank = bank.updated(net, {name: torch.zeros(3, 2, dtype=torch.float64) for name in "e"})
    assert bank.n_batches == 1
    assert not calls
