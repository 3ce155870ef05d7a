"""The loss of windows: which are trained on, and which are held back."""

from __future__ import annotations

import pytest
import torch

from rimer_forecaster.layers import State
from rimer_forecaster.lifecycle.windows import OfWindows

H = 3


def windows(seen: list[list[int]]) -> OfWindows:
    """Two series of 40 and 20 steps; windows that read 10 steps, the latest first."""
    left = [*range(H, 31), *range(H, 11)]
    owners = [0] * 28 + [1] * 8

    def loss(places: list[int], start: State | None) -> torch.Tensor:
        seen.append(places)
        return torch.tensor(places, dtype=torch.float32).mean()

    return OfWindows(
        torch.tensor(owners),
        torch.tensor(left),
        torch.tensor([40, 20]),
        horizon=H,
        batch_size=100,
        loss=loss,
    )


def drawn(among: list[int], *, whole: bool) -> list[int]:
    seen: list[list[int]] = []
    generator = torch.Generator().manual_seed(0)
    windows(seen).loss(lambda x: {}, torch.tensor(among), generator, whole=whole)
    return sorted(seen[0])


def test_windows_that_reach_into_what_is_held_back_are_not_trained_on() -> None:
    # A fifth is 8 and 4 steps: a window trains if at least 8 + 3 or 4 + 3 steps follow it.
    assert drawn([0, 1], whole=False) == [*range(8, 28), *range(28 + 4, 36)]
    assert drawn([0, 1], whole=True) == list(range(36))
    assert drawn([1], whole=True) == list(range(28, 36))


def test_held_back_are_the_windows_of_each_series_whose_horizon_lies_in_the_last_fifth() -> None:
    seen: list[list[int]] = []
    losses = windows(seen).held_back(None)
    assert seen == [[0, 1, 2], [3, 4, 5], [28], [29]]  # in two parts
    assert losses.tolist() == [[1.0, 4.0], [28.0, 29.0]]


def test_too_short_series_are_refused() -> None:
    short = OfWindows(
        torch.tensor([0]),
        torch.tensor([3]),
        torch.tensor([10]),
        horizon=H,
        batch_size=1,
        loss=lambda places, start: torch.zeros(()),
    )
    generator = torch.Generator()
    with pytest.raises(ValueError, match="too short to adapt to"):
        short.loss(lambda x: {}, torch.tensor([0]), generator, whole=False)
