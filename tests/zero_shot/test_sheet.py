"""The data sheet of the weights says what their file says."""

from __future__ import annotations

from pathlib import Path

from rimer_forecaster.zero_shot import describe

PAGE = (Path(__file__).parents[2] / "docs/results/zero-shot.md").read_text(encoding="utf-8")


def test_the_sheet_is_of_these_weights() -> None:
    known = describe()
    sheet = PAGE.partition("<!-- sheet -->")[2]
    assert known["sha256"] in sheet
    assert f"{known['steps']:,} steps" in sheet
    assert f"version {known['prior']} of the prior" in sheet
    assert f"| {known['validation']['score']:.3f} |" in sheet


def test_the_sheet_names_every_source() -> None:
    for split in describe()["series"].values():
        for source, (count, _) in split.items():
            assert f"github.com/{source}" in PAGE, source
            assert f"{count:,}" in PAGE, source
