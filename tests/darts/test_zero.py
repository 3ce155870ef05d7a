"""RimerZeroModel: forecasts by weights of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerZeroModel
from rimer_forecaster.network.weights import save_weights
from rimer_forecaster.zero_shot import forecast, zero_shot_network

SILENT = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
TRAINED = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]


def zero(
    lengths: int | tuple[int, int] = (8, 256), horizon: int = 12, **kwargs: Any
) -> RimerZeroModel:
    kwargs.setdefault("pl_trainer_kwargs", SILENT)
    return RimerZeroModel(lengths, horizon, **kwargs)


def waves(length: int = 200, components: int = 1, seed: int = 0) -> TimeSeries:
    rng, t = np.random.default_rng(seed), np.arange(length)[:, None]
    x = 5 + np.sin(t / 4 + np.arange(components)) + 0.1 * rng.standard_normal((length, components))
    return TimeSeries.from_values(x.astype(np.float32))


def quantiles_of(model: RimerZeroModel, n: int, series: TimeSeries) -> np.ndarray:
    return model.predict(n, series, predict_likelihood_parameters=True).values()


@pytest.fixture(scope="module")
def fitted() -> RimerZeroModel:
    return zero(likelihood=QuantileRegression(TRAINED)).fit(waves())


def test_fit_trains_nothing_and_forecasts_are_those_of_the_weights(fitted: RimerZeroModel) -> None:
    weights = zero_shot_network().state_dict()
    for name, own in fitted.network.state_dict().items():
        if name in weights and own.shape == weights[name].shape:
            torch.testing.assert_close(own, weights[name], rtol=0, atol=0)
    expected = forecast(zero_shot_network(), [waves().values()[:, 0]], 12)[0]
    np.testing.assert_allclose(quantiles_of(fitted, 12, waves()), expected, rtol=1e-4)


def test_it_knows_a_wave_it_never_saw(fitted: RimerZeroModel) -> None:
    series = waves(212)
    own = quantiles_of(fitted, 12, series[:-12])[:, 4:5]
    last = TimeSeries.from_times_and_values(
        series.time_index[-12:], np.repeat(series.values()[-13:-12], 12, 0)
    )
    predicted = TimeSeries.from_times_and_values(series.time_index[-12:], own)
    assert mae(series, predicted) < 0.5 * mae(series, last)


def test_no_likelihood_gives_the_median_and_others_what_they_name(fitted: RimerZeroModel) -> None:
    every = quantiles_of(fitted, 5, waves())
    assert (np.diff(every) >= 0).all()
    median = zero().fit(waves()).predict(5).values()
    assert_same_but_for_rounding(median[:, 0], every[:, 4])
    some = zero(likelihood=QuantileRegression([0.1, 0.5, 0.9])).fit(waves())
    assert_same_but_for_rounding(quantiles_of(some, 5, waves()), every[:, [2, 4, 6]])


@pytest.mark.parametrize("length", [8, 9, 31, 200, 300])
def test_short_and_long_series_are_forecast_alone_or_in_company(
    fitted: RimerZeroModel, length: int
) -> None:
    others = [waves(length, seed=1), waves(77, seed=2)]
    together = fitted.predict(3, others, predict_likelihood_parameters=True)
    for series, own in zip(others, together, strict=True):
        alone = quantiles_of(fitted, 3, series)
        np.testing.assert_allclose(own.values(), alone, rtol=1e-4)


def test_components_are_forecast_one_by_one() -> None:
    both = waves(components=2)
    model = zero().fit(both)
    for component in both.components:
        alone = zero().fit(both[component]).predict(12)
        together = model.predict(12)[component]
        assert_same_but_for_rounding(together.values(), alone.values())


@pytest.mark.parametrize("scale", [1e-12, 1e6, 1e12])
def test_series_times_a_factor_gives_forecasts_times_it(
    fitted: RimerZeroModel, scale: float
) -> None:
    series = waves().astype(np.float64)
    scaled = TimeSeries.from_values(series.values() * scale)
    expected = scale * quantiles_of(fitted, 12, series)
    np.testing.assert_allclose(quantiles_of(fitted, 12, scaled), expected, rtol=1e-4)


def test_missing_values_are_masked(fitted: RimerZeroModel) -> None:
    values = waves().values().copy()
    values[40:60] = values[-3] = np.nan
    full, gaps = quantiles_of(fitted, 12, waves()), TimeSeries.from_values(values)
    own = quantiles_of(fitted, 12, gaps)
    assert np.isfinite(own).all()
    assert not np.allclose(own, full, rtol=1e-6)
    assert np.abs(own[:, 4] - full[:, 4]).mean() < 0.3  # of a wave of amplitude 1


def test_a_longer_chunk_reads_gaps_and_begins_as_a_shorter_one() -> None:
    short = zero(horizon=12).fit(waves()).predict(12).values()
    long = zero(horizon=90).fit(waves()).predict(90).values()
    assert_same_but_for_rounding(long[:12], short)
    assert np.isfinite(long).all()
    np.testing.assert_allclose(
        long[:, 0], forecast(zero_shot_network(), [waves().values()[:, 0]], 90)[0, :, 4], rtol=1e-4
    )


def test_longer_forecasts_than_a_chunk_go_on() -> None:
    model = zero(horizon=8).fit(waves())
    assert np.isfinite(model.predict(30).values()).all()
    assert_same_but_for_rounding(model.predict(30).values()[:8], model.predict(8).values())


def test_a_shifted_output_is_the_end_of_a_longer_one() -> None:
    shifted = zero(horizon=5, output_chunk_shift=7).fit(waves()).predict(5)
    whole = zero(horizon=12).fit(waves()).predict(12)
    assert_same_but_for_rounding(shifted.values(), whole.values()[7:])
    assert shifted.start_time() == whole.time_index[7]


def test_historical_forecasts_are_those_of_the_shortened_series(fitted: RimerZeroModel) -> None:
    series = waves()
    forecasts = fitted.historical_forecasts(
        series, start=100, stride=40, forecast_horizon=12, retrain=False, last_points_only=False,
        predict_likelihood_parameters=True,
    )  # fmt: skip
    assert len(forecasts) == 3
    for own in forecasts:
        expected = quantiles_of(fitted, 12, series.drop_after(own.start_time()))
        np.testing.assert_allclose(own.values(), expected, rtol=1e-4)
    assert fitted.backtest(series, start=150, stride=20, forecast_horizon=12, retrain=False) > 0


@pytest.mark.parametrize("patches", [3, 10])
def test_a_stream_forecasts_as_a_window_of_whole_patches_without_refinement(patches: int) -> None:
    series = waves(16 * patches)
    fitted = zero(likelihood=QuantileRegression(TRAINED), refine=False).fit(series)
    stream = fitted.stream(series[:-5])
    stream.update(series[-5:])
    own = stream.predict(12, predict_likelihood_parameters=True).values()
    np.testing.assert_allclose(own, quantiles_of(fitted, 12, series), rtol=1e-4)


def test_saved_models_are_loaded_with_the_same_forecasts(
    fitted: RimerZeroModel, tmp_path: Path
) -> None:
    path = str(tmp_path / "zero.pt")
    fitted.save(path)
    loaded = RimerZeroModel.load(path, pl_trainer_kwargs=SILENT)
    np.testing.assert_array_equal(
        quantiles_of(loaded, 12, waves()), quantiles_of(fitted, 12, waves())
    )


@pytest.mark.parametrize("kind", ["past_covariates", "future_covariates"])
def test_covariates_are_refused_by_name_unless_fine_tuning_can_learn_them(kind: str) -> None:
    series, covariates = waves(60), waves(80, seed=3)
    with pytest.raises(ValueError, match=kind):
        zero().fit(series, **{kind: covariates})
    with pytest.raises(ValueError, match=kind):
        zero().fit(series).predict(3, **{kind: covariates})
    model = zero(32, 4, enable_finetuning=True, n_epochs=1).fit(series, **{kind: covariates})
    assert np.isfinite(model.predict(4, **{kind: covariates}).values()).all()


@pytest.mark.parametrize(
    ("lengths", "message"), [((16, 32), "whole windows. Use 32"), (8, "patches of 16 steps")]
)
def test_covariates_are_read_in_whole_windows(lengths: int | tuple[int, int], message: str) -> None:
    series = waves(60)
    with pytest.raises(ValueError, match=message):
        zero(lengths, 4, enable_finetuning=True, n_epochs=1).fit(series, past_covariates=series)


def test_fine_tuning_moves_what_it_may_and_freezes_the_rest() -> None:
    weights = zero_shot_network().state_dict()
    series = waves(120)

    def moved(enable: bool | dict[str, list[str]]) -> set[str]:
        model = zero(64, 8, enable_finetuning=enable, n_epochs=1).fit(series)
        return {
            name
            for name, own in model.network.state_dict().items()
            if own.shape == weights[name].shape and not torch.equal(own, weights[name])
        }

    assert len(moved(True)) > 20
    assert moved({"unfreeze": ["network.reader.head*"]}) == {
        name for name in weights if name.startswith("reader.head")
    }
    assert "reader.head.weight" not in moved({"freeze": ["network.reader.head*"]})
    for mode in ("freeze", "unfreeze"):
        with pytest.raises(ValueError, match=r"pattern 'reader\.head\*', which fits no parameter"):
            moved({mode: ["network.skip*", "reader.head*"]})
    assert torch.equal(zero_shot_network().state_dict()["reader.head.weight"],
                       weights["reader.head.weight"])  # fmt: skip


def test_fine_tuning_keeps_quantiles_that_are_not_wanted() -> None:
    series = waves(120)
    model = zero(64, 8, enable_finetuning=True, n_epochs=2).fit(series)
    window = torch.as_tensor(series.values()[None, -64:], dtype=model.network.dtype)
    with torch.no_grad():
        every = model.network(window)[0, :8, 0]
    assert (every.diff(dim=-1) >= 0).all()
    width = every[:, -1] - every[:, 0]
    before = quantiles_of(zero(likelihood=QuantileRegression(TRAINED)).fit(series), 8, series)
    assert (width.numpy() > 0.3 * (before[:, -1] - before[:, 0])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": (8, 4096)}, "input_chunk_length=4096 is longer than the 2048"),
        ({"horizon": 0}, "output_chunk_length=0"),
        ({"likelihood": GaussianLikelihood()}, "likelihood of GaussianLikelihood is not for"),
        ({"likelihood": QuantileRegression([0.3, 0.5, 0.7])}, r"quantiles \[0.3, 0.5, 0.7\]"),
        ({"hub_model_name": "rimer-one"}, "no weights 'rimer-one'"),
        ({"hub_model_revision": "99"}, "no weights 'rimer-zero-99'"),
        ({"use_reversible_instance_norm": True}, "use_reversible_instance_norm"),
    ],
)
def test_what_weights_cannot_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zero(**arguments)


def test_a_folder_of_weights_is_read_instead_of_the_package(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"rimer-zero\.safetensors"):
        zero(local_dir=tmp_path)
    save_weights(zero_shot_network(), tmp_path / "own.safetensors")
    model = zero(hub_model_name="own", local_dir=tmp_path).fit(waves())
    np.testing.assert_array_equal(
        model.predict(12).values(), zero().fit(waves()).predict(12).values()
    )


def rough(length: int = 700) -> TimeSeries:
    """A season of 108 steps that no smooth curve resembles."""
    profile = np.random.default_rng(0).standard_normal(108)
    return TimeSeries.from_values(np.resize(profile, length).astype(np.float32)[:, None])


def test_long_seasons_are_taken_off_windows_unless_it_is_said_not_to() -> None:
    series, network = rough(), zero_shot_network()
    for refine in (True, False):
        model = zero((8, 1024), refine=refine).fit(series)
        own = model.predict(12, series).values()[:, 0]
        expected = forecast(network, [series.values()[:, 0]], 12, refine=refine)[0, :, 4]
        np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-3)
        error = np.abs(own - rough(712).values()[-12:, 0]).mean()
        assert (error < 0.2) == refine


def test_a_model_is_exported_without_its_seasons_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = [zero(refine=refine).fit(waves()) for refine in (True, False)]
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    with pytest.raises(ValueError, match="export a RimerZeroModel with refine=False"):
        models[0].predict(12)
    assert len(models[1].predict(12)) == 12


def test_refine_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="refine='yes' must be True or False"):
        zero(refine="yes")
