"""Scripts directly in examples/ are short enough to copy, and run as they stand."""

from __future__ import annotations

import ast
import logging
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
WRITTEN = {
    "live_feed": {"live_feed.pt", "live_feed.pt.ckpt", "live_feed.safetensors"},
    "panel": {"panel.safetensors", "panel.json"},
    "quickstart": {"quickstart.png"},
}

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


@each_script
def test_a_short_script_is_short_and_reads_from_top_to_bottom(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) < 80
    assert 3 <= len((ast.get_docstring(tree) or "").splitlines()) <= 4  # with an empty one
    nested = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
    assert not any(isinstance(node, nested) for node in ast.walk(tree))
    others = {path.stem for path in EXAMPLES.glob("*/*.py")}
    imported = {
        name.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert not imported & (others | {"argparse"})


@each_script
def test_a_short_script_reads_one_variable_of_the_environment(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert text.count("environ") == 1
    assert re.search(r'^epochs = int\(os\.environ\.get\("RIMER_EPOCHS", 0\)\) or ', text, re.M)


@pytest.fixture
def _own_remarks() -> Iterator[None]:
    """What a script silences is heard again after it."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    yield
    logging.captureWarnings(False)
    logger.setLevel(level)


@pytest.mark.slow
@pytest.mark.usefixtures("_own_remarks")
@each_script
def test_a_short_script_runs(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for extra in ("darts", "sktime", "statsmodels"):
        pytest.importorskip(extra, reason=f"the scripts need {extra}")
    monkeypatch.setenv("RIMER_EPOCHS", "1")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert "seasonal naive" in printed.splitlines()[-1]
    assert "nan" not in printed.lower()
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN.get(script.stem, set())
