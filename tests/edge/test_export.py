"""What is exported, what is refused, and what a device does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import darts_cases
import numpy as np
import pandas as pd
import pytest
import sktime_cases
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from network_cases import randomised

from rimer_forecaster import RimerForecaster, RimerModel, RimerNetwork, RimerZeroModel
from rimer_forecaster.edge import EdgeForecaster
from rimer_forecaster.edge.export import export
from rimer_forecaster.edge.network_file import FORMAT, NetworkFile
from rimer_forecaster.zero_shot import zero_shot_network


def network(**arguments: Any) -> RimerNetwork:
    options = {"width": 8, "head_size": 4, "patch_length": 5, **arguments}
    return randomised(RimerNetwork(20, 6, **options)).eval()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge.safetensors"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"past_covariates": 2}, r"covariates \(past_covariates=2\)"),
        ({"future_covariates": 1}, r"covariates \(future_covariates=1\)"),
        ({"static_covariates": 3}, r"covariates \(static_covariates=3\)"),
        ({"past_covariates": 2, "covariates": "cross"}, r"covariates \(past_covariates=2\)"),
        (
            {"components": "cross", "target_components": ("a", "b")},
            r"read each other \(components='cross'\)",
        ),
        ({"outputs": ("location", "scale")}, r"outputs=\['location', 'scale'\] of a distribution"),
        ({"layers": "rwkv7, attention"}, "have a layer 'attention'"),
        ({"layers": "equilibrium(rwkv7)"}, "have a layer 'equilibrium'"),
        ({"layers": "rwkv7(retrospect=2)"}, "rwkv7 with the option 'retrospect'"),
        ({"layers": "rwkv7(key_size=6)"}, r"rwkv7 with more keys than values \(key_size\)"),
    ],
)
def test_what_a_device_cannot_do_is_refused_by_its_name(
    arguments: dict[str, Any], named: str, path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{named}, which the edge does not do"):
        export(network(**arguments), path)
    assert not path.exists()


def test_another_ending_and_weights_that_are_not_finite_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end with \.safetensors"):
        export(network(), path.with_suffix(".bin"))
    net = network()
    with torch.no_grad():
        net.skip.offset[2] = float("nan")
    with pytest.raises(ValueError, match=r"the weights 'skip\.offset' are not finite"):
        export(net, path)


def test_half_precision_is_stored_only_where_it_changes_nothing(path: Path) -> None:
    export(zero_shot_network(), path)
    weights = dict(zero_shot_network().named_parameters())
    stored = NetworkFile.read(path)
    assert {x.dtype for x in stored.arrays.values()} == {np.dtype(np.float16)}
    for name, x in weights.items():
        np.testing.assert_array_equal(stored.weight(name), x.numpy())
    export(network(), path)
    stored = NetworkFile.read(path)
    assert stored.arrays["reader.head.weight"].dtype == np.float32


def test_a_file_of_another_format_says_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rimer_forecaster.edge.network_file.FORMAT", FORMAT + 1)
    export(network(), path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=rf"of format {FORMAT + 1}.*Export the model again"):
        EdgeForecaster(path)


def test_a_file_that_lacks_a_weight_is_named(path: Path) -> None:
    export(network(), path)
    whole = NetworkFile.read(path)
    del whole.arrays["reader.head.weight"]
    whole.write(path, "0")
    with pytest.raises(ValueError, match=r"it lacks 'reader\.head\.weight'"):
        EdgeForecaster(path)


def test_a_darts_model_forecasts_on_a_device_as_its_stream_does(path: Path) -> None:
    series = darts_cases.wave(components=2, level=3.0)
    quantiles = QuantileRegression([0.1, 0.5, 0.9])
    model = RimerModel(**darts_cases.TINY, streaming=True, likelihood=quantiles).fit(series)
    model.export_edge(path)
    edge = EdgeForecaster(path)
    stream = model.stream(series[:-7])
    stream.update(series[-7:])
    state = edge.update(edge.observe(series[:-7].values()), series[-7:].values())
    expected = stream.predict(10, predict_likelihood_parameters=True).values()
    actual = edge.forecast(state, 10).reshape(10, -1)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_zero_shot_model_exports_all_its_quantiles(path: Path) -> None:
    series = darts_cases.wave(level=3.0)
    model = RimerZeroModel((8, 512), 12, **darts_cases.QUIET).fit(series)
    model.export_edge(path)
    edge = EdgeForecaster(path)
    assert edge.outputs == zero_shot_network().config.outputs
    forecast = edge.forecast(edge.observe(series.values()), 12)
    expected = model.stream(series).predict(12).values()
    np.testing.assert_allclose(forecast[..., edge.middle], expected, rtol=1e-4, atol=1e-4)


def test_an_sktime_forecaster_exports_in_the_units_of_y(path: Path) -> None:
    y = sktime_cases.wave(level=300.0) * 50
    forecaster = RimerForecaster(**sktime_cases.TINY, streaming=True)
    forecaster.fit(y, fh=range(1, 9)).export_edge(path)
    edge = EdgeForecaster(path)
    forecast = edge.forecast(edge.observe(y.to_numpy()), 8)
    expected = forecaster.predict_quantiles(alpha=[float(x) for x in edge.outputs])
    np.testing.assert_allclose(
        forecast[:, 0], expected.to_numpy(), rtol=0, atol=1e-4 * y.to_numpy().std()
    )


def test_both_libraries_warn_of_weights_that_no_training_prepared(path: Path) -> None:
    model = RimerModel(**darts_cases.TINY).fit(darts_cases.wave())
    forecaster = RimerForecaster(**sktime_cases.TINY).fit(sktime_cases.wave(), fh=[1])
    for owner in (model, forecaster):
        with pytest.warns(UserWarning, match="not trained for streams") as caught:
            owner.export_edge(path)
        assert caught[0].filename == __file__


def test_both_libraries_name_what_a_device_cannot_do(path: Path) -> None:
    options = {**darts_cases.TINY, "streaming": True}
    model = RimerModel(**options, likelihood=GaussianLikelihood()).fit(darts_cases.wave())
    with pytest.raises(ValueError, match="of a distribution, which the edge does not do"):
        model.export_edge(path)
    with pytest.raises(ValueError, match="it is not fitted"):
        RimerModel(**options).export_edge(path)
    y = sktime_cases.wave()
    X = pd.DataFrame({"x": np.arange(len(y)) % 5.0}, y.index)
    forecaster = RimerForecaster(**sktime_cases.TINY, streaming=True).fit(y, X, fh=[1])
    with pytest.raises(ValueError, match=r"future_covariates=1"):
        forecaster.export_edge(path)


WITHOUT = """
import sys
for name in ("torch", "pandas", "sklearn", "scipy", "darts", "sktime", "pytorch_lightning"):
    sys.modules[name] = None  # as if it were not installed
from rimer_forecaster.edge import EdgeForecaster
edge = EdgeForecaster(sys.argv[1])
state = edge.observe([float(i % 7) for i in range(100)])
edge.save(edge.update(state, [2.0, float("nan")]), sys.argv[2])
print(edge.forecast(edge.load(sys.argv[2]), 100).shape)
print(sorted(name for name in sys.modules if name.startswith("rimer_forecaster")))
"""


def test_a_device_needs_numpy_and_safetensors_alone(path: Path, tmp_path: Path) -> None:
    export(zero_shot_network(), path)
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(path), str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    shape, modules = run.stdout.splitlines()
    assert shape == "(100, 1, 9)"
    assert "rimer_forecaster.edge.export" not in modules
