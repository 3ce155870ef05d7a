"""From the weights of one network to another of other sizes, whose first forecasts are the same.

Letters: H output steps, Q outputs per value, D width.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from .config import NetworkConfig
from .network import RimerNetwork

__all__ = ["arguments_like", "network_like", "take_over", "trainable_copy"]

Network = TypeVar("Network", bound=RimerNetwork)

_OF_WEIGHTS = (
    "layers", "width", "head_size", "patch_length", "squash", "read_gaps", "initial_state",
    "streaming",
)  # fmt: skip


def network_like(kind: type[Network], network: RimerNetwork) -> Network:
    """Return a network of these arguments; nothing is drawn from the process's generator."""
    with torch.device("cpu"):
        return kind(**network.config.to_json(), generator=torch.Generator())


def trainable_copy(network: RimerNetwork) -> RimerNetwork:
    """Return a network of the same weights, which may be trained."""
    own = network_like(RimerNetwork, network).to(network.dtype)
    own.load_state_dict(network.state_dict())
    return own.to(network.device).train(network.training)


def arguments_like(pretrained: NetworkConfig, input_chunk_length: int) -> dict[str, Any]:
    """Return the arguments that a network must have for `take_over`.

    Parameters
    ----------
    pretrained
        Of the network whose weights are taken.
    input_chunk_length
        L of the network that takes them.
    """
    own = {name: getattr(pretrained, name) for name in _OF_WEIGHTS}
    return {**own, "skip_length": min(pretrained.skip_reach, input_chunk_length)}


@torch.no_grad()
def take_over(own: RimerNetwork, pretrained: RimerNetwork) -> None:
    """Give a network the weights of another; what it has beyond them starts at zero.

    Covariates and other components change no forecast at first. A horizon beyond the pretrained one
    starts as its last step does. An output of another probability starts between those of its
    neighbours, and a location as the median.

    Parameters
    ----------
    own
        Of the arguments of `arguments_like`. Its look-back, horizon, covariates and outputs are its
        own; they must not be scales.
    pretrained
        Of quantiles, or of the same outputs; without covariates, and of independent components. It
        may be compressed.

    Raises
    ------
    ValueError
        If another argument differs, by its name, or the components of the pretrained network read
        each other.
    """
    ours, theirs = own.config, pretrained.config
    needed = arguments_like(theirs, ours.input_chunk_length)
    for name, value in needed.items():
        if getattr(ours, name) != value:
            raise ValueError(
                f"the pretrained weights are of a network with {name}={value!r}, but this one has "
                f"{name}={getattr(ours, name)!r}."
            )
    if theirs.crosses:
        raise ValueError(
            "the pretrained weights are of a network with components='cross', which says something "
            "to its own components alone: begin with weights of 'independent' ones."
        )
    if "scale" in ours.outputs or "scale" in theirs.outputs:
        raise ValueError(
            "pretrained weights forecast quantiles, not the scale of a distribution: use no "
            "likelihood, or quantiles."
        )
    for name, tensor in own.named_parameters():
        weight = _weight_of(pretrained, name)
        if weight is not None and weight.shape == tensor.shape:
            tensor.copy_(weight)
    steps = torch.arange(ours.output_chunk_length).clamp_max(theirs.output_chunk_length - 1)
    mixture = _mixture(ours, theirs).to(pretrained.skip.offset)

    def outputs_of(x: Tensor) -> Tensor:
        """(H * Q, ...) -> (H * Q, ...) of the own steps and outputs."""
        x = x.unflatten(0, (theirs.output_chunk_length, -1))[steps]
        return torch.einsum("oq,hq...->ho...", mixture, x).flatten(0, 1)

    own.skip.offset.copy_(outputs_of(pretrained.skip.offset))
    own.skip.weight.zero_()
    reach = min(own.skip.weight.shape[1], pretrained.skip.weight.shape[1])
    if reach:
        own.skip.weight[:, -reach:] = pretrained.skip.weight[steps, -reach:]
    if own.reader is not None and pretrained.reader is not None:
        own.reader.head.weight.copy_(outputs_of(pretrained.reader.head.weight))
        for embed in (own.reader.embed_covariates, own.reader.embed_static):
            if embed is not None:
                embed.weight.zero_()
    if own.skip.lag_filter is not None:
        own.skip.lag_filter.weight.zero_()


def _weight_of(network: RimerNetwork, name: str) -> Tensor | None:
    """Return a weight by the name that it has where it is not compressed."""
    module, _, leaf = name.rpartition(".")
    try:
        return getattr(network.get_submodule(module), leaf)
    except AttributeError:  # of covariates that this network does not read
        return None


def _mixture(ours: NetworkConfig, theirs: NetworkConfig) -> Tensor:
    """Which of their outputs each of ours starts from, (Q, Q), rows that add up to 1."""
    if ours.outputs == theirs.outputs:
        return torch.eye(len(ours.outputs))
    if "location" in theirs.outputs:
        return torch.ones(len(ours.outputs), 1)
    known = torch.tensor([float(x) for x in theirs.outputs], dtype=torch.float32)
    levels = [0.5 if x == "location" else float(x) for x in ours.outputs]
    wanted = torch.tensor(levels, dtype=torch.float32)
    right = torch.searchsorted(known, wanted).clamp(1, max(1, len(known) - 1))
    if len(known) == 1:
        return torch.ones(len(wanted), 1)
    low, high = known[right - 1], known[right]
    share = ((wanted - low) / (high - low)).clamp(0, 1)
    mixture = known.new_zeros(len(wanted), len(known))
    rows = torch.arange(len(wanted))
    mixture[rows, right - 1] = 1 - share
    mixture[rows, right] += share
    return mixture
