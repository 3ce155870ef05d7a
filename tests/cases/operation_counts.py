"""How much a computation does, counted and not timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class Work(NamedTuple):
    """What was counted.

    Attributes
    ----------
    operations
        Calls of torch's operators.
    elements
        Numbers in all their results.
    flops
        Multiplications and additions of matrix products.
    """

    operations: int
    elements: int
    flops: int

    @property
    def total(self) -> int:
        """Elements and flops, which stands for time where neither is everything."""
        return self.elements + self.flops


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.elements += sum(leaf.numel() for leaf in results)
        return out


def work_of(run: Callable[[], object]) -> Work:
    """Count what a computation does; attention counts with all its products."""
    with torch.no_grad(), FlopCounterMode(display=False) as flops, _Counter() as counter:
        run()
    return Work(counter.operations, counter.elements, flops.get_total_flops())
