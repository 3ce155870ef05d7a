"""The benchmark measures what it says, and nothing that is wrong."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest
import torch

from rimer_forecaster.kernels import benchmark
from rimer_forecaster.kernels.benchmark import Case, cpu_peak_bytes, cpu_rows, main


def test_prints_and_writes_a_ratio_to_the_loop_for_each_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.csv"
    main(["--device", "cpu", "--only", "224x6x8x16", "--repeats", "1", "--csv", str(target)])
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == 2 * ["loop", "chunked", "numba", "auto"]
    for row in rows:
        loop = next(x for x in rows if x["path"] == "loop" and x["pass"] == row["pass"])
        ratio = float(loop["ms"]) / float(row["ms"])
        assert float(row["times faster"]) == pytest.approx(ratio, rel=0.01, abs=0.01)
    assert rows[-1]["target"] == "4"
    reached = float(rows[-1]["times faster"]) >= 4
    assert rows[-1]["reached"] == ("yes" if reached else "no")
    assert rows[0]["torch"] == torch.__version__
    assert "| times faster |" in capsys.readouterr().out


def test_a_path_that_fails_its_check_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "failure", lambda *rest: "output off by 1")
    monkeypatch.setattr(benchmark, "medians", lambda *rest: pytest.fail("it was timed"))
    with pytest.raises(SystemExit, match=r"the check failed: loop, .*off by 1"):
        list(cpu_rows((Case(1, 4, 1, 16),), 1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_peak_memory_of_the_loop_grows_with_the_state_of_each_step() -> None:
    case = Case(1, 1024, 1, 64)
    states = case.steps * 64 * 64 * 4
    assert cpu_peak_bytes("loop", case) > states
    assert cpu_peak_bytes("auto", case) < states / 2


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cpu", "--only", "1x2x3x4"])


def test_the_checks_of_a_card_pass_under_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="the GPU kernels need triton")
    monkeypatch.setattr(benchmark, "LENGTHS", (17,))
    checks = list(itertools.islice(benchmark.gpu_checks("cpu"), 12))  # N = 16, float32
    assert [wrong for _, wrong in checks] == [None] * 12
    assert checks[0][0] == "N=16 torch.float32 T=17 normal, no state"
    assert checks[-1][0] == "N=16 torch.float32 T=17 reflecting, state"
    monkeypatch.setattr(benchmark, "failure", lambda *rest, **device: "output off by 1")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    with pytest.raises(SystemExit, match=r"the check failed: N=16 .*off by 1"):
        next(benchmark.gpu_rows(benchmark.GPU_CASES, 1))
