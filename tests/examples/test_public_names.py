"""Examples use what the libraries offer, and patch nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def private_names(tree: ast.AST) -> Iterator[str]:
    """Names with an underscore that are imported, or read from anything but ``self``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            names = [] if of_self else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        else:
            continue
        yield from (name for name in names if name.startswith("_") and name.strip("_") == name[1:])


@pytest.mark.parametrize(
    "script", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_an_example_names_nothing_private_and_patches_nothing(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert list(private_names(ast.parse(text))) == []
    assert "mock" not in text
    assert "monkeypatch" not in text
    assert "setattr(" not in text
