"""Every likelihood of darts, in the units of the series."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts import TimeSeries
from darts.utils.data.torch_datasets.utils import PLModuleOutput
from darts.utils.likelihood_models import torch as likelihoods
from darts.utils.likelihood_models.torch import (
    BernoulliLikelihood,
    CauchyLikelihood,
    DirichletLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
    QuantileRegression,
    TorchLikelihood,
)
from darts_cases import TINY, wave

from rimer_forecaster import RimerModel
from rimer_forecaster.darts.likelihoods import LikelihoodHead

EVERY = [
    cls
    for _, cls in inspect.getmembers(likelihoods, inspect.isclass)
    if issubclass(cls, TorchLikelihood) and cls is not TorchLikelihood
]
COUNTS = {"GeometricLikelihood", "NegativeBinomialLikelihood", "PoissonLikelihood"}
SHARES = {"BetaLikelihood", "ContinuousBernoulliLikelihood", "DirichletLikelihood"}


def draws_for(likelihood: type, n: int = 120, components: int = 3) -> np.ndarray:
    """Values that every distribution of the kind can take."""
    rng = np.random.default_rng(0)
    if likelihood is BernoulliLikelihood:
        return rng.binomial(1, 0.3, (n, components)).astype(np.float32)
    if likelihood.__name__ in COUNTS:
        return rng.poisson(4, (n, components)).astype(np.float32)
    if likelihood.__name__ in SHARES:
        return rng.dirichlet([2] * components, n).astype(np.float32)
    return rng.gamma(4, 2, (n, components)).astype(np.float32)


@pytest.mark.parametrize("likelihood", EVERY)
def test_every_likelihood_of_darts_trains_with_gaps_and_forecasts(likelihood: type) -> None:
    values = draws_for(likelihood)
    values[np.random.default_rng(1).random(len(values)) < 0.1] = np.nan
    series = TimeSeries.from_values(values)
    model = RimerModel(**TINY, streaming=True, likelihood=likelihood()).fit(series)
    samples = model.predict(8, num_samples=20).all_values()
    assert samples.shape == (8, 3, 20)
    assert np.isfinite(samples).all()
    parameters = model.predict(6, predict_likelihood_parameters=True)
    assert np.isfinite(parameters.values()).all()
    stream = model.stream(series)
    assert np.isfinite(stream.predict(6).values()).all()
    assert stream.predict(6, predict_likelihood_parameters=True).columns.equals(parameters.columns)


def of_moments(likelihood: TorchLikelihood, mean: float, deviation: float) -> torch.Tensor:
    """Draws of the distribution that is made from a location and a scale."""
    head = LikelihoodHead(likelihood, 24)
    scale = deviation + np.log(-np.expm1(-deviation))
    output = torch.tensor([mean, scale], dtype=torch.float64).expand(200_000, 1, 1, 2)
    torch.manual_seed(0)
    return likelihood.sample(head(output)).double()


@pytest.mark.parametrize("mean", [0.03, 3.0, 300.0])
@pytest.mark.parametrize("name", ["Gamma", "LogNormal", "Weibull"])
def test_a_distribution_has_the_mean_and_deviation_that_the_network_puts_out(
    name: str, mean: float
) -> None:
    drawn = of_moments(getattr(likelihoods, f"{name}Likelihood")(), mean, mean / 5)
    assert drawn.mean().item() == pytest.approx(mean, rel=0.02)
    assert drawn.std().item() == pytest.approx(mean / 5, rel=0.04)


@pytest.mark.parametrize(
    ("name", "deviation"),  # that of the distribution, which has the mean for its one parameter
    [
        ("Exponential", 3.0),
        ("HalfNormal", 3 * (np.pi / 2 - 1) ** 0.5),
        ("Poisson", 3**0.5),
        ("Geometric", 12**0.5),
        ("NegativeBinomial", (3 + 0.3**2) ** 0.5),
    ],
)
def test_distributions_of_few_parameters_have_the_mean(name: str, deviation: float) -> None:
    drawn = of_moments(getattr(likelihoods, f"{name}Likelihood")(), 3.0, 0.3)
    assert drawn.mean().item() == pytest.approx(3, rel=0.02)
    assert drawn.std().item() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", ["Bernoulli", "Beta", "ContinuousBernoulli"])
def test_shares_have_the_mean(name: str, mean: float) -> None:
    drawn = of_moments(getattr(likelihoods, f"{name}Likelihood")(), mean, 0.01)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.01)
    if name == "Beta":
        assert drawn.std().item() == pytest.approx(0.01, rel=0.02)


def test_shares_of_components_have_their_means() -> None:
    head = LikelihoodHead(DirichletLikelihood(), 24)
    means = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    output = torch.stack((means, torch.full_like(means, -6.0)), -1)[None, None]
    (alphas,) = DirichletLikelihood()._params_from_output(head(output))
    torch.testing.assert_close(alphas[0, 0], means, rtol=0, atol=2e-3)


def test_a_head_travels_to_other_processes() -> None:
    head = LikelihoodHead(PoissonLikelihood(), 24)
    output = torch.randn(2, 3, 1, 2)
    assert torch.equal(pickle.loads(pickle.dumps(head))(output), head(output))


@pytest.mark.parametrize(
    "name", ["Exponential", "Gamma", "HalfNormal", "LogNormal", "Weibull", "Gaussian"]
)
def test_a_series_in_other_units_gets_the_forecast_in_those_units(name: str) -> None:
    values = np.random.default_rng(0).gamma(4, 2.5, 300)  # mean 10, standard deviation 5
    means = []
    for unit in (1e-3, 1.0, 1e3):
        settings = {**TINY, "n_epochs": 10}
        model = RimerModel(**settings, likelihood=getattr(likelihoods, f"{name}Likelihood")())
        model.fit(TimeSeries.from_values(unit * values))
        means.append(model.predict(6, num_samples=300).all_values().mean() / unit)
    assert means[1] == pytest.approx(10, rel=0.3)
    np.testing.assert_allclose(means, means[1], rtol=1e-3)


@pytest.mark.parametrize("name", ["Poisson", "NegativeBinomial", "Geometric", "Bernoulli"])
def test_a_window_without_events_foretells_some_where_they_are_rare(name: str) -> None:
    rng = np.random.default_rng(0)
    series = TimeSeries.from_values((rng.random((600, 1)) < 0.05).astype(np.float32))
    settings = {**TINY, "n_epochs": 20}
    likelihood = getattr(likelihoods, f"{name}Likelihood")()
    model = RimerModel(**settings, likelihood=likelihood).fit(series)
    nothing = TimeSeries.from_values(np.zeros((24, 1), np.float32))
    samples = model.predict(6, series=nothing, num_samples=2000).all_values()
    assert 0.01 < samples.mean() < 0.2


@pytest.mark.parametrize("name", ["Gamma", "LogNormal", "Weibull", "Beta", "NegativeBinomial"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_series_is_forecast_as_its_value(name: str, dtype: type) -> None:
    value = 0.25 if name == "Beta" else 7.0
    constant = TimeSeries.from_values(np.full((80, 1), value, dtype))
    model = RimerModel(**TINY, likelihood=getattr(likelihoods, f"{name}Likelihood")())
    samples = model.fit(constant).predict(6, num_samples=200).all_values()
    assert samples.mean() == pytest.approx(value, rel=0.2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Poisson", -1.0, "whole numbers of at least 0"),
        ("NegativeBinomial", 0.5, "whole numbers"),
        ("Bernoulli", 2.0, "zeros and ones"),
        ("Gamma", 0.0, "numbers above 0"),
        ("HalfNormal", -2.0, "numbers of at least 0"),
        ("Beta", 1.0, "numbers above 0 and below 1"),
        ("ContinuousBernoulli", 1.5, "numbers from 0 to 1"),
        ("Dirichlet", 0.9, "components above 0 that add up to 1"),
    ],
)
def test_a_value_that_a_distribution_cannot_take_is_named(
    name: str, value: float, words: str
) -> None:
    values = draws_for(getattr(likelihoods, f"{name}Likelihood"))
    values[70, 1] = value
    values[20] = np.nan
    series = TimeSeries.from_values(values)
    model = RimerModel(**TINY, likelihood=getattr(likelihoods, f"{name}Likelihood")())
    with pytest.raises(ValueError, match=rf"series 0 has .* {name}Likelihood .* at 70: .* {words}"):
        model.fit(series)


class OwnLikelihood(GaussianLikelihood):
    """Of a user, with parameters of unknown meaning."""


def test_a_likelihood_of_unknown_parameters_is_refused_when_the_model_is_made() -> None:
    message = r"likelihood=OwnLikelihood\(.*is not one.*QuantileRegression"
    with pytest.raises(ValueError, match=message):
        RimerModel(24, likelihood=OwnLikelihood())


def test_a_prior_of_each_component_is_held_to_steps_of_all_components() -> None:
    likelihood = GaussianLikelihood(prior_mu=[0.0, 50.0], prior_sigma=1.0)
    series = TimeSeries.from_values(np.random.default_rng(0).normal(size=(60, 2)))
    module = RimerModel(**TINY, likelihood=likelihood).fit(series).model
    output, target = torch.randn(4, 6, 2, 2).double(), torch.randn(4, 6, 2).double()
    target[1, :, 1] = target[3, :, 0] = float("nan")
    actual = module._compute_loss(PLModuleOutput(output), target, None, None)
    expected = likelihood.compute_loss(output[::2], target[::2], None)
    torch.testing.assert_close(actual, expected)


def test_quantiles_never_cross_beyond_the_chunk_either() -> None:
    values = np.random.default_rng(0).normal(size=(200, 2)).cumsum(0).astype(np.float32)
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    model = RimerModel(**TINY, likelihood=QuantileRegression(quantiles))
    series = TimeSeries.from_values(values)
    model.fit(series)
    with torch.no_grad():
        model.network.reader.head.weight.normal_()  # crosses before sorting
    forecasts = model.historical_forecasts(
        series,
        forecast_horizon=6,
        predict_likelihood_parameters=True,
        last_points_only=False,
        retrain=False,
    )
    for forecast in forecasts:
        assert (np.diff(forecast.values().reshape(6, 2, 5)) >= 0).all()


def test_a_stream_of_counts_is_forecast_by_its_mean_which_is_positive() -> None:
    values = np.random.default_rng(0).poisson(0.3, (200, 1)).astype(np.float32)
    series = TimeSeries.from_values(values)
    model = RimerModel(**TINY, streaming=True, likelihood=PoissonLikelihood()).fit(series)
    stream = model.stream(series)
    rates = stream.predict(6, predict_likelihood_parameters=True).values()
    assert (rates > 0).all()
    np.testing.assert_allclose(stream.predict(6).values(), rates, rtol=1e-4)


def test_monte_carlo_dropout_draws_and_leaves_no_trace() -> None:
    series = TimeSeries.from_values(np.sin(np.arange(200, dtype=np.float32))[:, None])
    model = RimerModel(**{**TINY, "n_epochs": 5, "dropout": 0.3}).fit(series)
    before = model.predict(6).values()
    samples = model.predict(6, num_samples=30, mc_dropout=True).all_values()
    assert samples.std(axis=2).min() > 0
    np.testing.assert_array_equal(model.predict(6).values(), before)
    without = RimerModel(**TINY, layers=None).fit(series)
    assert not without.supports_probabilistic_prediction
    with pytest.raises(ValueError, match="num_samples=3 is not for this model"):
        without.predict(6, num_samples=3, mc_dropout=True)


def test_quantiles_are_ordered_and_in_the_units_of_the_series() -> None:
    series = wave(level=100.0)
    model = RimerModel(**{**TINY, "n_epochs": 20}, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    parameters = model.fit(series).predict(6, predict_likelihood_parameters=True).values()
    assert (np.diff(parameters, axis=1) >= 0).all()
    assert 98 < parameters[:, 1].mean() < 102
    samples = model.predict(6, num_samples=50)
    assert samples.n_samples == 50


@pytest.mark.parametrize("sigma", [0.06, 0.6, 60.0])
@pytest.mark.parametrize(
    ("likelihood", "of_normal_noise"),  # scale of the likelihood's best fit to normal noise
    [
        (GaussianLikelihood, 1.0),
        (LaplaceLikelihood, 0.80),
        (CauchyLikelihood, 0.61),
        (GumbelLikelihood, 1.0),
    ],
)
def test_scale_of_a_distribution_is_in_the_units_of_the_series(
    likelihood: type, of_normal_noise: float, sigma: float
) -> None:
    """At level 100 and sigma 0.6 darts' own reversible norm gives 99.9 (darts #2743)."""
    noise = np.random.default_rng(0).normal(100, sigma, size=(400, 1)).astype(np.float32)
    settings = {**TINY, "layers": None, "n_epochs": 30, "optimizer_kwargs": {"lr": 1e-2}}
    model = RimerModel(**settings, likelihood=likelihood()).fit(TimeSeries.from_values(noise))
    location, scale = model.predict(6, predict_likelihood_parameters=True).values().mean(0)
    assert abs(location - 100) < sigma
    assert scale == pytest.approx(of_normal_noise * sigma, rel=0.3)
