"""The runs and the table of examples/figures/layer_accuracy.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")

from rimer_forecaster.layers import LAYERS, check_layers

SMALL = ["--steps", "2", "--panel-steps", "2", "--panel-batch", "8", "--seeds", "1"]


def test_every_registered_layer_has_a_row(example: Callable[[str], ModuleType]) -> None:
    rows = example("layer_accuracy").LAYERS.values()
    assert None in rows, "the linear skip alone is a row of every table"
    for layers in filter(None, rows):
        check_layers(layers, width=32, head_size=16)
    absent = {name for name in LAYERS if not any(name in (layers or "") for layers in rows)}
    assert absent == set()


def test_means_and_spreads_are_those_of_the_seeds_of_one_data_set(
    example: Callable[[str], ModuleType],
) -> None:
    script = example("layer_accuracy")
    runs = [
        {"layers": name, "data": data, "seed": seed, error: value + seed, "parameters": 5}
        for name, value in (("rwkv7", 1.0), ("gru", 3.0))
        for data, error in (("ETTh1", "MSE"), ("M4 hourly", "MASE"))
        for seed in range(3)
    ]
    table = script.summarise(runs).set_index("layers")
    assert list(table.index) == ["rwkv7", "gru"]
    assert list(table["ETTh1: MSE"]) == [2.0, 4.0]
    assert list(table["M4 hourly: MASE spread"]) == [2.0, 2.0]
    assert list(table["M4 hourly: seeds"]) == [3, 3]


def test_an_interrupted_script_goes_on_and_has_the_same_table(
    example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, made = example("layer_accuracy"), []
    panel_of = script.on_panel

    def counted(*arguments: object, **options: object) -> dict[str, float]:
        made.append(arguments)
        if len(made) == 2:
            raise KeyboardInterrupt
        return panel_of(*arguments, **options)

    monkeypatch.setattr(script, "on_panel", counted)
    options = [*SMALL, "--layers", "rlinear", "gru", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["examples/figures/layer_accuracy.py", *options])
    with pytest.raises(KeyboardInterrupt):
        script.main()
    before = pd.read_csv(tmp_path / "layer-accuracy.csv").set_index("layers")
    assert list(before.index) == ["seasonal naive", "rlinear"]
    assert before["M4 hourly: MASE"].notna().all()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--kept"])
    script.main()
    assert len(made) == 2, "what is there is shown without training"
    monkeypatch.setattr(sys, "argv", sys.argv[:-1])
    script.main()
    after = pd.read_csv(tmp_path / "layer-accuracy.csv").set_index("layers")
    assert len(made) == 3, "only what was interrupted is made again"
    assert after["M4 hourly: MASE"].notna().all()
    assert after["ETTh1: MSE"].notna().all()
    same = "M4 hourly: MASE"
    assert after.loc["rlinear", same] == before.loc["rlinear", same]
