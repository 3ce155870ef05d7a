"""The reference lists every public name, or says why not."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs/reference.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)
LEFT_OUT = re.findall(r"`(rimer_forecaster\.\S+?)`", PAGE.partition("## Names that are not")[2])
PUBLIC = [
    "rimer_forecaster",
    *(
        f"rimer_forecaster.{name}"
        for name in (
            "benchmark",
            "darts",
            "diagnostics",
            "kernels",
            "layers",
            "lifecycle",
            "network",
            "sktime",
            "training",
            "zero_shot",
        )
    ),
]


def found(path: str) -> Any:
    """What a path of the page stands for; mkdocs reads kernels/ where it lies in the checkout."""
    path = path if path.startswith("rimer_forecaster.") else f"rimer_forecaster.{path}"
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    module = importlib.import_module(name)
    listed = [id(found(path)) for path in LISTED]
    public = {f"{name}.{x}": id(getattr(module, x)) for x in module.__all__}
    assert [x for x in public if public[x] not in listed and x not in LEFT_OUT] == []


def test_what_is_left_out_is_public_and_not_listed() -> None:
    assert LEFT_OUT
    for path in LEFT_OUT:
        module, _, name = path.rpartition(".")
        assert name in importlib.import_module(module).__all__
        assert path not in LISTED
