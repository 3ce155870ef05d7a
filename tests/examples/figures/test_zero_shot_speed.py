"""What examples/figures/zero_shot_speed.py times."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")


def test_both_forecast_the_same_series_and_times_are_per_series(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = example("zero_shot_speed")
    seen: list[np.ndarray] = []

    def slow(past: np.ndarray) -> np.ndarray:
        seen.append(past)
        speed.time.sleep(0.2)
        return ours(past)

    ours = speed.contenders([], 1)[speed.OURS]
    monkeypatch.setattr(speed, "contenders", lambda *_: {speed.OURS: ours, "slow": slow})

    table = speed.times(20, 5, 3, 1).set_index("model")

    assert table["series"].to_dict() == {speed.OURS: 20, "slow": 5}
    np.testing.assert_array_equal(seen[1], speed.hours(20)[:5, : speed.VALUES])
    assert len(seen) == 1 + 3  # once to see whether it is right
    assert (table["fastest"] <= table["seconds"]).all()
    assert table.loc["slow", "seconds"] >= 0.2
    each = table["seconds"] / table["series"]
    np.testing.assert_allclose(table["per series, times zero-shot"], each / each[speed.OURS])


def test_what_is_no_better_than_naive_is_not_timed(example: Callable[[str], ModuleType]) -> None:
    speed = example("zero_shot_speed")

    with pytest.raises(ValueError, match="zeros has a MASE of"):
        speed.check(
            {"zeros": lambda past: np.zeros((len(past), speed.HORIZON, 3))}, [0.1, 0.5, 0.9]
        )
