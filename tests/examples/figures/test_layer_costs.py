"""What examples/figures/layer_costs.py measures."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")


def test_a_ratio_is_of_the_medians_without_what_warms_up(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, now = example("layer_costs"), [0.0]
    monkeypatch.setattr(script.time, "process_time", lambda: now[0])
    first, second = iter([9.0, *range(1, 11)]), iter([9.0, *range(2, 22, 2)])

    def spend(seconds: float) -> None:
        now[0] += seconds

    actions = [lambda: spend(next(first)), lambda: spend(next(second))]
    assert script.in_turns(actions, 10) == pytest.approx([5_500, 11_000])


def test_every_cost_is_measured_over_what_it_is_compared_with(
    example: Callable[[str], ModuleType],
) -> None:
    script = example("layer_costs")
    found = list(script.rows((600, 1_200), 2))
    assert len(found) == len(script.STREAMED) + 3 + len(script.WIDTHS)
    for row in found:
        assert row["ratio"] == pytest.approx(row["second"] / row["first"])
        assert row["second"] > 0
