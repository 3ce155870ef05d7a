"""A training that is interrupted goes on from its last checkpoint."""

from __future__ import annotations

import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts.utils.likelihood_models.torch import QuantileRegression
from file_cases import TINY, assert_equal, damage, load, load_from_checkpoint, wave, weights

from rimer_forecaster import RimerModel
from rimer_forecaster.darts.module import RimerModule


def test_a_checkpoint_that_is_damaged_before_the_training_goes_on_is_refused(
    folder: pathlib.Path,
) -> None:
    model = load_from_checkpoint(folder)
    damage(next(folder.glob("m/checkpoints/last-*")))
    with pytest.raises(ValueError, match=r"last-epoch=2\.ckpt' is damaged"):
        model.fit(wave(), epochs=4)


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
