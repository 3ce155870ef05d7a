"""Each layer learns the task that it is for, and does not once its mechanism is off."""

from __future__ import annotations

import pytest
from efficacy_training import EXPERIMENTS, score, train

pytestmark = pytest.mark.slow


def scored(name: str, layers: str) -> float:
    """Share of right classes, or mean squared error, of one training."""
    task, known, training, tested = EXPERIMENTS[name]
    assert layers in known, "what is tested is published too"
    return score(train(layers, task, **training), tested or task)


@pytest.mark.parametrize(
    ("name", "on", "off", "highest"),
    [
        ("swaps", "rwkv7(icl_rate_max=2)", "rwkv4", 0.7),
        ("recall", "taylor(feature=4)", "taylor(feature=4, kernel=elu)", 0.85),
        (
            "passkey",
            "attention(topk=2, chunk=4, positions=off)",
            "attention(window=12, positions=off)",
            0.6,
        ),
        ("two hops", "rwkv7(sse=on)", "rwkv7", 0.6),
        ("swaps by depth", "equilibrium(rwkv7)", "rwkv7", 0.7),
    ],
)
@pytest.mark.filterwarnings("ignore::rimer_forecaster.layers.combinators.equilibrium.NotConverged")
def test_nearly_all_answers_are_right_only_with_the_mechanism(
    name: str, on: str, off: str, highest: float
) -> None:
    assert scored(name, on) > 0.9
    assert scored(name, off) < highest


@pytest.mark.parametrize(
    ("name", "on", "off", "ratio"),
    [
        ("spikes", "parallel(attention(window=16), rwkv7)", "rwkv7", 0.8),
        ("long copy", "rwkv7(retrospect=5)", "rwkv7", 0.5),
        ("two seasons", "perspectives(rwkv7; lags=1+7)", "perspectives(rwkv7; lags=1+1)", 0.5),
    ],
)
def test_the_mechanism_makes_the_error_smaller(name: str, on: str, off: str, ratio: float) -> None:
    assert scored(name, on) < ratio * scored(name, off)
