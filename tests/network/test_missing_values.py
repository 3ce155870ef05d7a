"""Marks of missing values, and what stands in for them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rimer_forecaster.network.missing_values import (
    carry_forward,
    interpolated,
    marks_of_observed,
    since_first,
)

NAN = float("nan")


def test_marks_are_of_nan_and_of_what_the_mask_hides() -> None:
    x = torch.tensor([1.0, NAN, 3.0])
    assert marks_of_observed(x).tolist() == [True, False, True]
    hidden = torch.tensor([True, True, False])
    assert marks_of_observed(x, hidden).tolist() == [True, False, False]
    assert marks_of_observed(x[::2]) is None


def test_a_value_is_carried_forward_along_its_own_component() -> None:
    x = torch.tensor([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [4.0, 5.0]])[None]
    expected = torch.tensor([[NAN, 1.0], [2.0, 1.0], [2.0, 1.0], [4.0, 5.0]])[None]
    torch.testing.assert_close(carry_forward(x), expected, equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(missing=st.lists(st.booleans(), min_size=1, max_size=12))
def test_gaps_are_filled_by_lines_as_numpy_does(missing: list[bool]) -> None:
    marks = torch.tensor(missing)
    x = torch.arange(len(missing)).double().square().where(~marks, 0.0)
    filled = interpolated(x, marks)
    observed = np.flatnonzero(~marks.numpy())
    if not observed.size:
        assert torch.equal(filled, x)
        return
    start = observed[0]
    expected = np.interp(np.arange(len(missing)), observed, x.numpy()[observed])
    np.testing.assert_allclose(filled[start:], expected[start:])
    assert torch.equal(filled[:start], x[:start])


def test_everything_since_the_first_mark() -> None:
    assert since_first(torch.tensor([False, True, False])).tolist() == [False, True, True]
