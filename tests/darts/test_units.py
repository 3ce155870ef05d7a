"""The loss has no units: what is large outweighs nothing, and what is small is learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="the darts side needs darts")

from darts import TimeSeries, concatenate
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.likelihood_models.torch import (
    GammaLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    QuantileRegression,
)
from darts_cases import TINY, wave

from rimer_forecaster import RimerModel, RimerZeroModel
from rimer_forecaster.training import Recipe

LOSSES = {
    "absolute": {},
    "squared": {"loss_fn": torch.nn.MSELoss()},
    "quantile": {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
    "gaussian": {"likelihood": GaussianLikelihood()},
    "laplace": {"likelihood": LaplaceLikelihood()},
}


MADE = {
    "RWKV-7": lambda: RimerModel(**TINY, streaming=True),
    "linear": lambda: RimerModel(**TINY, layers=None),
    "zero-shot": lambda: RimerZeroModel((8, 64), 12, pl_trainer_kwargs=TINY["pl_trainer_kwargs"]),
}


def pair(large: float = 1.0) -> list[TimeSeries]:
    """Two series of different shape, of which the second is of another size."""
    small, other = wave(150, dtype=np.float64), wave(120, dtype=np.float64, seed=1, level=2.0)
    return [small, large * other]


def forecasts(series: Any, past: Any = None, **arguments: Any) -> list[np.ndarray]:
    model = RimerModel(**{**TINY, "n_epochs": 3, **arguments}).fit(series)
    of_parameters = model.likelihood is not None
    found = model.predict(6, series=past or series, predict_likelihood_parameters=of_parameters)
    return [one.values() for one in ([found] if isinstance(found, TimeSeries) else found)]


@pytest.mark.parametrize("loss", LOSSES)
def test_in_a_panel_the_size_of_one_series_is_that_of_its_forecast_alone(loss: str) -> None:
    small, large = forecasts(pair(1e6), **LOSSES[loss])
    as_small, other = forecasts(pair(), **LOSSES[loss])
    np.testing.assert_allclose(small, as_small, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(large, 1e6 * other, rtol=1e-6, atol=1)


@pytest.mark.parametrize("loss", LOSSES)
def test_in_one_series_the_size_of_a_component_is_that_of_its_forecast_alone(loss: str) -> None:
    def together(large: float) -> np.ndarray:
        series = concatenate([one[:120] for one in pair(large)], axis=1)
        return forecasts(series, **LOSSES[loss])[0].reshape(6, 2, -1)

    found, expected = together(1e6), together(1.0)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[:, 1], 1e6 * expected[:, 1], rtol=1e-6, atol=1)


@pytest.mark.parametrize("loss", ["absolute", "quantile", "gaussian"])
def test_beside_a_large_series_a_small_one_is_learnt_as_well_as_alone(loss: str) -> None:
    """Errors of its last season, which training has not seen, in units of its deviation."""

    def error(series: list[TimeSeries]) -> float:
        settings = {**TINY, "n_epochs": 40, "layers": None, **LOSSES[loss]}
        model = RimerModel(**settings).fit(series)
        found = model.predict(24, series=series[0]).values()
        return float(np.abs(found - truth).mean() / truth.std())

    small, large = pair(1e6)
    truth = small[-24:].values()
    alone, beside = error([small[:-24]]), error([small[:-24], large])
    assert alone < 0.5
    assert beside < 1.2 * alone


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", [1e-21, 1e21])
def test_a_series_of_any_size_has_its_forecast_of_that_size(factor: float, loss: str) -> None:
    (series, _), arguments = pair(), LOSSES[loss]
    (found,) = forecasts(factor * series, **arguments)
    (expected,) = forecasts(series, **arguments)
    np.testing.assert_allclose(found / factor, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unit", ["series", "window"])
def test_the_unit_is_the_deviation_of_the_series_or_of_the_window(unit: str) -> None:
    """What a loss of the user is called with."""
    seen: list[torch.Tensor] = []

    class Recorded(torch.nn.L1Loss):
        def forward(self, forecast: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            seen.append(target)
            return super().forward(forecast, target)

        def __deepcopy__(self, memo: Any) -> Recorded:
            return self

    rng = np.random.default_rng(0)
    values = 100 + np.r_[rng.normal(size=60), 5 * rng.normal(size=60)][:, None]
    series = TimeSeries.from_values(values)
    options = {"loss_fn": Recorded(), "recipe": Recipe(loss_unit=unit), "batch_size": 1}
    RimerModel(**{**TINY, **options}).fit(series)
    windows = {
        (values[t : t + 6] / scale(values, t, unit)).round(9).tobytes() for t in range(24, 115)
    }
    assert {target[0].numpy().round(9).tobytes() for target in seen} == windows


def scale(values: np.ndarray, t: int, unit: str) -> float:
    return float(values.std() if unit == "series" else values[t - 24 : t].std())


def test_a_constant_series_is_counted_in_its_size_and_stays_constant() -> None:
    constant = TimeSeries.from_values(np.full((60, 1), 3e6))
    zero = TimeSeries.from_values(np.zeros((60, 1)))
    found = forecasts([constant, zero, pair()[0]])
    np.testing.assert_allclose(found[0], 3e6)
    np.testing.assert_allclose(found[1], 0.0, atol=1e-9)
    assert np.ptp(found[2]) > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", MADE)
def test_a_constant_is_forecast_to_the_bit(make: str, dtype: type) -> None:
    """In windows and streams, beyond the horizon too, whatever was trained on."""
    model = MADE[make]().fit(wave(dtype=dtype))
    for value in (0.0, 5.5, -3.7, 0.1, 1e-20, 1e-30, 123456.789, 1e10):
        constant = TimeSeries.from_values(np.full((40, 1), value, dtype))
        from_window = model.predict(14, series=constant)
        for forecast in (from_window, model.stream(constant).predict(14)):
            assert forecast.dtype == dtype
            np.testing.assert_array_equal(forecast.values(), dtype(value))


def test_windows_of_another_data_set_are_counted_in_units_of_themselves() -> None:
    series = pair()[0]
    chunks = {"input_chunk_length": 24, "output_chunk_length": 6}
    found = []
    for factor in (1.0, 2.0**20):
        windows = SequentialTorchTrainingDataset(factor * series, **chunks)
        model = RimerModel(**TINY)
        model.fit_from_dataset(windows, None, None, False, 2)
        found.append(model.predict(6, series=factor * series).values() / factor)
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert not np.allclose(found[0], forecasts(series, n_epochs=2)[0])


def test_weights_of_samples_stay_weights() -> None:
    """A series without weight changes nothing but the order of windows, whatever its size."""
    found = []
    for factor in (1.0, 1e6):
        panel = pair(factor)
        weights = [one.with_values(np.full((len(one), 1), 1.0 - i)) for i, one in enumerate(panel)]
        model = RimerModel(**TINY).fit(panel, sample_weight=weights)
        found.append(model.predict(6, series=panel[0]).values())
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-9)
    assert not np.allclose(found[0], forecasts(pair(), n_epochs=1)[0])


@pytest.mark.parametrize("loss", ["gamma", "gaussian with a prior"])
def test_positive_values_have_units_and_priors_keep_them(loss: str) -> None:
    has_units = loss == "gamma"
    likelihood = GammaLikelihood() if has_units else GaussianLikelihood(prior_mu=3.0)
    found = []
    for factor in (1.0, 2.0**20):
        series = factor * wave(100, level=5.0, dtype=np.float64)
        found.append(forecasts(series, likelihood=likelihood)[0])
    shapes = [x[:, 0] for x in found]  # of a gamma distribution, which have no unit
    assert np.allclose(*shapes, rtol=1e-6) == has_units


def test_what_validates_is_counted_in_units_of_the_series_that_it_continues() -> None:
    series = pair()[0]
    found = []
    for validation in (10 * series, [10 * series], [10 * series, series]):
        model = RimerModel(**TINY).fit(series, val_series=validation)
        found.append(float(model.trainer.callback_metrics["val_loss"]))
    assert found[0] == found[1] > 3
    assert found[2] < 2  # of others, each in its own
