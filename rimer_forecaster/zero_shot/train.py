"""Train zero-shot weights: ``python -m rimer_forecaster.zero_shot.train --help``.

Every patch end of every series is an origin of forecasts (`dense_forecast`), and the loss is that
of quantiles in the units of what came before it. A run may be killed at any moment and resumed: it
goes on from its last checkpoint to the weights of an undisturbed run.

The learning rate rises over `_WARM_UP` steps, stays, and falls to zero over the last part of the
steps. A resumed run may be given another number of steps, as long as the fall has not begun.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..network import RimerNetwork
from ..network.dense import dense_forecast
from ..network.weights import load_described_network, save_weights
from . import prior
from .batches import Batch, Batches
from .corpus import Corpus, read_held
from .validation import validation_score

__all__ = ["QUANTILES", "Plan", "build", "loss_of", "main", "train"]

QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""Probabilities that the weights forecast."""

LONGEST = 2048
"""Steps that a scale is taken from, and a window may have, at most."""

_WARM_UP = 300


@dataclass(frozen=True)
class Plan:
    """What makes one training, and its weights.

    Attributes
    ----------
    steps
        Of the optimiser.
    fall
        Share of them over which the learning rate falls to zero.
    seed
        Of initial weights and of batches.
    layers, width, head_size, patch_length, horizon, skip_length
        Of the network.
    values
        Of a batch.
    rate, weight_decay, averaging
        Of AdamW, on matrices alone, and share of the average of weights that a step leaves.
    short
        Share of the steps that read 64 values, see `Batches`.
    half
        Whether layers compute in bfloat16.
    """

    steps: int = 100_000
    fall: float = 0.3
    seed: int = 0
    layers: str = "rwkv7*4"
    width: int = 96
    head_size: int = 32
    patch_length: int = 16
    horizon: int = 64
    skip_length: int = 64
    values: int = 65_536
    rate: float = 2e-3
    weight_decay: float = 0.05
    averaging: float = 0.999
    short: float = 0.0
    half: bool = False

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        falling = (self.steps - step) / (self.fall * self.steps)
        return self.rate * min(1.0, (step + 1) / _WARM_UP, falling)


def build(plan: Plan) -> RimerNetwork:
    """Return the network of a plan, with its initial weights."""
    return RimerNetwork(
        LONGEST,
        plan.horizon,
        outputs=QUANTILES,
        layers=plan.layers,
        width=plan.width,
        head_size=plan.head_size,
        patch_length=plan.patch_length,
        dropout=0.0,
        streaming=True,
        skip_length=plan.skip_length,
        squash=True,
        read_gaps=True,
        generator=torch.Generator().manual_seed(plan.seed),
    )


def loss_of(network: RimerNetwork, batch: Batch, half: bool = False) -> Tensor:
    """Return the mean quantile loss over all origins, in squashed units of what came before."""
    device = network.device
    read, truth = (torch.from_numpy(x)[..., None].to(device) for x in (batch.read, batch.truth))
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        forecast = dense_forecast(network, read, steps=batch.steps)
    probabilities = torch.tensor(QUANTILES, device=device)
    losses, counts = forecast.quantile_losses(truth, probabilities, squash=True)
    return losses.sum() / counts.sum().clamp_min(1)


