"""The error of examples/figures/panel.py."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")


def test_the_error_of_a_panel_is_one_for_the_error_of_seasonal_naive(
    example: Callable[[str], ModuleType],
) -> None:
    panel, rng = example("panel"), np.random.default_rng(0)
    train = [scale * rng.normal(size=400).cumsum() for scale in (1.0, 1e4)]
    naive = [np.abs(row[24:] - row[:-24]).mean() for row in train]
    actual = rng.normal(size=(2, 48))
    forecasts = actual + np.array([1.0, -3.0])[:, None] * np.array(naive)[:, None]
    assert panel.mase(train, forecasts, actual) == pytest.approx(2.0)
    np.testing.assert_array_equal(panel.naive(train, 24)[1][24:], train[1][-24:])
