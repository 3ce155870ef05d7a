"""From what the network puts out to the parameters of darts' likelihoods.

For every distribution the network gives a location and a scale in the units of the series, whose
scale they therefore follow. This module turns them into the parameters of the distribution whose
mean and standard deviation they are, and those into the inputs of darts' softplus and sigmoid.

Letters: B windows, H output steps, C components, Q parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    BernoulliLikelihood,
    BetaLikelihood,
    CauchyLikelihood,
    ContinuousBernoulliLikelihood,
    DirichletLikelihood,
    ExponentialLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GeometricLikelihood,
    GumbelLikelihood,
    HalfNormalLikelihood,
    LaplaceLikelihood,
    LogNormalLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
    TorchLikelihood,
    WeibullLikelihood,
)
from torch import Tensor, nn

from ..layers.parts.exportable import softplus
from ..network.scale import scaled_softplus_input, softplus_input

__all__ = ["LikelihoodHead", "LikelihoodParameters"]

Moments: TypeAlias = Callable[[Tensor, Tensor], list[Tensor]]
"""Mean and standard deviation, (B, H, C) each, to the Q inputs of a likelihood."""


class _Support(NamedTuple):
    """Which values a distribution can take, (n, C), in words and as a check of each."""

    words: str
    holds: Callable[[Tensor], Tensor]


class _Family(NamedTuple):
    """A distribution.

    Attributes
    ----------
    inputs
        From its mean and standard deviation to what darts makes its parameters of; None where those
        are a location and a scale already.
    support
        Which values it can take; None for all.
    shares
        Whether its mean lies between 0 and 1.
    counts
        Whether it is of events: a window without any must be able to foretell some.
    joint
        Whether it is of all components at once, which add up to 1.
    """

    inputs: Moments | None
    support: _Support | None = None
    shares: bool = False
    counts: bool = False
    joint: bool = False

    @property
    def any_unit(self) -> bool:
        """Whether values times a constant are of the same family."""
        return not self.shares and not self.counts and not self.joint


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
        if type(likelihood) not in _FAMILIES:
            known = ", ".join(sorted(cls.__name__ for cls in (QuantileRegression, *_FAMILIES)))
            raise ValueError(
                f"likelihood={likelihood!r} is not one whose parameters RimerModel can give in the "
                "units of the series; use None, or an object such as QuantileRegression([0.1, 0.5, "
                f"0.9]) of one of {known}."
            )
        self._kind = type(likelihood)
        self.outputs = ("location", "scale")
        if _FAMILIES[self._kind].counts:
            self.least_scale = input_chunk_length**-0.5  # of a window with a single event
        # A prior may differ between components, and a Dirichlet distribution is over all of them.
        priors = [prior for prior in likelihood._prior_params or () if prior is not None]
        self.is_joint = self._family.joint or any(map(_has_axes, priors))
        self.has_units = self._family.any_unit and not priors

    @property
    def _family(self) -> _Family:
        """Looked up by class: other processes are sent no functions."""
        return _FAMILIES[self._kind] if self._kind is not None else _Family(None)

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


def _variation(mean: Tensor, deviation: Tensor) -> Tensor:
    """Standard deviation over mean, no smaller than the precision of a likelihood can take."""
    return deviation / mean + _least_variation(mean)


def _least_variation(x: Tensor) -> float:
    return 10 * torch.finfo(x.dtype).eps ** 0.5


def _has_axes(prior: object) -> bool:
    return torch.as_tensor(prior).ndim > 0


# --- mean and standard deviation to the inputs of darts' likelihoods ------------------------------


def _beta(mean: Tensor, deviation: Tensor) -> list[Tensor]:
    spread = mean * (1 - mean)  # the variance is below it
    total = spread / (deviation + _least_variation(mean)).square()
    return [softplus_input(mean * total), softplus_input((1 - mean) * total)]


def _continuous_bernoulli(mean: Tensor, _: Tensor) -> list[Tensor]:
    # The logit of its parameter is twice the inverse Langevin function of 2 mean - 1; Cohen's
    # approximation (1991), "A Padé approximant to the inverse Langevin function".
    y = (2 * mean - 1).clamp(-1 + 1e-6, 1 - 1e-6)
    return [2 * y * (3 - y.square()) / (1 - y.square())]


def _gamma(mean: Tensor, deviation: Tensor) -> list[Tensor]:
    concentration = _variation(mean, deviation).pow(-2)
    return [softplus_input(concentration), softplus_input(concentration / mean)]


def _log_normal(mean: Tensor, deviation: Tensor) -> list[Tensor]:
    variance = torch.log1p(_variation(mean, deviation).square())
    return [mean.log() - variance / 2, softplus_input(variance.sqrt())]


def _negative_binomial(mean: Tensor, deviation: Tensor) -> list[Tensor]:
    # What a variance has above that of a Poisson distribution, which is the mean.
    dispersion = _variation(mean, deviation).square()
    return [softplus_input(mean), softplus_input(dispersion)]


def _weibull(mean: Tensor, deviation: Tensor) -> list[Tensor]:
    # Justus et al. (1978), "Methods for estimating wind speed frequency distributions".
    shape = _variation(mean, deviation).pow(-1.086)
    scale = mean / _log_gamma(1 + 1 / shape).exp()
    return [softplus_input(scale), softplus_input(shape)]


def _log_gamma(x: Tensor) -> Tensor:
    # Stirling's series, which holds for large x; ONNX has no such function.
    factors = x
    for i in range(1, 8):
        factors = factors * (x + i)
    x = x + 8
    series = (1 - (1 / 30 - 1 / (105 * x.square())) / x.square()) / (12 * x)
    return (x - 0.5) * x.log() - x + 0.5 * math.log(2 * math.pi) + series - factors.log()


_COUNTS = _Support("whole numbers of at least 0", lambda x: (x >= 0) & (x == x.round()))
_NOT_NEGATIVE = _Support("numbers of at least 0", lambda x: x >= 0)
_POSITIVE = _Support("numbers above 0", lambda x: x > 0)
_SHARES = _Support("numbers from 0 to 1", lambda x: (x >= 0) & (x <= 1))

_FAMILIES: dict[type[TorchLikelihood], _Family] = {
    CauchyLikelihood: _Family(None),
    GaussianLikelihood: _Family(None),
    GumbelLikelihood: _Family(None),
    LaplaceLikelihood: _Family(None),
    BernoulliLikelihood: _Family(
        lambda mean, _: [torch.logit(mean)],
        _Support("zeros and ones", lambda x: (x == 0) | (x == 1)),
        shares=True,
        counts=True,
    ),
    BetaLikelihood: _Family(
        _beta,
        _Support("numbers above 0 and below 1", lambda x: (x > 0) & (x < 1)),
        shares=True,
    ),
    ContinuousBernoulliLikelihood: _Family(_continuous_bernoulli, _SHARES, shares=True),
    DirichletLikelihood: _Family(
        lambda mean, _: [mean.log()],
        _Support(
            "components above 0 that add up to 1",
            lambda x: (x > 0) & ((x.nansum(-1, keepdim=True) - 1).abs() < 1e-5),
        ),
        joint=True,
    ),
    ExponentialLikelihood: _Family(lambda mean, _: [softplus_input(1 / mean)], _NOT_NEGATIVE),
    GammaLikelihood: _Family(_gamma, _POSITIVE),
    GeometricLikelihood: _Family(lambda mean, _: [-mean.log()], _COUNTS, counts=True),
    HalfNormalLikelihood: _Family(
        lambda mean, _: [softplus_input(mean * math.sqrt(math.pi / 2))], _NOT_NEGATIVE
    ),
    LogNormalLikelihood: _Family(_log_normal, _POSITIVE),
    NegativeBinomialLikelihood: _Family(_negative_binomial, _COUNTS, counts=True),
    PoissonLikelihood: _Family(lambda mean, _: [softplus_input(mean)], _COUNTS, counts=True),
    WeibullLikelihood: _Family(_weibull, _POSITIVE),
}
