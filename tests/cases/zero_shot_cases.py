"""A corpus and a plan so small that a training takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rimer_forecaster.zero_shot.train import Plan

TINY = Plan(
    steps=30, layers="rwkv7*1", width=8, head_size=4, patch_length=8, horizon=8, skip_length=8,
    values=512,
)  # fmt: skip


def made_corpus(folder: Path) -> Path:
    """Write a corpus of two series per frequency: one to train on, and one to validate by."""
    rng = np.random.default_rng(0)
    rows = []
    for i, (freq, season, n) in enumerate(
        [("h", 24, 3000), ("15min", 96, 2500), ("D", 7, 800), ("W", 52, 200), ("MS", 12, 90),
         ("QS", 4, 40), ("YS", 1, 30)] * 2
    ):  # fmt: skip
        values = 50 + 10 * np.sin(2 * np.pi * np.arange(n) / max(season, 2)) + rng.normal(size=n)
        rows.append((f"s{i}", "made", freq, season, "train" if i < 7 else "validation", values))
    columns = ["name", "source", "freq", "season", "split", "values"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "corpus.parquet")
    return folder
