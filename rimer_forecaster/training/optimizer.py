"""AdamW for small networks, whose steps are bound by what is done around them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["GroupedAdamW"]

_OPTIONS = "amsgrad", "maximize", "capturable", "differentiable", "foreach"
"""With any of which torch's own way is taken."""


class _Lists(NamedTuple):
    """What torch's fused operation takes of a group, and the memory of all its counts of steps."""

    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    all_steps: Tensor


class GroupedAdamW(torch.optim.AdamW):
    """AdamW whose groups step at their ``ratio`` times the learning rate that they were set.

    A step gives torch's numbers, bit for bit. On a CPU, from the second step on, the lists of
    tensors that torch makes at every step are kept, and all counts of steps, one per parameter, are
    raised by one operation.
    """

    _lists: list[_Lists] | None = None
    _first_state: dict[str, Tensor] | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lists = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; see torch."""
        super().add_param_group(param_group)
        self._lists = None

    def step(self, closure: Any = None) -> Any:
        """Take a step; see torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = self._gradients()
        if gradients is None:
            self._step_of_torch()
            return loss
        assert self._lists is not None
        with torch.no_grad():
            for group, own, grads in zip(self.param_groups, self._lists, gradients, strict=True):
                own.all_steps.add_(1)
                beta1, beta2 = group["betas"]
                torch._fused_adamw_(
                    *(own.parameters, grads, own.averages, own.squares, [], own.steps),
                    lr=group["ratio"] * group["lr"],
                    beta1=beta1,
                    beta2=beta2,
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    amsgrad=False,
                    maximize=False,
                )
        return loss

    def _step_of_torch(self) -> None:
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["ratio"] * group["lr"]
        try:
            super().step()
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate

    def _gradients(self) -> list[list[Tensor]] | None:
        """Return the gradients of the kept lists, or None where torch's own way is to be taken."""
        lists = self._lists
        # Whoever replaces states, as Lightning does, replaces all of them.
        if lists is None or self.state.get(lists[0].parameters[0]) is not self._first_state:
            lists = self._lists = self._gathered()
        if lists is None or getattr(self, "grad_scale", None) is not None:
            return None
        found = [[x.grad for x in own.parameters] for own in lists]
        grads = [[x for x in own if x is not None] for own in found]
        return grads if list(map(len, grads)) == list(map(len, found)) else None

    def _gathered(self) -> list[_Lists] | None:
        """Return the lists, or None where there are none yet or torch's own way is to be taken."""
        parameters = [x for group in self.param_groups for x in group["params"]]
        plain = all(
            group["fused"] and not any(group[x] for x in _OPTIONS) for group in self.param_groups
        )
        kinds = {(x.device.type, x.dtype) for x in parameters}
        if not plain or len(kinds) > 1 or parameters[0].device.type != "cpu":
            return None
        if any("exp_avg" not in self.state.get(x, ()) for x in parameters):
            return None
        self._first_state = self.state[parameters[0]]
        lists = []
        for group in self.param_groups:
            states = [self.state[x] for x in group["params"]]
            all_steps = torch.stack([state["step"] for state in states])
            for state, own in zip(states, all_steps.unbind(), strict=True):
                state["step"] = own
            averages, squares, steps = (
                [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
            )
            lists.append(_Lists(group["params"], averages, squares, steps, all_steps))
        return lists
