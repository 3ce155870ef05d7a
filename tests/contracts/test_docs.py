"""What the documentation shows must run as it stands."""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from rimer_forecaster.layers import LAYERS
from rimer_forecaster.training import Recipe

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs/results/data"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
OTHERS = [ROOT / name for name in ("CHANGELOG.md", "SECURITY.md")]
MODULES = [
    "benchmark.comparison",
    "benchmark.layer_table",
    "benchmark.panel",
    "benchmark.panel_comparison",
    "benchmark.task",
    "layers.registry",
    "network.network",
    "training.recipe",
    "darts.model",
    "darts.stream",
    "diagnostics.report",
    "edge.forecaster",
    "sktime.pretrained",
    "sktime.forecaster",
    "sktime.distribution",
]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def _own_layers() -> Iterator[None]:
    """Layers that a page registers are gone after it: other tests register them anew."""
    before = dict(LAYERS)
    yield
    LAYERS.clear()
    LAYERS.update(before)


@pytest.fixture
def _short_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training whose epochs a page leaves to the default takes one, which shows as much."""
    monkeypatch.setattr(Recipe, "epochs", lambda *_: 1)


@pytest.mark.usefixtures("_own_layers", "_short_trainings")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    absent = find_spec("neuralforecast") is None  # the extra `test` has it on Linux alone
    left_out = [block for block in blocks if absent and "neuralforecast" in block]
    for block in blocks:  # a later one may go on from an earlier one
        if block not in left_out:
            exec(compile(block, page.name, "exec"), namespace)
    if left_out:
        pytest.skip(f"{len(left_out)} of {len(blocks)} blocks need neuralforecast; the others ran")


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


OLDER = {"kernels-cpu.csv"}
"""Measured before tables carried their command, which the page of each names."""


@pytest.mark.parametrize("table", sorted(DATA.glob("*.csv")), ids=lambda table: table.name)
def test_a_committed_table_says_how_it_was_made(table: Path) -> None:
    text = table.read_text(encoding="utf-8")
    columns = text.partition("\n")[0].split(",")
    assert (columns[-2:] == ["machine", "command"]) == (table.name not in OLDER)
    assert any(f"data/{table.name})" in page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.usefixtures("_own_layers")
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(f"rimer_forecaster.{name}")
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 0
    assert results.failed == 0
