"""From what the network puts out to the parameters of darts' likelihoods.

For every distribution the network gives a location and a scale in the units of the series, whose
scale they therefore follow. This module turns them into the parameters of the distribution whose
mean and standard deviation they are.

Letters: B windows, H output steps, C components, Q parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression, TorchLikelihood
from torch import Tensor, nn

from ..layers.parts.exportable import softplus
from ..network.scale import scaled_softplus_input
from .likelihood_families import FAMILIES, Family

__all__ = ["LikelihoodHead", "LikelihoodParameters"]


class LikelihoodHead:
    """What the network is to put out for a likelihood of darts, and what becomes of it.

    Parameters
    ----------
    likelihood
        One of darts' own, or None for a point forecast.
    input_chunk_length
        Steps of a window.

    Raises
    ------
    ValueError
        If the likelihood is of a class whose parameters have no known moments.

    Attributes
    ----------
    outputs, least_scale
        See `NetworkConfig`.
    has_units
        Whether the loss can be taken in any units. That of counts, of shares and of a likelihood
        with priors cannot: they are of the values as they come.
    is_joint
        Whether the loss of a value depends on the component it belongs to.
    """

    def __init__(self, likelihood: TorchLikelihood | None, input_chunk_length: int) -> None:
        self._kind: type[TorchLikelihood] | None = None
        self.outputs: tuple[str | float, ...] = ("location",)
        self.least_scale = 0.0
        self.is_joint = False
        self.has_units = True
        if likelihood is None:
            return
        if isinstance(likelihood, QuantileRegression):
            self.outputs = tuple(likelihood.quantiles)
            return
        if type(likelihood) not in FAMILIES:
            known = ", ".join(sorted(cls.__name__ for cls in (QuantileRegression, *FAMILIES)))
            raise ValueError(
                f"likelihood={likelihood!r} is not one whose parameters RimerModel can give in the "
                "units of the series; use None, or an object such as QuantileRegression([0.1, 0.5, "
                f"0.9]) of one of {known}."
            )
        self._kind = type(likelihood)
        self.outputs = ("location", "scale")
        if FAMILIES[self._kind].counts:
            self.least_scale = input_chunk_length**-0.5  # of a window with a single event
        # A prior may differ between components, and a Dirichlet distribution is over all of them.
        priors = [prior for prior in likelihood._prior_params or () if prior is not None]
        self.is_joint = self._family.joint or any(map(_has_axes, priors))
        self.has_units = self._family.any_unit and not priors

    @property
    def _family(self) -> Family:
        """Looked up by class: other processes are sent no functions."""
        return FAMILIES[self._kind] if self._kind is not None else Family(None)

    @property
    def are_parameters(self) -> list[bool]:
        """Which of the likelihood's inputs are its parameters as they are: locations, quantiles."""
        untouched = self._family.inputs is None
        return [untouched and output != "scale" for output in self.outputs]

    def check_support(self, series: Sequence[TimeSeries]) -> None:
        """Raise a ValueError that names the first value which cannot come from the distribution."""
        if self._kind is None or self._family.support is None:
            return
        words, holds = self._family.support
        for i, one in enumerate(series):
            values = torch.from_numpy(one.values(copy=False))  # (n, C)
            impossible = (~holds(values) & ~values.isnan()).nonzero().tolist()
            if impossible:
                time, component = impossible[0]
                raise ValueError(
                    f"series {i} has {len(impossible)} values that {self._kind.__name__} cannot be "
                    f"of, the first in component {one.components[component]!r} at "
                    f"{one.time_index[time]}: {values[time, component]}. It is for {words}; choose "
                    "another likelihood, for example QuantileRegression."
                )

    def __call__(self, output: Tensor) -> Tensor:
        """Turn the network's output into the likelihood's input, both (B, H, C, Q)."""
        inputs = self._family.inputs
        return output if inputs is None else torch.stack(inputs(*self._moments(output)), -1)

    def in_units(self, output: Tensor, unit: Tensor) -> Tensor:
        """Return the network's output, (B, H, C, Q), in units of the series, (B, 1, C)."""
        unit = unit[..., None]
        if "scale" not in self.outputs:
            return output / unit
        location, scale = output.split(1, -1)
        return torch.cat((location / unit, scaled_softplus_input(scale, 1 / unit)), -1)

    def point(self, output: Tensor, middle: int) -> Tensor:
        """Return the point forecast, (B, H, C, Q) -> (B, H, C).

        Parameters
        ----------
        output
            Of the network.
        middle
            `NetworkConfig.middle`.
        """
        return output[..., middle] if self._family.inputs is None else self._moments(output)[0]

    def _moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the distribution."""
        location, deviation = output[..., 0], softplus(output[..., 1])
        mean = _positive_part(location, deviation)
        if self._family.shares:
            rest = _positive_part(1 - location, deviation)
            edge = torch.finfo(mean.dtype).eps
            mean = (mean / (mean + rest)).clamp(edge, 1 - edge)
        return mean, deviation


class LikelihoodParameters(nn.Module):
    """What a module puts out as the parameters of a likelihood, (B, H, C, Q)."""

    are_parameters: Tensor

    def __init__(
        self, module: nn.Module, likelihood: TorchLikelihood, head: LikelihoodHead
    ) -> None:
        super().__init__()
        self.module, self.likelihood = module, likelihood
        self.register_buffer("are_parameters", torch.tensor(head.are_parameters))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Take what the module takes."""
        outputs = self.module(*inputs)
        # ONNX Runtime, for which this is, has no softplus in float64.
        parameters = self.likelihood.predict_likelihood_parameters(outputs.float())
        parameters = parameters.view(*outputs.shape[:3], -1)
        return torch.where(self.are_parameters, outputs, parameters)


def _positive_part(x: Tensor, unit: Tensor) -> Tensor:
    """Near x where it is some units above zero, and positive everywhere."""
    tiny = torch.finfo(x.dtype).tiny ** 0.5
    return (unit * softplus(x / unit.clamp_min(tiny))).clamp_min(tiny)


def _has_axes(prior: object) -> bool:
    return torch.as_tensor(prior).ndim > 0
