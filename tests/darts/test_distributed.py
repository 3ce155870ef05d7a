"""RimerModel trained by two processes: on the CPU here, as on two GPUs or two nodes.

Every case is one script, which Lightning starts a second time for the second process; each of the
two writes what it has trained.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")
pytest.importorskip("torch.distributed", reason="two processes need torch.distributed")

SCRIPT = '''
import os
import sys
from pathlib import Path

import numpy as np
import torch
from darts import TimeSeries
from rimer_forecaster import RimerModel

L, H, WINDOWS = 24, 6, 64
CASES = {
    "linear": {"layers": None},
    "layers": {"layers": "rwkv7*2", "initial_state": "learned", "streaming": True},
    "hybrid": {"layers": "rwkv7, attention(window=2)"},
    "equilibrium": {"layers": "equilibrium(rwkv7)"},
}


def wave(components, n, seed):
    noise = np.random.default_rng(seed).normal(size=(n, components))
    angle = 2 * np.pi * np.arange(n)[:, None] / 12
    return TimeSeries.from_values(np.sin(angle + np.arange(components)) + 0.1 * noise)


def fit(case, processes, seed=0):
    """All windows are one batch of all processes: each takes its share, whatever the order."""
    torch.set_num_threads(1)
    trainer = {"accelerator": "cpu", "devices": processes, "logger": False}
    if processes > 1:
        trainer |= {"strategy": "ddp"}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    model = RimerModel(
        L, H, width=8, head_size=4, dropout=0.0, random_state=seed, n_epochs=60,
        batch_size=WINDOWS // processes, pl_trainer_kwargs={**trainer, **quiet},
        optimizer_kwargs={"lr": 1e-2}, **CASES[case],
    )
    series = wave(2, WINDOWS + L + H - 1, 0)
    covariates = wave(1, WINDOWS + L + 2 * H, 1)
    model.fit(series, past_covariates=covariates, future_covariates=covariates)
    weights = {name: x.numpy() for name, x in model.network.state_dict().items()}
    return {"loss": float(model.trainer.callback_metrics["train_loss"]), **weights}, model


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for case in sys.argv[2:]:
        trained, model = fit(case, 2)
        rank = model.trainer.global_rank
        np.savez(folder / f"{case}-{rank}.npz", **trained)
        model.save(str(folder / f"{case}-{rank}.pt"))  # Lightning lets the first one write weights
'''


def namespace() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(SCRIPT, "script", "exec"), names)
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes trained, see the script."""
    folder = tmp_path_factory.mktemp("two_processes")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "script.py", "."]
    done = subprocess.run(
        [*command, *namespace()["CASES"]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("case", ["linear", "layers", "hybrid", "equilibrium"])
def test_two_processes_train_one_model(case: str, folder: Path) -> None:
    """Every parameter takes part in every step: otherwise the processes wait for each other."""
    one, other = (np.load(folder / f"{case}-{rank}.npz") for rank in (0, 1))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_two_processes_train_the_linear_model_as_one_does(folder: Path) -> None:
    """Nothing is drawn, and in float64 the mean of two halves differs in the last digits alone."""
    expected, _ = namespace()["fit"]("linear", 1)
    trained = np.load(folder / "linear-0.npz")
    for name, x in expected.items():
        np.testing.assert_allclose(trained[name], x, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("case", ["layers", "hybrid"])
def test_two_processes_train_layers_as_well_as_one_does(case: str, folder: Path) -> None:
    """Where windows start from and end is drawn, and each process draws for its own half.

    Over six seeds of one process the loss has a standard deviation of 0.7 %.
    """
    expected, _ = namespace()["fit"](case, 1)
    trained = np.load(folder / f"{case}-0.npz")
    assert trained["loss"] == pytest.approx(expected["loss"], rel=0.03)
    assert np.abs(trained["reader.head.weight"]).max() > 0.01  # it starts at zero


def test_a_model_of_two_processes_forecasts_in_one(folder: Path) -> None:
    from rimer_forecaster import RimerModel

    names = namespace()
    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    model = RimerModel.load(str(folder / "linear-0.pt"), pl_trainer_kwargs=quiet)
    _, alone = names["fit"]("linear", 1)
    covariates = {f"{which}_covariates": names["wave"](1, 120, 1) for which in ("past", "future")}
    series = [names["wave"](2, 90, seed) for seed in range(3)]
    covariates = {name: [one] * 3 for name, one in covariates.items()}
    for one, other in zip(
        model.predict(6, series, **covariates), alone.predict(6, series, **covariates), strict=True
    ):
        np.testing.assert_allclose(one.values(), other.values(), rtol=0, atol=1e-7)
