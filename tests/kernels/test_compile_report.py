"""The report on the GPU kernels is made without a card, from the settings that dispatch reads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the GPU kernels need triton")


def test_report_compiles_without_a_card() -> None:
    script = """
from rimer_forecaster.kernels.compile_report import measure, report, variants
for target, label in (("sm_90", "forward one chunk"), ("gfx942", "recurrent_forward")):
    variant = next(v for v in variants(target) if v.label == label)
    print(report([measure(variant)]))
"""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "| sm_90 | forward one chunk | fp32 | 16 |" in done.stdout
    assert "| gfx942 | recurrent_forward | fp32 | 16 |" in done.stdout
