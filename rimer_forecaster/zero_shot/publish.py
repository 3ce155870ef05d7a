"""Make weights of the package from those of a training: ``... zero_shot.publish --help``."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..network import RimerNetwork
from ..network.weights import load_described_network, read_description, save_weights
from .corpus import FILE, Held, read_held
from .validation import relative_errors, score_of, validation_score

__all__ = ["main", "publish"]


def publish(weights: Path, data: Path, out: Path) -> dict[str, Any]:
    """Write weights in half precision, and in the JSON beside them what is known of them.

    Parameters
    ----------
    weights
        Averaged weights that a training wrote.
    data
        Folder of its corpus.
    out
        File to write; it ends with ``.safetensors``.

    Returns
    -------
    dict
        What the JSON says.
    """
    (network, training), held = load_described_network(weights), read_held(data)
    before = validation_score(network, held)
    network = network.half().float()  # as it will be loaded
    frame = pd.read_parquet(data / FILE)
    frame["values"] = frame["values"].map(len)
    known = {
        "name": out.stem,
        "quantiles": [float(x) for x in network.config.outputs],
        "plan": training["plan"],
        "prior": training["prior"],
        "steps": training["steps"],
        "hours": training["hours"],
        **{key: training[key] for key in ("begun from",) if key in training},
        "machine": f"{platform.machine()}, torch {torch.__version__}, trained on the CPU",
        "validation": {**_validation(network, held), "score in single precision": round(before, 4)},
        "validation of the network alone": _validation(network, held, refine=False),
        "series": {
            split: {
                source: [int(rows["values"].size), int(rows["values"].sum())]
                for source, rows in own.groupby("source")
            }
            for split, own in frame.groupby("split")
        },
    }
    save_weights(network.half(), out, known)
    return read_description(out)


def _validation(
    network: RimerNetwork, held: Sequence[Held], *, refine: bool = True
) -> dict[str, float]:
    """Return the validation score, and the means of which it is one."""
    kinds = relative_errors(network, held, refine=refine)
    return {
        "score": round(score_of(kinds), 4),
        **{kind: round(float(np.exp(np.log(x).mean())), 4) for kind, x in kinds.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Publish as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m rimer_forecaster.zero_shot.publish",
        description="Make weights of the package from those of a training.",
    )
    parser.add_argument("weights", type=Path, help="weights.safetensors of a training")
    parser.add_argument("--data", type=Path, required=True, help="folder of corpus.parquet")
    parser.add_argument("--out", type=Path, required=True, help="file of weights to write")
    arguments = parser.parse_args(argv)
    try:
        known = publish(arguments.weights, arguments.data, arguments.out)
    except (OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")
    print(json.dumps(known["validation"], indent=2))


if __name__ == "__main__":
    main()
