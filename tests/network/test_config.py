"""NetworkConfig: every argument once, checked and as a plain value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network import NetworkConfig, default_patch_length


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("input_chunk_length", 0, "input_chunk_length=0 must be a whole number of at least 1"),
        ("output_chunk_length", 2.0, r"output_chunk_length=2\.0 must be a whole number"),
        ("width", True, "width=True must be a whole number of at least 1"),
        ("width", 20, "width=20 is not a multiple of head_size=16.*Change one"),
        ("head_size", "16", "head_size='16' must be a whole number"),
        ("patch_length", 97, "patch_length=97 is longer than input_chunk_length=96"),
        ("past_covariates", -1, "past_covariates=-1 must be a whole number of at least 0"),
        ("input_chunk_length", 10**9, "input_chunk_length=1000000000 is too large.*1,048,576"),
        ("past_covariates", 2**20 + 1, "past_covariates=1048577 is too large"),
        ("layers", "rwkv7*99999999", "layers='rwkv7.* there can be 500 at most"),
        ("dropout", 1.0, r"dropout=1\.0 must be a probability in \[0, 1\)"),
        ("dropout", "0.1", r"dropout='0\.1' must be a probability"),
        ("dropout", float("nan"), "dropout=nan must be a probability"),
        ("layers_rate", 0, "layers_rate=0 must be above 0 and finite.*layers=None"),
        ("layers_rate", float("nan"), "layers_rate=nan must be above 0 and finite"),
        ("least_scale", -1.0, r"least_scale=-1\.0 must be at least 0, and finite"),
        ("streaming", "no", "streaming='no' must be True or False"),
        ("initial_state", "one", "initial_state='one' must be 'zero', 'learned', or 'static'"),
        ("initial_state", "static", "initial_state='static' needs static covariates"),
        ("layers", "rwkv8", "unknown layer 'rwkv8'"),
        ("components", "all", "components='all' must be 'independent', or 'cross'"),
        ("components", "cross", r"target_components=\(\) must be the names .*='cross'"),
        ("target_components", ("a",), r"target_components=\('a',\) must be .* empty with 'indep"),
        ("covariates", "both", r"covariates='both' must be 'features' .* or 'cross'"),
        ("target_components", "ab", "target_components='ab' must be a list of names"),
        ("target_components", ("a", "a"), r"\('a', 'a'\) must be .* each of them once"),
        ("target_components", (1,), r"target_components=\(1,\) must be a list of names"),
        ("outputs", (), r"outputs=\[\] must be 'location' and 'scale' only, or else ascending"),
        ("outputs", (0.5, 0.1), r"outputs=\[0\.5, 0\.1\] must be"),
        ("outputs", ("location", 0.5), r"outputs=\['location', 0\.5\] must be"),
        ("outputs", (0.0, 0.5), r"outputs=\[0\.0, 0\.5\] must be"),
        ("outputs", (0.5, 1.0), "must be .* ascending probabilities between 0 and 1"),
        ("outputs", ("mean",), r"outputs=\['mean'\] must be"),
    ],
)
def test_a_value_out_of_range_is_named(argument: str, value: Any, message: str) -> None:
    arguments = {"input_chunk_length": 96, "output_chunk_length": 24, argument: value}
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**arguments)
    with pytest.raises(ValueError, match=message):
        RimerNetwork(**arguments)


def test_values_of_numpy_and_of_a_grid_become_plain() -> None:
    config = NetworkConfig(
        np.int64(96),
        np.int32(24),
        width=np.int64(64),
        dropout=np.float32(0.5),
        layers_rate=1,
        outputs=[np.float64(0.1), 0.5],
    )
    assert config == NetworkConfig(
        96, 24, width=64, dropout=0.5, layers_rate=1.0, outputs=(0.1, 0.5)
    )
    assert json.loads(json.dumps(config.to_json())) == config.to_json()


def test_a_config_comes_back_from_its_json() -> None:
    config = NetworkConfig(96, 24, outputs=("location", "scale"), layers=None, streaming=True)
    assert NetworkConfig(**json.loads(json.dumps(config.to_json()))) == config


def test_differences_are_named_but_for_those_of_training_alone() -> None:
    one = NetworkConfig(96, 24, width=64, dropout=0.3)
    other = NetworkConfig(96, 12, width=64, layers_rate=0.1)
    assert list(one.differences(other)) == [("output_chunk_length", (24, 12))]
    named = [name for name, _ in one.differences(other, ignored=())]
    assert named == ["output_chunk_length", "dropout", "layers_rate"]


def test_the_point_forecast_is_the_location_or_the_median() -> None:
    assert NetworkConfig(96, 24, outputs=("scale", "location")).middle == 1
    assert NetworkConfig(96, 24, outputs=(0.1, 0.45, 0.9)).middle == 1


def test_training_prepares_for_streams_where_it_is_told_or_there_is_nothing_to_prepare() -> None:
    assert not NetworkConfig(96, 24).prepared_for_streams
    assert NetworkConfig(96, 24, streaming=True).prepared_for_streams
    assert NetworkConfig(96, 24, layers=None).prepared_for_streams


@pytest.mark.parametrize(
    ("look_back", "patch"),
    [(1, 1), (3, 1), (12, 3), (48, 12), (96, 16), (128, 16), (129, 24), (512, 24)],
)
def test_default_patch_length(look_back: int, patch: int) -> None:
    assert default_patch_length(look_back) == patch
