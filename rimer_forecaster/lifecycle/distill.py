"""A small network learns what a large one forecasts, and what it remembers, without labels.

Source: the distillation of Hinton, Vinyals and Dean (2015), arXiv:1503.02531; for the states see
`observer`.

Letters: B windows, L input steps, H output steps, C target components, Q outputs per value,
n covariates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..network import RimerNetwork
from ..network.checks import is_number, plain_size
from ..network.pinball import pinball
from ..training import Recipe
from ..training.recipe import check_trained
from .observer import Observer, read
from .windows import calibration_places

__all__ = ["Distillation", "Unlabelled", "check_teacher", "distill", "forecast_loss"]

_ALIKE = (
    "input_chunk_length", "output_chunk_length", "outputs", "past_covariates", "future_covariates",
    "static_covariates", "squash", "read_gaps", "least_scale", "components", "target_components",
)  # fmt: skip
"""Arguments of the two networks that must be the same: what they read, forecast and scale by."""

_LAST = 0.1
"""Share of the steps that the report is of."""


class Unlabelled(NamedTuple):
    """Windows without what follows them.

    Attributes
    ----------
    inputs
        By the names of `RimerNetwork.forward`: ``past_target``, (B, L, C), and covariates.
    unit
        Of the series that they are of, (B, 1, C) or a number, in which differences count; None for
        that of each window.
    """

    inputs: dict[str, Tensor]
    unit: Tensor | None = None


@dataclass(frozen=True)
class Distillation:
    """How near a small network came to a large one, over the last tenth of the steps.

    Attributes
    ----------
    forecasts
        Mean absolute difference of all outputs, in units of the series.
    states
        Share of the variance of the large network's states that the linear maps leave unexplained;
        None where states were not learnt.
    """

    forecasts: float
    states: float | None


def distill(
    small: RimerNetwork,
    large: RimerNetwork,
    windows: Callable[[list[int]], Unlabelled],
    count: int,
    *,
    steps: int,
    states: float = 0.1,
    batch_size: int = 32,
    recipe: Recipe | None = None,
    generator: torch.Generator | None = None,
) -> Distillation:
    """Train a small network in place on the forecasts and states of a large one.

    Parameters
    ----------
    small
        May have other layers, sizes and patches; is left in evaluation mode.
    large
        Trained; it stays as it is.
    windows
        Gives windows by their numbers.
    count
        How many there are.
    steps
        Of the recipe's optimiser, whose rate falls to zero over them.
    states
        Weight of the states beside the forecasts; 0 for forecasts alone. The memory of each layer
        of the small network after a window, through a linear map that is thrown away afterwards,
        follows that of the large network's layer at the same share of the depth.
    batch_size
        Windows per step.
    recipe
        Whose optimiser and unit of errors are used; the default one if None.
    generator
        Source of the order of windows, of the maps and of dropout; the same for every call if None.

    Raises
    ------
    ValueError
        If the two networks read or forecast something else, a layer has no memory where states are
        to be learnt, an argument is out of range, or the training diverges.
    """
    steps, batch_size = plain_size("steps", steps), plain_size("batch_size", batch_size)
    check_teacher(small, large, states)
    recipe = recipe or Recipe()
    generator = generator or torch.Generator().manual_seed(0)
    observer = None
    if states:
        looked_at = windows(calibration_places(count)).inputs
        observer = Observer(small, large, looked_at, generator)
    optimisers = [recipe.optimisation(small, total_steps=steps)["optimizer"]]
    if observer is not None:
        maps = observer.maps.parameters()
        optimisers.append(torch.optim.AdamW(maps, lr=recipe.learning_rate, weight_decay=0.0))
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(x, steps) for x in optimisers]
    found: list[tuple[float, float]] = []
    with small.in_training(generator), torch.enable_grad():
        for places in _batches(count, batch_size, steps, generator):
            loss, *both = _loss(small, large, windows(places), observer, states, recipe)
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                optimiser.step()
                schedule.step()
            found.append((both[0], both[1]))
    check_trained(small, "Lower the learning rate of the recipe, or look for extreme values.")
    last = torch.tensor(found[-max(1, round(_LAST * steps)) :])
    return Distillation(float(last[:, 0].mean()), float(last[:, 1].nanmean()) if states else None)


def check_teacher(small: RimerNetwork, large: RimerNetwork, states: float) -> None:
    """Raise a ValueError that says why one network cannot learn from another; see `distill`."""
    if not (is_number(states) and 0 <= states < math.inf):
        raise ValueError(
            f"states={states!r} must be at least 0 and finite: it is the weight of the states "
            "beside the forecasts."
        )
    for name, (own, its) in small.config.differences(large.config, ignored=()):
        if name in _ALIKE:
            raise ValueError(
                f"the teacher has {name}={its!r}, but the model that is to learn from it has "
                f"{own!r}: both must read the same windows, and forecast the same in the same "
                "units. Make it with the same."
            )
    if small is large:
        raise ValueError("the teacher is the model itself: give another one.")
    for whose, network in (("the model that is to learn", small), ("the teacher", large)):
        if states and (network.reader is None or not network.reader.layers.memory):
            raise ValueError(
                f"states={states} is for layers with a memory of their own, such as rwkv7 has, but "
                f"{whose} has layers={network.config.layers!r}. Use states=0 for forecasts alone."
            )


def _batches(
    count: int, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Yield the numbers of windows, all of them before one comes again."""
    order: list[int] = []
    for _ in range(steps):
        while len(order) < min(batch_size, count):
            order += torch.randperm(count, generator=generator).tolist()
        yield order[:batch_size]
        del order[:batch_size]


