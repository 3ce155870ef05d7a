"""The distributions of darts, from mean and standard deviation to what darts makes parameters of.

The parameters are those whose mean and standard deviation are given; darts takes them through its
softplus and sigmoid.

Letters: B windows, H output steps, C components, Q parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
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
    TorchLikelihood,
    WeibullLikelihood,
)
from torch import Tensor

from ..network.scale import softplus_input

__all__ = ["FAMILIES", "Family"]

Moments: TypeAlias = Callable[[Tensor, Tensor], list[Tensor]]
"""Mean and standard deviation, (B, H, C) each, to the Q inputs of a likelihood."""


class _Support(NamedTuple):
    """Which values a distribution can take, (n, C), in words and as a check of each."""

    words: str
    holds: Callable[[Tensor], Tensor]


class Family(NamedTuple):
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


def _variation(mean: Tensor, deviation: Tensor) -> Tensor:
    """Standard deviation over mean, no smaller than the precision of a likelihood can take."""
    return deviation / mean + _least_variation(mean)


def _least_variation(x: Tensor) -> float:
    return 10 * torch.finfo(x.dtype).eps ** 0.5


_COUNTS = _Support("whole numbers of at least 0", lambda x: (x >= 0) & (x == x.round()))
_NOT_NEGATIVE = _Support("numbers of at least 0", lambda x: x >= 0)
_POSITIVE = _Support("numbers above 0", lambda x: x > 0)
_SHARES = _Support("numbers from 0 to 1", lambda x: (x >= 0) & (x <= 1))

FAMILIES: dict[type[TorchLikelihood], Family] = {
    CauchyLikelihood: Family(None),
    GaussianLikelihood: Family(None),
    GumbelLikelihood: Family(None),
    LaplaceLikelihood: Family(None),
    BernoulliLikelihood: Family(
        lambda mean, _: [torch.logit(mean)],
        _Support("zeros and ones", lambda x: (x == 0) | (x == 1)),
        shares=True,
        counts=True,
    ),
    BetaLikelihood: Family(
        _beta,
        _Support("numbers above 0 and below 1", lambda x: (x > 0) & (x < 1)),
        shares=True,
    ),
    ContinuousBernoulliLikelihood: Family(_continuous_bernoulli, _SHARES, shares=True),
    DirichletLikelihood: Family(
        lambda mean, _: [mean.log()],
        _Support(
            "components above 0 that add up to 1",
            lambda x: (x > 0) & ((x.nansum(-1, keepdim=True) - 1).abs() < 1e-5),
        ),
        joint=True,
    ),
    ExponentialLikelihood: Family(lambda mean, _: [softplus_input(1 / mean)], _NOT_NEGATIVE),
    GammaLikelihood: Family(_gamma, _POSITIVE),
    GeometricLikelihood: Family(lambda mean, _: [-mean.log()], _COUNTS, counts=True),
    HalfNormalLikelihood: Family(
        lambda mean, _: [softplus_input(mean * math.sqrt(math.pi / 2))], _NOT_NEGATIVE
    ),
    LogNormalLikelihood: Family(_log_normal, _POSITIVE),
    NegativeBinomialLikelihood: Family(_negative_binomial, _COUNTS, counts=True),
    PoissonLikelihood: Family(lambda mean, _: [softplus_input(mean)], _COUNTS, counts=True),
    WeibullLikelihood: Family(_weibull, _POSITIVE),
}
"""Those that `RimerModel` can give in the units of the series."""
