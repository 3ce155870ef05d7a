"""Batches, and a training that is killed."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from zero_shot_cases import TINY, made_corpus

from rimer_forecaster.network.dense import dense_forecast
from rimer_forecaster.network.weights import read_description
from rimer_forecaster.zero_shot.batches import Batch, Batches
from rimer_forecaster.zero_shot.corpus import Corpus, kind_of, read_held
from rimer_forecaster.zero_shot.train import QUANTILES, Plan, Training, build, loss_of, main, train

pytest.importorskip("pyarrow", reason="a corpus is a parquet file, which needs pyarrow")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_corpus(tmp_path_factory.mktemp("corpus"))


def _batches(data, first, last, values=4096, **kwargs):
    arguments = {"seed": 0, "values": values, "horizon": 64, "patch_length": 16} | kwargs
    with ThreadPoolExecutor(1) as executor:
        batches = Batches(Corpus(data), executor=executor, **arguments)
        return list(batches.from_step(first, last))


def test_a_batch_is_a_function_of_its_seed_and_step(data):
    whole, tail = _batches(data, 0, 12), _batches(data, 9, 12)

    for one, other in zip(whole[9:], tail, strict=True):
        assert one.steps == other.steps
        np.testing.assert_array_equal(one.read, other.read)
        np.testing.assert_array_equal(one.truth, other.truth)
    assert any(
        not np.array_equal(one.read, other.read, equal_nan=True)
        for one, other in zip(whole, _batches(data, 0, 12, seed=1), strict=True)
    )


def test_batches_hide_values_of_which_the_truth_is_known_and_begin_and_end_anywhere(data):
    batches = _batches(data, 0, 60)

    hidden = [(np.isnan(x.read) & ~np.isnan(x.truth)) for x in batches]
    assert 0.02 < np.mean([x.any(1).mean() for x in hidden]) < 0.2
    for x in batches:
        seen = ~np.isnan(x.read)
        np.testing.assert_array_equal(x.read[seen], x.truth[seen])
        assert x.read.shape == x.truth.shape
        assert 0 <= x.read.shape[1] - 64 - x.steps < 16
    assert {x.read.shape[1] - 64 for x in batches} == {128, 256, 512, 1024, 2048}
    assert len({x.steps % 16 for x in batches}) > 5
    starts = np.concatenate([np.argmax(~np.isnan(x.truth), 1) % 16 for x in batches])
    assert len(set(starts)) == 16


def test_series_of_the_corpus_that_are_held_back_are_in_no_batch(data):
    frame = pd.read_parquet(data / "corpus.parquet")
    frame.loc[frame["split"] == "validation", "values"] = None
    changed = data.parent / "changed"
    changed.mkdir()
    frame["values"] = [np.full(50, np.nan) if x is None else x for x in frame["values"]]
    frame.to_parquet(changed / "corpus.parquet")

    for one, other in zip(_batches(data, 0, 5), _batches(changed, 0, 5), strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)


def test_short_series_can_be_read_and_have_something_to_be_compared_with(data):
    x = Corpus(data).windows(0, 0, 200, 128, 64)

    observed = ~np.isnan(x)
    short = observed.sum(1) < 100
    assert short.any()
    assert (observed[short, :128].sum(1) >= 8).mean() > 0.95  # some lose values on purpose
    assert observed[short, 128:].any(1).mean() > 0.4


def test_a_share_of_the_steps_reads_short_windows_of_slow_series(data):
    lengths = [x.read.shape[1] - 64 for x in _batches(data, 0, 200, values=512, short=0.4)]
    assert 0.3 < lengths.count(64) / 200 < 0.5

    frame = pd.read_parquet(data / "corpus.parquet")
    fast = frame["freq"].map(kind_of).isin(["hourly", "faster", "daily"])
    frame["values"] = [0 * x if own else x for x, own in zip(frame["values"], fast, strict=True)]
    flat = data.parent / "flat"
    flat.mkdir()
    frame.to_parquet(flat / "corpus.parquet")
    short, long = (np.nanstd(Corpus(flat).windows(0, 0, 100, n, 64), axis=1) for n in (64, 128))
    assert short.min() > 0
    assert long.min() == 0


def test_windows_have_no_unit(data):
    frame = pd.read_parquet(data / "corpus.parquet")
    frame["values"] = [1e3 + 1e4 * x for x in frame["values"]]
    scaled = data.parent / "scaled"
    scaled.mkdir()
    frame.to_parquet(scaled / "corpus.parquet")

    one, other = (Corpus(x).windows(0, 0, 30, 128, 64) for x in (data, scaled))

    np.testing.assert_allclose(one, other, atol=2e-2)


@pytest.mark.parametrize(
    ("freq", "kind"),
    [("h", "hourly"), ("30min", "faster"), ("D", "daily"), ("B", "daily"), ("W-SUN", "weekly"),
     ("MS", "monthly"), ("ME", "monthly"), ("QS-OCT", "quarterly"), ("YE-DEC", "yearly")],
)  # fmt: skip
def test_frequencies_have_kinds(freq, kind):
    assert kind_of(freq) == kind


def test_held_rows_are_split_before_their_horizon(data):
    held = read_held(data)

    sizes = {row.freq: (len(row.past), len(row.future)) for row in held}
    assert sizes == {
        "h": (2952, 48), "15min": (2452, 48), "D": (770, 30), "W": (187, 13), "MS": (72, 18),
        "QS": (32, 8), "YS": (24, 6),
    }  # fmt: skip


def test_a_missing_corpus_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"name the folder that holds corpus\.parquet"):
        Corpus(tmp_path)


def test_the_loss_is_that_of_each_origin_and_step_in_squashed_units():
    network = build(TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator()))
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 40)).cumsum(1).astype(np.float32)
    truth[0, :9] = np.nan  # origin 8 saw nothing, and does not count
    truth[1, 20:23] = np.nan
    read = truth.copy()
    read[2, 24:] = np.nan  # hidden, but known

    loss = loss_of(network, Batch(read, truth, 32))

    forecast = dense_forecast(network, torch.from_numpy(read)[..., None], steps=32)
    total, count = 0.0, 0
    for b in range(3):
        for t, end in enumerate(forecast.ends.tolist()):
            past = read[b, :end][~np.isnan(read[b, :end])]
            if len(past) < 4:
                continue
            for h in range(8):
                if np.isnan(truth[b, end + h]):
                    continue
                value = np.arcsinh((truth[b, end + h] - past.mean()) / past.std())
                errors = value - forecast.outputs[b, 0, t, h].detach().numpy()
                q = np.array(QUANTILES)
                total += np.maximum(q * errors, (q - 1) * errors).mean()
                count += 1
    assert loss.item() == pytest.approx(total / count, rel=1e-4)


def test_the_learning_rate_rises_stays_and_falls_to_zero():
    plan = Plan(steps=10_000, fall=0.3)

    rates = [plan.rate_at(step) for step in range(plan.steps + 1)]

    assert rates[0] == pytest.approx(plan.rate / 300)
    assert set(rates[300:7000]) == {plan.rate}
    assert rates[8500] == pytest.approx(plan.rate / 2)
    assert rates[-1] == 0


def test_training_lowers_the_loss_and_its_average_of_weights_follows(data):
    training = Training(Plan(**{**vars(TINY), "steps": 200, "width": 16}), "cpu")
    batches = _batches(data, 0, 200, values=2048, horizon=8, patch_length=8)

    losses = [training.take_step(batch) for batch in batches]

    assert np.mean(losses[-30:]) < 0.9 * np.mean(losses[:30])
    gap = torch.cat(
        [
            (x - training.average[name]).flatten()
            for name, x in training.network.state_dict().items()
        ]
    )
    assert 0 < gap.abs().max() < 0.5


def _command(data, out, *more):
    return [
        sys.executable, "-m", "rimer_forecaster.zero_shot.train", "--data", str(data), "--out",
        str(out), "--threads", "1", *more,
    ]  # fmt: skip


def _options(plan):
    return [
        x
        for name, value in vars(plan).items()
        if not isinstance(value, bool)
        for x in (f"--{name.replace('_', '-')}", str(value))
    ]


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_to_the_same_weights(data, tmp_path):
    plan = _options(Plan(**{**vars(TINY), "steps": 150}))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(_command(data, whole, *plan), check=True, capture_output=True)

    process = subprocess.Popen(
        _command(data, killed, *plan, "--checkpoint-seconds", "0"), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    step = torch.load(killed / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < step < 150
    subprocess.run(_command(data, killed, "--resume"), check=True, capture_output=True)

    one, other = (load_file(x / "weights.safetensors") for x in (whole, killed))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_minutes_end_a_run_with_a_checkpoint_that_goes_on(data, tmp_path):
    train(data, tmp_path, TINY, minutes=0)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < first < TINY.steps

    train(data, tmp_path, TINY, resume=True)
    parts = load_file(tmp_path / "weights.safetensors")
    train(data, tmp_path / "whole", TINY)

    for name, tensor in load_file(tmp_path / "whole" / "weights.safetensors").items():
        assert torch.equal(tensor, parts[name]), name
    assert len((tmp_path / "progress.csv").read_text().splitlines()) == 1


def test_steps_may_change_only_before_the_rate_falls(data, tmp_path):
    train(data, tmp_path, TINY, minutes=0)

    path = train(data, tmp_path, TINY, resume=True, steps=40)
    assert torch.load(path.with_name("checkpoint.pt"), weights_only=True)["step"] == 40
    with pytest.raises(ValueError, match="the learning rate would jump"):
        train(data, tmp_path, TINY, resume=True, steps=80)


def test_what_would_be_overwritten_or_is_not_there_is_refused(data, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="to resume"):
        train(data, tmp_path, TINY, resume=True)
    train(data, tmp_path, TINY, minutes=0)
    with pytest.raises(FileExistsError, match="resume it, or name another folder"):
        train(data, tmp_path, TINY)
    with pytest.raises(SystemExit):
        main(["--data", str(data), "--out", str(tmp_path), "--resume", "--width", "16"])
    assert "a resumed run keeps its plan: leave out width" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--data", "x", "--out", str(tmp_path), "--resume", "--begin-from", "y.safetensors"])
    assert "leave out begin_from" in capsys.readouterr().err


def test_a_training_may_begin_from_the_weights_of_another(data, tmp_path):
    first = train(data, tmp_path / "first", TINY)
    plan = replace(TINY, seed=1, rate=1e-12, averaging=0.0, weight_decay=0.0)

    second = train(data, tmp_path / "second", plan, begin_from=first)

    earlier, later = read_description(first), read_description(second)
    for name, tensor in load_file(first).items():
        assert torch.allclose(tensor, load_file(second)[name], atol=1e-6), name
    assert later["steps"] == 2 * TINY.steps
    assert later["begun from"] == {x: earlier[x] for x in later["begun from"]}
    assert later["begun from"]["fingerprint"] == earlier["fingerprint"]
    resumed = Training.load(second.with_name("checkpoint.pt"), "cpu", None)
    assert resumed.begun_from == later["begun from"]
    third = train(data, tmp_path / "more", plan, begin_from=second)
    assert read_description(third)["begun from"]["begun from"] == later["begun from"]
    with pytest.raises(ValueError, match="does not fit the plan"):
        train(data, tmp_path / "third", replace(TINY, width=64), begin_from=first)


def test_the_weights_of_the_lowest_validation_score_are_kept(data, tmp_path, monkeypatch):
    """In a run that is interrupted too."""
    scores = chain([0.8, 0.7, 0.9], repeat(0.75))
    module = sys.modules["rimer_forecaster.zero_shot.train"]
    monkeypatch.setattr(module, "validation_score", lambda *_: next(scores))
    every = TINY.steps // 4
    train(data, tmp_path, TINY, minutes=0, steps_between=every)
    train(data, tmp_path, TINY, resume=True, steps_between=every)

    best = read_description(tmp_path / "best.safetensors")
    assert (best["validation"], best["steps"]) == (0.7, 2 * every)
    one, other = (load_file(tmp_path / f"{x}.safetensors") for x in ("best", "weights"))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())