def _loss(
    small: RimerNetwork,
    large: RimerNetwork,
    windows: Unlabelled,
    observer: Observer | None,
    weight: float,
    recipe: Recipe,
) -> tuple[Tensor, float, float]:
    """Return what is minimised, and its two parts; NaN where states are not looked at."""
    with torch.no_grad():
        target, to_follow = read(large.eval(), windows.inputs)
    output, own = read(small, windows.inputs)
    unit = recipe.unit(windows.inputs["past_target"], windows.unit).to(output)[..., None]
    target, output = (_plain(x, small) / unit for x in (target.to(output), output))
    loss, of_states = forecast_loss(output, target, small.config.outputs), math.nan
    loss = loss + small.penalty()
    if observer is not None and len(own) == 1:  # else it began where other windows ended
        remains = observer(own[0], to_follow[0])
        loss, of_states = loss + weight * remains, float(remains.detach())
    return loss, float((output - target).detach().abs().mean()), of_states


def forecast_loss(output: Tensor, target: Tensor, outputs: tuple[str | float, ...]) -> Tensor:
    """Return the loss of a small network's outputs by a large one's, both (B, H, C, Q).

    Q are what `NetworkConfig.outputs` says.

    Quantiles get the quantile loss of a value of the large network's distribution, each of its
    quantiles with the probability that is nearest to it. It is lowest at these quantiles, and where
    the small network cannot tell windows apart, at those of all their distributions together. The
    mean of their quantiles, as least differences have it, would be too narrow.
    """
    if not all(isinstance(x, float) for x in outputs):
        return (output - target).abs().mean()
    levels = output.new_tensor(outputs)
    borders = torch.cat((levels.new_zeros(1), (levels[1:] + levels[:-1]) / 2, levels.new_ones(1)))
    error = target[..., None, :] - output[..., :, None]  # (B, H, C, Q, Q of the large network)
    return (pinball(error, levels[:, None]) * borders.diff()).sum(-1).mean()


def _plain(outputs: Tensor, network: RimerNetwork) -> Tensor:
    """Return outputs, (B, H, C, Q), of which scales are in the units of the series too."""
    is_scale = torch.tensor([x == "scale" for x in network.config.outputs], device=outputs.device)
    return torch.where(is_scale, F.softplus(outputs), outputs)
