"""Imports go one way, from the adapters of the two libraries down to the kernels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "rimer_forecaster"

LEVELS: list[set[str]] = [
    {"__main__", "benchmark"},
    {"darts", "sktime"},
    {"lifecycle"},
    {"diagnostics", "training", "zero_shot"},
    {"network"},
    {"layers.__init__"},
    {"layers.combinators", "layers.mixers"},
    {"layers.registry"},
    {"layers.block"},
    {"layers.protocol", "layers.layer_string", "layers.parts"},
    {"kernels"},
    {"version"},
]
"""From the top. A file imports from its own unit and from lower levels, and from no other."""


class Import(NamedTuple):
    """One module imports another.

    Attributes
    ----------
    source, target
        Names of modules.
    runs
        Whether the import ever runs: one that is for type checkers alone does not.
    """

    source: str
    target: str
    runs: bool

    def __str__(self) -> str:
        return f"{self.source} imports {self.target}"


def modules_of(root: Path) -> dict[str, Path]:
    """Files by the name of their module, as they are installed."""
    found = {}
    for folder, name in ((PACKAGE, PACKAGE), ("kernels", f"{PACKAGE}.kernels")):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join((name, *parts)).removesuffix(".__init__")] = path
    return found


class Reader(ast.NodeVisitor):
    """Collects what a module imports of the package, at its head and in its functions."""

    def __init__(self, module: str, modules: dict[str, Path]) -> None:
        self.module, self.modules = module, modules
        self.is_package = modules[module].name == "__init__.py"
        self.runs = True
        self.found: list[Import] = []

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)
            return
        self.runs = False
        for statement in node.body:
            self.visit(statement)
        self.runs = True
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        start = node.module or ""
        if node.level:
            parts = self.module.split(".")
            above = node.level - self.is_package
            start = ".".join([*parts[: len(parts) - above], *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{start}.{alias.name}"
            self.add(inner if inner in self.modules else start)

    def add(self, target: str) -> None:
        if target.partition(".")[0] == PACKAGE:
            assert target in self.modules, f"{self.module} imports {target}, which is no file here"
            self.found.append(Import(self.module, target, self.runs))


def imports_of(root: Path) -> Iterator[Import]:
    modules = modules_of(root)
    for module, path in modules.items():
        reader = Reader(module, modules)
        reader.visit(ast.parse(path.read_text(encoding="utf-8")))
        yield from reader.found


def circle_of(imports: list[Import]) -> list[str]:
    """Modules in a ring, each of which imports the next; none if there is no ring."""
    graph: dict[str, set[str]] = {}
    for one in imports:
        if one.runs:
            graph.setdefault(one.source, set()).add(one.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def place_of(module: str) -> tuple[int, str]:
    """Number of the level, from the top, and the unit on it that a module belongs to."""
    inside = module.removeprefix(f"{PACKAGE}.")
    inside = "layers.__init__" if inside == "layers" else inside
    for level, units in enumerate(LEVELS):
        for unit in units:
            if f"{inside}.".startswith(f"{unit}."):
                return level, unit
    raise AssertionError(f"{module} is on no level: add it to LEVELS.")


def upward(imports: list[Import]) -> list[str]:
    """Imports that go up, or to the side."""
    wrong = []
    for one in imports:
        if PACKAGE in (one.source, one.target):
            continue  # it holds names alone, see below
        (own, unit), (other, its_unit) = place_of(one.source), place_of(one.target)
        if other <= own and unit != its_unit:
            wrong.append(str(one))
    return wrong


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return list(imports_of(ROOT))


def test_no_files_import_each_other_in_a_circle(imports: list[Import]) -> None:
    assert circle_of(imports) == []


def test_no_import_goes_up(imports: list[Import]) -> None:
    assert upward(imports) == []


def test_the_package_itself_imports_its_version_alone_before_it_is_asked(
    imports: list[Import],
) -> None:
    own = {one.target for one in imports if one.source == PACKAGE and one.runs}
    assert own <= {f"{PACKAGE}.version"}


def test_every_folder_and_every_file_of_the_layers_has_a_level() -> None:
    assert {place_of(module)[0] for module in modules_of(ROOT) if module != PACKAGE} == set(
        range(len(LEVELS))
    )


def tree(root: Path, **files: str) -> list[Import]:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(imports_of(root))


@pytest.mark.parametrize("text", ["from .a import x", "def f():\n    from . import a"])
def test_a_circle_is_found_also_through_a_function(tmp_path: Path, text: str) -> None:
    folder = "rimer_forecaster__network__"
    found = tree(tmp_path, **{f"{folder}a": "from .b import y", f"{folder}b": text})
    ring = circle_of(found)
    assert ring[0] == ring[-1]
    assert set(ring) == {"rimer_forecaster.network.a", "rimer_forecaster.network.b"}


def test_an_import_for_type_checkers_closes_no_circle_but_may_not_go_up(tmp_path: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..darts.a import x"
    files = {"network__b": guarded, "darts__a": "from ..network.b import y"}
    found = tree(tmp_path, **{f"rimer_forecaster__{name}": text for name, text in files.items()})
    assert circle_of(found) == []
    assert upward(found) == ["rimer_forecaster.network.b imports rimer_forecaster.darts.a"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("kernels__a", "rimer_forecaster__layers__protocol"),
        ("rimer_forecaster__darts__a", "rimer_forecaster__sktime__b"),
        ("rimer_forecaster__layers__block", "rimer_forecaster__layers__mixers__b"),
        ("rimer_forecaster__layers__parts__a", "rimer_forecaster__layers__protocol"),
    ],
)
def test_an_import_up_or_to_the_side_is_found(tmp_path: Path, source: str, target: str) -> None:
    found = tree(tmp_path, **{target: "", source: f"import {target.replace('__', '.')}"})
    assert len(upward(found)) == 1
