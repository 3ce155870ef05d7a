"""Windows over a collection of series."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("pytorch_lightning", reason="training needs the extra 'sktime'")

from rimer_forecaster.training.windows import Windows

NAN = float("nan")


def ramp(n: int, start: float = 0.0) -> Tensor:
    return torch.arange(start, start + n)[:, None]


def rows(windows: Windows) -> list[list[float]]:
    return windows.__getitems__(list(range(len(windows)))).target[..., 0].tolist()


def same(actual: list[list[float]], expected: list[list[float]]) -> bool:
    return np.array_equal(np.array(actual), np.array(expected), equal_nan=True)


def test_a_long_series_gives_its_whole_windows() -> None:
    windows = Windows([ramp(9)], None, input_chunk_length=3, output_chunk_length=2)
    assert same(rows(windows), [list(range(s, s + 5)) for s in range(5)])


def test_a_short_series_also_gives_padded_windows_from_its_middle_on() -> None:
    windows = Windows([ramp(6)], None, input_chunk_length=4, output_chunk_length=2)
    assert same(rows(windows), [[NAN, NAN, 0, 1, 2, 3], [NAN, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])


def test_a_series_no_longer_than_the_horizon_gives_windows_with_an_open_end() -> None:
    windows = Windows([ramp(3)], None, input_chunk_length=2, output_chunk_length=4)
    assert same(rows(windows), [[NAN, 0, 1, 2, NAN, NAN], [0, 1, 2, NAN, NAN, NAN]])


def test_no_window_reaches_into_another_series() -> None:
    windows = Windows(
        [ramp(2), ramp(9, 100.0), ramp(3, 200.0)], None, input_chunk_length=3, output_chunk_length=4
    )
    for window in rows(windows):
        assert len({int(x // 100) for x in window if x == x}) == 1


def test_covariates_stay_beside_their_targets_and_are_zero_outside() -> None:
    series = [ramp(5, 1.0), ramp(7, 50.0)]
    windows = Windows(series, [10 * x for x in series], input_chunk_length=4, output_chunk_length=3)
    batch = windows.__getitems__(list(range(len(windows))))
    assert batch.covariates is not None
    assert torch.equal(batch.covariates, 10 * batch.target.nan_to_num(0.0))


def test_windows_from_a_given_origin_on() -> None:
    windows = Windows(
        [ramp(9)], None, input_chunk_length=3, output_chunk_length=2, first_origins=[6]
    )
    assert same(rows(windows), [[3, 4, 5, 6, 7], [4, 5, 6, 7, 8]])