class Training:
    """Network, average of weights and optimiser between two steps."""

    def __init__(self, plan: Plan, device: str) -> None:
        self.plan, self.step, self.seconds = plan, 0, 0.0
        self.begun_from: dict[str, Any] = {}
        self.network = build(plan).to(device)
        self.average = {name: x.clone() for name, x in self.network.state_dict().items()}
        parameters = list(self.network.parameters())
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [x for x in parameters if x.ndim >= 2],
                    "weight_decay": plan.weight_decay,
                },
                {"params": [x for x in parameters if x.ndim < 2], "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
            fused=True,
        )

    def begin_from(self, path: Path) -> None:
        """Take weights of an earlier training, which a new rise of the rate trains on."""
        network, known = load_described_network(path)
        try:
            self.network.load_state_dict(network.float().state_dict())
        except RuntimeError as error:
            raise ValueError(f"{str(path)!r} does not fit the plan: {error}") from error
        self.average = {name: x.clone() for name, x in self.network.state_dict().items()}
        kept = ("fingerprint", "plan", "prior", "steps", "hours", "begun from")
        self.begun_from = {key: known[key] for key in kept if key in known}

    def take_step(self, batch: Batch) -> float:
        """Train on one batch; return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        loss = loss_of(self.network, batch, self.plan.half)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0, error_if_nonfinite=True)
        self.optimizer.step()
        kept = min(self.plan.averaging, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            own = self.network.state_dict()
            torch._foreach_lerp_(list(self.average.values()), list(own.values()), 1 - kept)
        self.step += 1
        return loss.item()

    def averaged(self) -> RimerNetwork:
        """Return a network of the averaged weights, on the CPU."""
        network = build(self.plan)
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write all of it, as one file that is there in whole or not at all."""
        state = {
            "plan": asdict(self.plan),
            "prior": prior.VERSION,
            "step": self.step,
            "seconds": self.seconds,
            "begun_from": self.begun_from,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        beside = path.with_suffix(".part")
        with beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    @classmethod
    def load(cls, path: Path, device: str, steps: int | None) -> Training:
        """Read what `save` wrote; ``steps`` replaces those of its plan."""
        state = torch.load(path, map_location=device, weights_only=True)
        plan = Plan(**state["plan"])
        if state["prior"] != prior.VERSION:
            raise ValueError(
                f"{str(path)!r} was trained on version {state['prior']} of the prior, and this is "
                f"version {prior.VERSION}: begin anew, in another folder."
            )
        if steps is not None and steps != plan.steps:
            begins = math.ceil(min(steps, plan.steps) * (1 - plan.fall))
            if state["step"] > begins:
                raise ValueError(
                    f"steps={steps} cannot replace {plan.steps}: after {state['step']} steps the "
                    "learning rate would jump, because its fall has begun or would have. Take more "
                    "steps, or those that it was begun with."
                )
            plan = replace(plan, steps=steps)
        training = cls(plan, device)
        training.step, training.seconds = state["step"], state["seconds"]
        training.begun_from = state["begun_from"]
        training.network.load_state_dict(state["network"])
        training.average = state["average"]
        training.optimizer.load_state_dict(state["optimizer"])
        return training


def train(
    data: Path,
    out: Path,
    plan: Plan,
    *,
    minutes: float = math.inf,
    resume: bool = False,
    begin_from: Path | None = None,
    steps: int | None = None,
    device: str = "cpu",
    workers: int = 0,
    seconds_between: float = 180.0,
    steps_between: int = 2000,
) -> Path:
    """Train until the steps of the plan are taken, or for some minutes.

    Parameters
    ----------
    data
        Folder of the corpus.
    out
        Folder for ``checkpoint.pt``, the averaged ``weights.safetensors`` with their JSON,
        ``best.safetensors``, those of the lowest validation score, and ``progress.csv``: step,
        seconds, loss and validation score.
    plan
        What is trained, unless an earlier run is resumed.
    minutes
        After which this run stops, with a checkpoint.
    resume
        Whether to go on from the checkpoint in ``out``.
    begin_from
        Weights of an earlier training of such a network, which a new one begins with; give it
        another seed, which draws other batches.
    steps
        Other number of steps for a resumed run.
    device
        Of torch.
    workers
        Processes that draw batches; 0 draws them in a thread.
    seconds_between, steps_between
        Between two checkpoints, and between two validations.

    Returns
    -------
    path
        Of the weights.

    Raises
    ------
    FileExistsError
        If ``out`` holds a checkpoint and ``resume`` is False.
    FileNotFoundError
        If there is none to resume, or no corpus.
    """
    checkpoint = out / "checkpoint.pt"
    if resume and not checkpoint.exists():
        raise FileNotFoundError(f"there is no {str(checkpoint)!r} to resume.")
    if not resume and checkpoint.exists():
        raise FileExistsError(f"{str(checkpoint)!r} exists: resume it, or name another folder.")
    out.mkdir(parents=True, exist_ok=True)
    corpus, held = Corpus(data), read_held(data)
    training = Training.load(checkpoint, device, steps) if resume else Training(plan, device)
    if begin_from is not None and not resume:
        training.begin_from(begin_from)
    plan = training.plan
    stop = _Stop()
    executor: Executor = ProcessPoolExecutor(workers) if workers else ThreadPoolExecutor(1)
    began = saved = told = time.monotonic()
    before, first = training.seconds, training.step
    losses: list[float] = []
    recent: deque[float] = deque(maxlen=200)
    with executor:
        batches = Batches(
            corpus,
            seed=plan.seed,
            values=plan.values,
            horizon=plan.horizon,
            patch_length=plan.patch_length,
            short=plan.short,
            executor=executor,
        )
        series = 0
        for batch in batches.from_step(first, plan.steps, ahead=2 + 2 * workers):
            losses.append(training.take_step(batch))
            recent.append(losses[-1])
            series += len(batch.read)
            now = time.monotonic()
            training.seconds = before + now - began
            done = training.step == plan.steps
            if training.step % steps_between == 0 or done:
                _validate(training, held, out, losses)
                losses.clear()
            if now - told > 30 or done:
                pace = (now - began) / (training.step - first)
                left = min((plan.steps - training.step) * pace, minutes * 60 - (now - began))
                print(
                    f"step {training.step}/{plan.steps}  loss {np.mean(recent):.4f}  "
                    f"{series / (now - began):.0f} series/s  {left / 60:.0f} min left",
                    flush=True,
                )
                told = now
            over = stop.asked or now - began > minutes * 60
            if done or over or now - saved > seconds_between:
                training.save(checkpoint)
                saved = now
            if over:
                break
        executor.shutdown(cancel_futures=True)
    return _write(training, out)


class _Stop:
    """Whether SIGTERM or SIGINT came: the run then stops with a checkpoint."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _validate(training: Training, held: Sequence[Any], out: Path, losses: list[float]) -> None:
    score = validation_score(training.averaged(), held)
    _write(training, out, score)
    loss = float(np.mean(losses))
    print(f"step {training.step}: validation {score:.4f}, loss {loss:.4f}", flush=True)
    progress = out / "progress.csv"
    earlier = progress.read_text().splitlines() if progress.exists() else []
    if all(score < float(line.split(",")[-1]) for line in earlier):
        _write(training, out, score, "best.safetensors")
    with progress.open("a") as file:
        print(f"{training.step},{training.seconds:.0f},{loss:.5f},{score:.5f}", file=file)


def _write(
    training: Training, out: Path, score: float | None = None, name: str = "weights.safetensors"
) -> Path:
    path, before = out / name, training.begun_from
    save_weights(
        training.averaged(),
        path,
        {
            "plan": asdict(training.plan),
            "prior": prior.VERSION,
            "steps": training.step + before.get("steps", 0),
            "hours": round(training.seconds / 3600 + before.get("hours", 0), 2),
            **({"begun from": before} if before else {}),
            **({} if score is None else {"validation": round(score, 5)}),
        },
    )
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m rimer_forecaster.zero_shot.train",
        description="Train weights that forecast series never seen.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of corpus.parquet")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint and weights")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after these")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--begin-from", type=Path, help="weights of an earlier training")
    parser.add_argument("--device", default="cpu", help="of torch (cpu)")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw batches (0)")
    parser.add_argument("--threads", type=int, help="of torch (as torch has it)")
    parser.add_argument("--checkpoint-seconds", type=float, default=180.0, help="between two (180)")
    parser.add_argument("--validate-steps", type=int, default=2000, help="between two (2000)")
    for name, default in asdict(Plan()).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true", default=None)
        else:
            parser.add_argument(option, type=type(default), help=f"({default})")
    arguments = vars(parser.parse_args(argv))
    given = {name: arguments[name] for name in asdict(Plan()) if arguments[name] is not None}
    own = sorted(given.keys() - {"steps"}) + ["begin_from"] * bool(arguments["begin_from"])
    if arguments["resume"] and own:
        parser.error(f"a resumed run keeps its plan: leave out {', '.join(own)}")
    if arguments["threads"]:
        torch.set_num_threads(arguments["threads"])
    try:
        path = train(
            arguments["data"],
            arguments["out"],
            Plan(**given),
            minutes=arguments["minutes"],
            resume=arguments["resume"],
            begin_from=arguments["begin_from"],
            steps=given.get("steps"),
            device=arguments["device"],
            workers=arguments["workers"],
            seconds_between=arguments["checkpoint_seconds"],
            steps_between=arguments["validate_steps"],
        )
    except (OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")
    print(json.dumps({"weights": str(path)}))


if __name__ == "__main__":
    main()
