"""What an optimiser remembers of its gradients, by the names of a network's parameters.

A training that goes on with other parameters, some of which are larger, cannot take it over by
their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..network import RimerNetwork
from .recipe import parameter_groups

__all__ = ["Moments", "give_moments", "moments_in", "moments_of"]

Moments: TypeAlias = dict[str, dict[str, Tensor]]
"""By the name of a parameter, then of the moment: ``step``, a number, and those of its shape."""


def moments_of(network: RimerNetwork, optimizer: torch.optim.Optimizer) -> Moments:
    """Return the moments of those parameters of a network that the optimiser has moved."""
    states = optimizer.state
    return {name: dict(states[x]) for name, x in network.named_parameters() if x in states}


def moments_in(network: RimerNetwork, saved: Mapping[str, Any]) -> Moments:
    """Return the moments in the ``state_dict`` of an optimiser of the recipe.

    Parameters
    ----------
    network
        Which it trained.
    saved
        Holds parameters by their number in the recipe's groups.
    """
    groups = parameter_groups(network, weight_decay=0.0)
    names = {x: name for name, x in network.named_parameters()}
    order = [names[x] for group in groups for x in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    if len(order) != len(numbers):
        return {}
    known = saved["state"]
    pairs = zip(order, numbers, strict=True)
    return {name: dict(known[number]) for name, number in pairs if number in known}


def give_moments(network: RimerNetwork, optimizer: torch.optim.Optimizer, moments: Moments) -> None:
    """Let an optimiser that has not moved yet go on from moments; parameters without begin anew."""
    for name, x in network.named_parameters():
        if name in moments and x.requires_grad:
            optimizer.state[x] = {
                key: value.clone().to(x.device, value.dtype if key == "step" else x.dtype)
                for key, value in moments[name].items()
            }
