"""What examples/figures/shared_values.py finds."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def walk() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(60).cumsum()


def test_ten_shared_values_are_found_and_nine_are_not(
    example: Callable[[str], ModuleType], walk: np.ndarray
) -> None:
    sharing = example("shared_values").sharing
    other = np.random.default_rng(1).standard_normal(40)
    for count, found in ((9, set()), (10, {"walk"})):
        seen = np.concatenate((other, walk[20 : 20 + count], other))
        assert sharing({"walk": walk, "other": -other}, [seen]) == found
        assert sharing({"walk": walk}, [seen.astype(np.float32)]) == found


def test_missing_values_hide_no_shared_ones(
    example: Callable[[str], ModuleType], walk: np.ndarray
) -> None:
    sharing = example("shared_values").sharing
    gaps = np.insert(walk[:10], 5, np.nan)
    assert sharing({"gaps": gaps}, [walk]) == {"gaps"}
    assert sharing({"walk": walk}, [gaps]) == {"walk"}


def test_stretches_of_one_value_are_not_shared(example: Callable[[str], ModuleType]) -> None:
    sharing = example("shared_values").sharing
    zeros, rising = np.zeros(30), np.array([*np.zeros(9), 1.0])
    assert sharing({"zeros": zeros}, [zeros]) == set()
    assert sharing({"rising": rising}, [rising[::-1], -rising, [*rising]]) == {"rising"}


def test_a_series_in_other_units_is_alike_and_its_neighbour_is_not(
    example: Callable[[str], ModuleType], walk: np.ndarray
) -> None:
    shared_values = example("shared_values")
    copy = np.round(1000 * walk[15:50] + 7)
    assert shared_values.sharing({"copy": copy}, [walk]) == set()
    assert shared_values.alike({"copy": copy, "back": copy[::-1]}, [walk], 14) == {"copy"}
    copy[17] = np.nan  # parts on either side of it are whole
    assert shared_values.alike({"copy": copy}, [walk], 14) == {"copy"}


def test_lines_and_short_series_are_like_nothing(
    example: Callable[[str], ModuleType], walk: np.ndarray
) -> None:
    alike = example("shared_values").alike
    line = 0.1 * np.arange(40)
    assert alike({"line": line, "short": walk[:14]}, [line + 5, walk], 14) == set()
    assert alike({"long": walk[:15]}, [walk], 14) == {"long"}
