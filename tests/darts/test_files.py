"""The life of a RimerModel: saved, loaded, trained on."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from file_cases import (
    TINY,
    assert_equal,
    damage,
    load,
    load_from_checkpoint,
    load_weights,
    load_weights_from_checkpoint,
    wave,
    weights,
)

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.darts.module import RimerModule
from rimer_forecaster.network.weights import save_weights


def test_files_forecast_the_same_in_a_fresh_process_without_trust(
    original: tuple[RimerModel, pathlib.Path], folder: pathlib.Path
) -> None:
    model, _ = original
    model.save_weights(folder / "w.safetensors")
    np.save(folder / "series.npy", wave().values())
    settings = ", ".join(f"{name}={value!r}" for name, value in TINY.items())
    code = f"""
import numpy as np
from darts import TimeSeries
from rimer_forecaster import RimerModel
loaded, by_weights = RimerModel.load("model.pt"), RimerModel({settings})
by_weights.load_weights("w.safetensors")
series = TimeSeries.from_values(np.load("series.npy"))
for forecast in (loaded.predict(8, verbose=False), by_weights.predict(8, series, verbose=False)):
    print(forecast.values().tobytes().hex())
"""
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    ).stdout.split()
    assert printed[-2:] == 2 * [model.predict(8).values().tobytes().hex()]


def test_weights_of_a_model_with_every_covariate_and_encoders(tmp_path: pathlib.Path) -> None:
    index = pd.date_range("2020-01-01", periods=100, freq="D")
    series = TimeSeries.from_times_and_values(
        index, wave().values().astype(np.float64), static_covariates=pd.DataFrame({"a": [1.0]})
    )
    covariates = {"past_covariates": series * 2, "future_covariates": series[:100]}
    settings = {**TINY, "add_encoders": {"cyclic": {"future": ["month"]}}}
    model = RimerModel(**settings, initial_state="static")
    model.fit(series[:80], **covariates)
    model.save_weights(tmp_path / "w.safetensors")
    loaded = RimerModel(**settings, initial_state="static")
    loaded.load_weights(str(tmp_path / "w.safetensors"))
    forecasts = [one.predict(4, series=series[:80], **covariates) for one in (model, loaded)]
    np.testing.assert_array_equal(forecasts[0].values(), forecasts[1].values())
    assert loaded.model.dtype == torch.float64
    with pytest.raises(ValueError, match="with add_encoders=True, but this one has add_encoders="):
        RimerModel(**TINY, initial_state="static").load_weights(str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"input_chunk_length": 13}, "input_chunk_length=12, but this one has .*=13"),
        ({"output_chunk_length": 5}, "output_chunk_length=4"),
        ({"layers": "rwkv7*2"}, r"layers='rwkv7\*1', but this one has layers='rwkv7\*2'"),
        ({"width": 8}, "width=4"),
        ({"head_size": 2}, "head_size=4"),
        ({"patch_length": 2}, "patch_length=3"),
        ({"initial_state": "learned"}, "initial_state='zero'"),
        ({"streaming": True}, "streaming=False"),
        ({"likelihood": None}, "likelihood='QuantileRegression'"),
        ({"likelihood": QuantileRegression([0.2, 0.5, 0.8])}, r"outputs=\(0.1.*see likelihood"),
        ({"output_chunk_shift": 1}, "output_chunk_shift=0"),
        ({"use_static_covariates": False}, "use_static_covariates=True"),
    ],
)
def test_the_argument_that_differs_is_named(
    arguments: dict[str, Any], named: str, tmp_path: pathlib.Path
) -> None:
    settings = {**TINY, "likelihood": QuantileRegression([0.1, 0.5, 0.9])}
    model = RimerModel(**settings).fit(wave())
    path = str(tmp_path / "w.safetensors")
    model.save_weights(path)
    other = RimerModel(**{**settings, **arguments})
    with pytest.raises(ValueError, match=rf"w\.safetensors' are of a model with {named}"):
        other.load_weights(path)
    assert other.model is None


@pytest.mark.parametrize("source", ["model.pt", "w.safetensors", "checkpoint"])
def test_arguments_of_training_alone_may_differ(
    source: str, original: tuple[RimerModel, pathlib.Path], folder: pathlib.Path
) -> None:
    """So that what others learnt is trained on more slowly, for one."""
    changed = {"dropout": 0.2, "layers_rate": 0.25}
    model = RimerModel(**{**TINY, **changed})
    if source == "checkpoint":
        model.load_weights_from_checkpoint("m", work_dir=str(folder), best=False)
    else:
        original[0].save_weights(folder / "w.safetensors")
        model.load_weights(str(folder / source))
    assert_equal(weights(model), weights(original[0]))
    own = model.network.config
    assert {name: getattr(own, name) for name in changed} == changed


def test_weights_that_cannot_be_loaded_are_named(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "w.safetensors")
    model = RimerModel(**TINY)
    with pytest.raises(ValueError, match="the model has no network: it is not fitted"):
        model.save_weights(path)
    save_weights(RimerNetwork(12, 4, width=4, head_size=4), path)
    with pytest.raises(ValueError, match="was not saved by RimerModel"):
        model.load_weights(path)
    model.fit(wave()).save_weights(path)
    with pytest.raises(ValueError, match="nothing but the path of safetensors, but got trusted"):
        model.load_weights(path, trusted=True)
    with pytest.raises(ValueError, match=r"must end with \.safetensors"):
        model.save_weights("weights.pt")


HEAD = {"unfreeze": ["*.head.*", "network.skip.*"]}


@pytest.mark.parametrize("source", ["model.pt", "w.safetensors", "checkpoint"])
@pytest.mark.parametrize("frozen", [None, HEAD, {"freeze": ["network.reader.layers.*"]}])
def test_fine_tuning_moves_what_is_not_frozen_and_nothing_else(
    source: str, frozen: Any, original: tuple[RimerModel, pathlib.Path], folder: pathlib.Path
) -> None:
    model = RimerModel(**{**TINY, "n_epochs": 3}, enable_finetuning=frozen)
    if source == "checkpoint":
        model.load_weights_from_checkpoint("m", work_dir=str(folder), best=False)
    else:
        original[0].save_weights(folder / "w.safetensors")
        model.load_weights(str(folder / source))
    before = weights(model)
    assert_equal(before, weights(original[0]))
    model.fit(wave(seed=5))
    assert model.epochs_trained == 3
    moved = {name for name, x in weights(model).items() if not torch.equal(x, before[name])}
    if frozen is None:
        assert moved == before.keys()
    elif frozen is HEAD:
        assert moved == {"reader.head.weight", "skip.weight", "skip.offset"}
    else:
        assert moved == {name for name in before if not name.startswith("reader.layers.")}


def test_what_is_frozen_stays_so_in_a_loaded_model(tmp_path: pathlib.Path) -> None:
    model = RimerModel(**TINY, enable_finetuning=HEAD).fit(wave())
    model.save(str(tmp_path / "model.pt"))
    loaded = RimerModel.load(str(tmp_path / "model.pt"))
    before = weights(loaded)
    loaded.fit(wave(), epochs=2)
    moved = {name for name, x in weights(loaded).items() if not torch.equal(x, before[name])}
    assert moved == {"reader.head.weight", "skip.weight", "skip.offset"}


def test_a_loaded_model_trains_on_by_its_own_loss(folder: pathlib.Path) -> None:
    for model in (load(folder), load_from_checkpoint(folder)):
        assert isinstance(model.model.train_criterion, torch.nn.L1Loss)
        assert isinstance(model.model.val_criterion, torch.nn.L1Loss)


def test_ten_fits_of_one_random_state_are_equal() -> None:
    models = []
    for i in range(10):
        torch.manual_seed(i)  # the process's own state does not matter
        models.append(RimerModel(**{**TINY, "n_epochs": 2}).fit(wave()))
    for model in models[1:]:
        assert_equal(weights(model), weights(models[0]))
    other = RimerModel(**{**TINY, "n_epochs": 2, "random_state": 1}).fit(wave())
    assert not torch.equal(weights(other)["skip.weight"], weights(models[0])["skip.weight"])


def test_every_loader_gives_the_same_forecast(
    original: tuple[RimerModel, pathlib.Path], folder: pathlib.Path
) -> None:
    expected = original[0].predict(8, series=wave(30)).values()
    for loader in (load, load_from_checkpoint, load_weights, load_weights_from_checkpoint):
        forecast = loader(folder).predict(8, series=wave(30))
        np.testing.assert_array_equal(forecast.values(), expected)


def absolute_error(model: RimerModel, series: TimeSeries) -> float:
    """Mean over all windows of a series."""
    windows = torch.from_numpy(series.values()).unfold(0, 16, 1).transpose(1, 2)  # (B, 16, 1)
    with torch.no_grad():
        forecast = model.network.eval()(windows[:, :12])[..., 0]
    return float((forecast - windows[:, 12:]).abs().mean())


def test_best_and_last_checkpoint(tmp_path: pathlib.Path) -> None:
    other = TimeSeries.from_values(np.sin(2.2 * np.arange(100)).astype(np.float32))
    settings = {**TINY, "n_epochs": 4, "optimizer_kwargs": {"lr": 0.01}}
    model = RimerModel(**settings, model_name="m", work_dir=str(tmp_path), save_checkpoints=True)
    model.fit(wave(), val_series=other)  # the more is learnt, the worse
    best, last = (
        RimerModel.load_from_checkpoint("m", work_dir=str(tmp_path), best=best)
        for best in (True, False)
    )
    assert_equal(weights(last), weights(model))
    assert absolute_error(best, other) < absolute_error(last, other)
    (path,) = tmp_path.glob("m/checkpoints/best-epoch=0-val_loss=*")
    of_its_name = float(path.stem.rpartition("=")[2])
    unit = wave().values().std()  # the loss has no units, and other is taken for its end
    assert absolute_error(best, other) / unit == pytest.approx(of_its_name, abs=1e-4)
    of_best = RimerModel(**settings)
    of_best.load_weights_from_checkpoint("m", work_dir=str(tmp_path))
    assert_equal(weights(of_best), weights(best))


def test_a_clean_save_holds_no_series_and_trains_on(folder: pathlib.Path) -> None:
    path = str(folder / "clean.pt")
    load(folder).save(path)  # from a loaded model there is no trainer to ask
    model = RimerModel(**TINY).fit(wave())
    model.save(path, clean=True)
    loaded = RimerModel.load(path, pl_trainer_kwargs=TINY["pl_trainer_kwargs"])
    assert loaded.training_series is None
    with pytest.raises(ValueError, match="Input `series` must be provided"):
        loaded.predict(4)
    assert wave().values().tobytes() not in pathlib.Path(path).read_bytes()
    assert_equal(weights(loaded), weights(model))
    fresh = RimerModel(**TINY)
    fresh.load_weights(path)
    np.testing.assert_array_equal(
        fresh.predict(4, series=wave()).values(), loaded.predict(4, series=wave()).values()
    )
    loaded.fit(wave(), epochs=1)
    damage(pathlib.Path(path + ".ckpt"))
    with pytest.raises(ValueError, match="is damaged"):
        RimerModel.load(path)


@pytest.mark.parametrize("copy", [deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_without_a_network_says_how_to_copy(
    copy: Callable[[RimerModel], RimerModel],
) -> None:
    copied = copy(RimerModel(**TINY).fit(wave()))
    for act in (lambda: copied.predict(4), lambda: copied.save_weights("x.safetensors")):
        with pytest.raises(ValueError, match=r"by pickle or deepcopy, .* save the original"):
            act()


def test_a_model_in_bfloat16_is_not_loaded(tmp_path: pathlib.Path) -> None:
    trainer = {**TINY["pl_trainer_kwargs"], "precision": "bf16-true"}
    RimerModel(**{**TINY, "pl_trainer_kwargs": trainer}).fit(wave()).save(f"{tmp_path}/half.pt")
    with pytest.raises(ValueError, match=r"load dtype `torch.bfloat16`\. Loading for this type"):
        RimerModel.load(f"{tmp_path}/half.pt")


def test_short_rolls_end_in_an_error() -> None:
    model = RimerModel(**TINY).fit(wave())
    assert len(model.predict(8, roll_size=4)) == 8
    with pytest.raises(RuntimeError, match="must match the existing size"):
        model.predict(4, roll_size=2)


def test_checkpoints_restore_the_network(tmp_path: pathlib.Path) -> None:
    settings = {**TINY, "model_name": "m", "work_dir": str(tmp_path), "save_checkpoints": True}
    model = RimerModel(**settings, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    model.fit(wave(), val_series=wave(seed=1))
    loaded = RimerModel.load_from_checkpoint("m", work_dir=str(tmp_path), best=False)
    assert isinstance(loaded.model, RimerModule)
    assert loaded.model.uses_recipe
    parameters = {"predict_likelihood_parameters": True, "series": wave()}
    np.testing.assert_array_equal(
        loaded.predict(4, **parameters).values(), model.predict(4, **parameters).values()
    )
