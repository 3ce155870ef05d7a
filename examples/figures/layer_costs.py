"""What streams, fusions and perspectives cost: the three claims about costs of layers.md.

    python examples/figures/layer_costs.py [--tokens 10000 100000] [--repeats 200] [--output FOLDER]

- Updates: one stream reads the fewer tokens, another one the more. Then both take one token in
  turns, and the medians of their processor time are compared.
- Fusion: a pass forward and back through `parallel`, and through its layers one by one, in turns;
  64 sequences of 64 tokens.
- Perspectives: parameters that one more of them adds, by width, against those of the layers.

On one thread. Writes layer-costs.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from records import write_table

from rimer_forecaster.benchmark import versions
from rimer_forecaster.layers import Stack, State, build_layers

WIDTH, HEAD_SIZE = 32, 16
STREAMED = ("rwkv7", "attention(topk=3, chunk=64)")
BRANCHES = ("attention(window=64)", "rwkv7")
WIDTHS = (16, 32, 48, 64, 128)
AT_ONCE = 500
"""Tokens of a history that are read in one pass."""


def stack_of(layers: str, width: int = WIDTH) -> Stack:
    """Return layers with the weights of their start."""
    stack = build_layers(layers, width=width, head_size=HEAD_SIZE)
    stack.reset_parameters(torch.Generator().manual_seed(0))
    return stack


def in_turns(actions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median milliseconds of processor time of each action; all meet the same load."""
    times: list[list[float]] = [[] for _ in actions]
    for repeat in range(repeats + repeats // 10):
        for own, act in zip(times, actions, strict=True):
            begun = time.process_time()
            act()
            if repeat >= repeats // 10:  # the first ones warm up
                own.append(1e3 * (time.process_time() - begun))
    return [median(own) for own in times]


@torch.inference_mode()
def updates(layers: str, tokens: Sequence[int], repeats: int) -> dict[str, Any]:
    """Time the update of a stream after fewer and after more tokens."""
    stack, generator = stack_of(layers).eval(), torch.Generator().manual_seed(1)

    def after(n: int) -> State:
        state = stack.init_state(1)
        for first in range(0, n, AT_ONCE):
            x = torch.randn(1, min(AT_ONCE, n - first), WIDTH, generator=generator)
            _, state = stack(x, state)
        return state

    states = [after(n) for n in tokens]
    token = torch.randn(1, 1, WIDTH, generator=generator)
    early, late = in_turns([lambda s=s: stack(token, s) for s in states], repeats)
    return {
        "cost": f"update after {tokens[1]:,} tokens over that after {tokens[0]:,}",
        "layers": layers,
        "first": early,
        "second": late,
        "unit": "ms",
        "ratio": late / early,
    }


def fusion(fuse: str, repeats: int) -> dict[str, Any]:
    """Time a fusion against the sum of its layers."""
    whole = f"parallel({', '.join(BRANCHES)}; fuse={fuse})"
    stacks = [stack_of(layers) for layers in (*BRANCHES, whole)]
    x = torch.randn(64, 64, WIDTH, generator=torch.Generator().manual_seed(1), requires_grad=True)
    actions = [lambda s=s: s(x)[0].square().mean().backward() for s in stacks]
    first, second, fused = in_turns(actions, max(10, repeats // 5))
    return {
        "cost": "forward and back over the sum of its layers",
        "layers": whole,
        "first": first + second,
        "second": fused,
        "unit": "ms",
        "ratio": fused / (first + second),
    }


def perspective(width: int) -> dict[str, Any]:
    """Count the parameters of one more perspective."""
    own, two, three = (
        sum(parameter.numel() for parameter in stack_of(layers, width).parameters())
        for layers in (
            "rwkv7",
            "perspectives(rwkv7; lags=1+7)",
            "perspectives(rwkv7; lags=1+7+28)",
        )
    )
    return {
        "cost": f"one more perspective over its layers, width {width}",
        "layers": "perspectives(rwkv7)",
        "first": own,
        "second": three - two,
        "unit": "parameters",
        "ratio": (three - two) / own,
    }


def rows(tokens: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """Measure everything."""
    for layers in STREAMED:
        yield updates(layers, tokens, repeats)
    for fuse in ("gated", "add", "concat"):
        yield fusion(fuse, repeats)
    for width in WIDTHS:
        yield perspective(width)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--tokens", type=int, nargs=2, default=(10_000, 100_000))
    options.add_argument("--repeats", type=int, default=200)
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Measure, print and write."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "layer-costs.csv"
    found = []
    for row in rows(arguments.tokens, arguments.repeats):
        found.append(row)
        print(row, flush=True)
        write_table(pd.DataFrame(found), path)
    print(f"{versions()}\nwrote {path}")


if __name__ == "__main__":
    main()
