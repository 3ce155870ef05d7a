"""The life of a RimerModel: saved, damaged, killed, resumed, trained on."""

from __future__ import annotations

import pathlib
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import darts_cases
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.darts.archives import check_saved_file
from rimer_forecaster.darts.module import RimerModule
from rimer_forecaster.network.weights import save_weights

TINY = {
    **darts_cases.TINY,
    "input_chunk_length": 12,
    "output_chunk_length": 4,
    "width": 4,
}


def wave(n: int = 100, seed: int = 0) -> TimeSeries:
    values = np.sin(np.arange(n) / 2) + 0.1 * np.random.default_rng(seed).normal(size=n)
    return TimeSeries.from_values(values.astype(np.float32))


def weights(model: RimerModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.network.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


# --- damaged files ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[RimerModel, pathlib.Path]:
    """A fitted model, with a folder that holds what it saved by itself and what was asked for."""
    folder = tmp_path_factory.mktemp("original")
    settings = {**TINY, "n_epochs": 3, "model_name": "m", "work_dir": str(folder)}
    model = RimerModel(**settings, save_checkpoints=True)
    model.fit(wave(), val_series=wave(seed=1))
    model.save(str(folder / "model.pt"))
    kept = folder.rename(folder.with_name("kept"))  # loaded models that train on write elsewhere
    return model, kept


@pytest.fixture
def folder(original: tuple[RimerModel, pathlib.Path], tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of that folder, to spoil."""
    shutil.copytree(original[1], tmp_path / "copy")
    return tmp_path / "copy"


def load(folder: pathlib.Path) -> RimerModel:
    return RimerModel.load(str(folder / "model.pt"))


def load_from_checkpoint(folder: pathlib.Path) -> RimerModel:
    return RimerModel.load_from_checkpoint("m", work_dir=str(folder), best=False)


def load_best_checkpoint(folder: pathlib.Path) -> RimerModel:
    return RimerModel.load_from_checkpoint("m", work_dir=str(folder))


def load_weights(folder: pathlib.Path) -> RimerModel:
    model = RimerModel(**TINY)
    model.load_weights(str(folder / "model.pt"))
    return model


def load_weights_from_checkpoint(folder: pathlib.Path) -> RimerModel:
    model = RimerModel(**TINY)
    model.load_weights_from_checkpoint("m", work_dir=str(folder), best=False)
    return model


FILES: dict[str, tuple[str, Callable[[pathlib.Path], RimerModel]]] = {
    "model": ("model.pt", load),
    "its weights": ("model.pt.ckpt", load),
    "initial model": ("m/_model.pth.tar", load_from_checkpoint),
    "last checkpoint": ("m/checkpoints/last-*", load_from_checkpoint),
}


def spoilt(data: bytes, kind: str) -> Iterator[bytes]:
    chance = random.Random(0)
    for _ in range(1000):
        if kind == "flips":
            spoilt = bytearray(data)
            spoilt[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            yield bytes(spoilt)
        else:
            yield data[: chance.randrange(len(data))]


@pytest.mark.parametrize("kind", ["flips", "truncations"])
@pytest.mark.parametrize("file", FILES)
def test_of_a_thousand_damaged_files_none_gives_another_model(
    file: str, kind: str, original: tuple[RimerModel, pathlib.Path], folder: pathlib.Path
) -> None:
    pattern, loader = FILES[file]
    (path,) = folder.glob(pattern)
    window = torch.from_numpy(wave(12).values()[None])
    expected = weights(original[0]), original[0].model.network.eval()(window)
    loaded = 0
    for data in spoilt(path.read_bytes(), kind):
        path.write_bytes(data)
        try:
            model = loader(folder)
        except Exception:
            continue
        assert kind == "flips"  # of what nobody reads
        loaded += 1
        assert_equal(weights(model), expected[0])
        assert torch.equal(model.network.eval()(window), expected[1])
        if model.training_series is not None:
            np.testing.assert_array_equal(model.training_series.values(), wave().values())
    assert loaded < 400


def damage(path: pathlib.Path) -> None:
    """Flip a bit of a record."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
        content = archive.read(largest)
    data = bytearray(path.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "loader"),
    [
        *FILES.values(),
        ("m/checkpoints/best-*", load_best_checkpoint),
        ("model.pt", load_weights),
        ("model.pt.ckpt", load_weights),
        ("m/_model.pth.tar", load_weights_from_checkpoint),
        ("m/checkpoints/last-*", load_weights_from_checkpoint),
    ],
)
def test_every_loader_names_the_damaged_file_and_the_remedy(
    pattern: str, loader: Callable[[pathlib.Path], RimerModel], folder: pathlib.Path
) -> None:
    loader(folder)
    (path,) = folder.glob(pattern)
    damage(path)
    with pytest.raises(ValueError, match=rf"{path.name}' is damaged .*Take another copy"):
        loader(folder)


def test_a_checkpoint_that_is_damaged_before_the_training_goes_on_is_refused(
    folder: pathlib.Path,
) -> None:
    model = load_from_checkpoint(folder)
    damage(next(folder.glob("m/checkpoints/last-*")))
    with pytest.raises(ValueError, match=r"last-epoch=2\.ckpt' is damaged"):
        model.fit(wave(), epochs=4)


def central_records(data: bytes) -> list[int]:
    return [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]


@pytest.mark.parametrize(
    ("offset", "bit"),
    [
        (38, 0x10),  # a directory: torch would leave memory as it was
        (24, 0x40),  # another size
    ],
)
def test_what_torch_reads_otherwise_than_zipfile_is_refused(
    offset: int, bit: int, folder: pathlib.Path
) -> None:
    path = folder / "model.pt.ckpt"
    data = path.read_bytes()
    for start in central_records(data):
        spoilt = bytearray(data)
        spoilt[start + offset] ^= bit
        path.write_bytes(spoilt)
        with pytest.raises(ValueError, match="is damaged"):
            check_saved_file(path)
    path.write_bytes(data)
    check_saved_file(path)


def test_bytes_after_the_end_and_other_files_are_refused(folder: pathlib.Path) -> None:
    path = folder / "model.pt"
    data = path.read_bytes()
    for content in (data + b"\0", b"", b"text", data[:100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pt' is damaged"):
            check_saved_file(path)
    with pytest.raises(FileNotFoundError):
        RimerModel.load(str(folder / "nothing.pt"))


# --- interrupted training ---------------------------------------------------------------------


def interrupted(step: int, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Begin a training that stops before this step."""
    own, steps = RimerModule.training_step, iter(range(step))

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(steps, None) is None:
            raise ConnectionAbortedError
        return own(self, *args, **kwargs)

    model = RimerModel(**settings)
    with monkeypatch.context() as patch:
        patch.setattr(RimerModule, "training_step", training_step)
        with pytest.raises(ConnectionAbortedError):
            train(model, settings)


def train(model: RimerModel, settings: dict[str, Any]) -> None:
    validation = {"val_series": wave(seed=1)} if "nr_epochs_val_period" in settings else {}
    model.fit(wave(), epochs=settings["n_epochs"], **validation)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"nr_epochs_val_period": 1},
        {"nr_epochs_val_period": 2},
        {"likelihood": QuantileRegression([0.1, 0.5, 0.9]), "layers": "attention", "dropout": 0.5},
        {"optimizer_cls": torch.optim.Adam, "optimizer_kwargs": {"lr": 1e-3}},
        {"enable_finetuning": {"unfreeze": ["*.head.*"]}},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_a_training_goes_on_as_if_it_had_not_been_interrupted(
    settings: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**TINY, "batch_size": 16, "n_epochs": 6, **settings}  # 6 steps an epoch
    whole = RimerModel(**settings)
    train(whole, settings)
    place = {"model_name": "m", "work_dir": str(tmp_path)}
    interrupted(29, monkeypatch, **settings, **place, save_checkpoints=True)
    torch.manual_seed(1)  # another process
    resumed = RimerModel.load_from_checkpoint(**place, best=False)
    before = weights(resumed)
    train(resumed, settings)
    assert resumed.epochs_trained == 6
    assert any(not torch.equal(weight, before[name]) for name, weight in weights(resumed).items())
    assert_equal(weights(resumed), weights(whole))
    assert (
        resumed.trainer.callback_metrics["train_loss"]
        == (whole.trainer.callback_metrics["train_loss"])
    )


def test_the_states_of_generators_are_for_resumed_trainings_alone(folder: pathlib.Path) -> None:
    one, other = load(folder), load(folder)
    one.fit(wave(), epochs=2)
    other._random_instance = np.random.RandomState(7)
    other.fit(wave(), epochs=2)
    assert any(not torch.equal(x, weights(one)[name]) for name, x in weights(other).items())


TRAINING = """
import sys
import numpy as np
from darts import TimeSeries
from rimer_forecaster import RimerModel

work_dir, series, settings = sys.argv[1], TimeSeries.from_values(np.load(sys.argv[2])), {settings}
if sys.argv[3] == "begin":
    model = RimerModel(**settings, model_name="m", work_dir=work_dir, save_checkpoints=True)
else:
    model = RimerModel.load_from_checkpoint("m", work_dir=work_dir, best=False)
print("training", flush=True)
model.fit(series, epochs=settings["n_epochs"])
"""


def kill_in_training(folder: pathlib.Path, how: str, settings: dict[str, Any]) -> None:
    """Train in another process, and kill it at a random moment after its first checkpoint."""
    np.save(folder / "series.npy", wave().values())
    arguments = [str(folder), str(folder / "series.npy"), how]
    code = TRAINING.replace("{settings}", repr(settings))
    last = folder / "m" / "checkpoints"
    before = set(last.glob("last-*"))
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert b"training" in process.stdout.read(9) or process.poll() is None
    while set(last.glob("last-*")) <= before:
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.5))
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with SIGKILL")
def test_killed_twice_the_training_ends_with_the_weights_of_a_whole_one(
    tmp_path: pathlib.Path,
) -> None:
    settings = {**TINY, "n_epochs": 60, "batch_size": 16}
    whole = RimerModel(**settings).fit(wave())
    kill_in_training(tmp_path, "begin", settings)
    kill_in_training(tmp_path, "go on", settings)
    resumed = RimerModel.load_from_checkpoint("m", work_dir=str(tmp_path), best=False)
    resumed.fit(wave(), epochs=60)
    assert_equal(weights(resumed), weights(whole))


def test_a_damaged_checkpoint_can_be_removed_for_the_one_before(folder: pathlib.Path) -> None:
    (last,) = folder.glob("m/checkpoints/last-*")
    newer = last.with_name("last-epoch=3.ckpt")
    newer.write_bytes(last.read_bytes()[:-1])  # killed as it was copied
    with pytest.raises(ValueError, match=r"last-epoch=3\.ckpt' is damaged.*remove this one"):
        load_from_checkpoint(folder)
    newer.unlink()
    load_from_checkpoint(folder)


def test_killed_before_the_first_checkpoint_it_begins_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"model_name": "m", "work_dir": str(tmp_path)}
    settings = {**TINY, **place, "save_checkpoints": True}
    interrupted(1, monkeypatch, **settings)
    with pytest.raises(FileNotFoundError, match="There is no file matching prefix last-"):
        RimerModel.load_from_checkpoint(**place, best=False)
    initial = tmp_path / "m" / "_model.pth.tar"
    initial.write_bytes(initial.read_bytes()[:1000])  # killed earlier still
    with pytest.raises(ValueError, match=r"_model\.pth\.tar' is damaged.*fit the model again"):
        RimerModel.load_from_checkpoint(**place, best=False)
    again = RimerModel(**settings).fit(wave())
    assert_equal(weights(again), weights(RimerModel(**TINY).fit(wave())))
    with pytest.raises(ValueError, match=r"already exists.*force_reset=True"):
        RimerModel(**settings)


# --- weights alone ----------------------------------------------------------------------------


def test_weights_forecast_the_same_in_a_fresh_process(tmp_path: pathlib.Path) -> None:
    model = RimerModel(**TINY).fit(wave())
    path = tmp_path / "w.safetensors"
    model.save_weights(path)
    np.save(tmp_path / "series.npy", wave().values())
    settings = ", ".join(f"{name}={value!r}" for name, value in TINY.items())
    code = f"""
import numpy as np
from darts import TimeSeries
from rimer_forecaster import RimerModel
model = RimerModel({settings})
model.load_weights({str(path)!r})
series = TimeSeries.from_values(np.load({str(tmp_path / "series.npy")!r}))
print(model.predict(8, series=series, verbose=False).values().tobytes().hex())
"""
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert printed[-1] == model.predict(8).values().tobytes().hex()


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


# --- training on ------------------------------------------------------------------------------

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


# --- the same again ---------------------------------------------------------------------------


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


# --- what darts itself does not do: once one fails, docs/guides/darts.md can lose its line ----


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
