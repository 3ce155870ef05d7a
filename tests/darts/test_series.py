"""What RimerModel makes of series: windows, missing values, short series, bad values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import pytorch_lightning as pl
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.data.torch_datasets.utils import (
    _batch_collate_fn_predict,
    _batch_collate_fn_train,
)
from darts_cases import TINY, TRAINER, wave, with_gaps
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel
from rimer_forecaster.darts.batches import InferenceBatch, collate, collate_to_forecast


@pytest.fixture(scope="module")
def fitted() -> RimerModel:
    return RimerModel(**TINY).fit(wave())


def test_batches_are_moved_without_a_copy_or_a_search(fitted: RimerModel) -> None:
    """Lightning's way takes a tenth of a backtest's time."""
    from pytorch_lightning.utilities import move_data_to_device

    windows = fitted._build_inference_dataset(6, [wave(60)], None, None)
    to_train_on = collate(dataset_of(wave(60)).__getitems__([0, 1]))
    for batch in (collate_to_forecast([windows[0]]), to_train_on):
        moved = move_data_to_device(batch, torch.device("meta"))
        assert moved is batch
        assert batch.past_target.device.type == "meta"
    schemas = collate_to_forecast([windows[0]]).series_schema  # which a forecast returns
    assert move_data_to_device(schemas, torch.device("meta")) is schemas
    assert list(schemas or ()) == [wave(60).schema()]


class Batches(pl.Callback):
    """Remembers what kinds of batches a forecast reads."""

    def on_predict_batch_start(self, trainer: Any, module: Any, batch: Any, *args: Any) -> None:
        self.kind = type(batch)


def test_forecasts_read_batches_that_move_themselves(fitted: RimerModel) -> None:
    seen = Batches()
    trainer = pl.Trainer(**TRAINER, callbacks=[seen], logger=False)
    fitted.predict(6, trainer=trainer)
    assert seen.kind is InferenceBatch
    other = fitted.predict(6, dataloader_kwargs={"collate_fn": _batch_collate_fn_predict})
    assert other == fitted.predict(6)


def test_windows_are_stacked_as_darts_does() -> None:
    series = [wave(60, components=2), wave(50, components=2, seed=1)]
    known = {"past_covariates": [wave(90)] * 2, "future_covariates": [wave(90)] * 2}
    dataset = RimerModel(**TINY)._build_train_dataset(
        series, *known.values(), sample_weight="linear", max_samples_per_ts=None
    )
    windows = dataset.__getitems__([3, 40, 0])
    batch, expected = collate(windows), _batch_collate_fn_train(list(windows))
    for field in fields(expected):
        torch.testing.assert_close(getattr(batch, field.name), getattr(expected, field.name))
    assert batch.unit is not None
    torch.testing.assert_close(batch.unit[0], torch.from_numpy(dataset.units[0]).float())
    torch.testing.assert_close(batch.unit[1], torch.from_numpy(dataset.units[1]).float())


def test_series_without_wild_values_say_so() -> None:
    """Whether a window is wild need not be found at every step then."""
    values = wave(60).values().copy()
    values[20] = 1e3
    dataset = RimerModel(**TINY)._build_train_dataset(
        [wave(60), wave(60).with_values(values)], None, None, None, None
    )
    tame, wild = (collate(dataset.__getitems__(places)) for places in ([0, 1], [0, 40]))
    assert tame.tame
    assert not wild.tame
    recipe = RimerModel(**TINY)._recipe
    expected = recipe.unit(tame.past_target, tame.unit)
    torch.testing.assert_close(recipe.unit(tame.past_target, tame.unit, tame=True), expected)


def dataset_of(series: TimeSeries) -> Any:
    return RimerModel(**TINY)._build_train_dataset([series], None, None, None, None)


def test_a_window_to_train_on_is_found_once() -> None:
    dataset = dataset_of(wave(60))
    assert dataset[3] is dataset[3]
    np.testing.assert_array_equal(dataset[3].past_target, wave(60).values()[-33:-9])
    dataset.most_kept = 1
    assert dataset[4] is not dataset[4]


@pytest.mark.parametrize("options", [{}, {"stride": 4}, {"max_samples_per_ts": 5}], ids=str)
def test_every_window_is_trained_on_once_an_epoch_however_long_its_series(
    options: dict[str, Any],
) -> None:
    lengths, ahead, stride = (60, 34, 90), 6, options.get("stride", 1)
    series = [wave(n) + 10 * i for i, n in enumerate(lengths)]
    arguments = {"sample_weight": None, "max_samples_per_ts": None, **options}
    model = RimerModel(24, ahead)
    dataset = model._build_train_dataset(series, None, None, **arguments)
    expected = [
        (i, one.values()[end - 1, 0])
        for i, one in enumerate(series)
        for end in range(len(one), 24 + ahead - 1, -stride)[: options.get("max_samples_per_ts")]
    ]
    found = [dataset[i].future_target[-1, 0] for i in range(len(dataset))]
    assert found == [last for _, last in expected]


def test_a_window_of_a_stochastic_series_is_another_draw_each_time() -> None:
    values = np.random.default_rng(0).normal(size=(60, 1, 50))
    dataset = dataset_of(TimeSeries.from_values(values))
    draws = [dataset[0].past_target for _ in range(10)]
    assert any((draw != draws[0]).any() for draw in draws)


def test_a_batch_whose_horizons_were_not_observed_teaches_nothing() -> None:
    series = wave(60)
    values = series.values().copy()
    values[30:36] = np.nan
    model = RimerModel(**{**TINY, "batch_size": 1}).fit(series.with_values(values))
    assert np.isfinite(model.predict(6).values()).all()


def test_a_tenth_of_the_values_missing_costs_little() -> None:
    complete = wave(400)
    errors = []
    for series in (complete, with_gaps(complete)):
        model = RimerModel(**{**TINY, "n_epochs": 20}).fit(series[:300])
        forecasts = model.historical_forecasts(series[276:], forecast_horizon=6, retrain=False)
        errors.append(mae(complete, forecasts))
    assert errors[1] < 1.1 * errors[0]


def test_a_window_in_which_nothing_was_observed_is_named(fitted: RimerModel) -> None:
    series = wave(160, components=2)
    values = series.values().copy()
    values[50:80, 1] = np.nan
    gap = series.with_values(values)
    pattern = (
        r"series 1 has no value of component '1' from 2020-02-2\d .* to 2020-03-\d\d .*"
        r"a window of 24 steps .*extract_subseries"
    )
    with pytest.raises(ValueError, match=pattern):
        RimerModel(**TINY).fit([series, gap])
    model = RimerModel(**TINY).fit(series)
    assert len(model.predict(6, series=gap)) == 6  # its last window was observed
    with pytest.raises(ValueError, match=pattern):
        model.predict(6, series=[series, gap[:80]])
    with pytest.raises(ValueError, match=pattern):
        model.historical_forecasts([series, gap], retrain=False)
    longer = RimerModel(**{**TINY, "input_chunk_length": 40}).fit([series, gap])
    assert np.isfinite(longer.predict(6, series=gap[:80]).values()).all()
    # Windows that are not used may be empty.
    RimerModel(**TINY).fit([series, gap], max_samples_per_ts=10)


def test_missing_static_covariates_are_refused() -> None:
    static = pd.DataFrame({"a": [np.nan]})
    with pytest.raises(ValueError, match="series 0 has static covariates that are missing"):
        RimerModel(**TINY).fit(wave().with_static_covariates(static))


def test_a_short_series_is_forecast_as_by_a_model_of_its_length() -> None:
    settings = {**TINY, "input_chunk_length": (5, 24)}
    model = RimerModel(**settings).fit([wave(200), wave(11, seed=1)])
    assert model.input_chunk_length == 24
    assert model.min_input_chunk_length == 5
    assert model.untrained_model().min_input_chunk_length == 5
    forecasts = model.predict(12, series=[wave(5), wave(13), wave(80)])
    assert all(np.isfinite(forecast.values()).all() for forecast in forecasts)
    values = wave(13).values().copy()
    padded = TimeSeries.from_values(np.concatenate([np.full((40, 1), np.nan, np.float32), values]))
    assert_same_but_for_rounding(model.predict(12, series=padded).values(), forecasts[1].values())
    level = wave(13, level=1e3)
    found, expected = model.predict(6, series=level).values(), forecasts[1].values()[:6] + 1e3
    assert_same_but_for_rounding(
        found, expected, roundings=30
    )  # of the level, which is all that is added


def test_padded_windows_are_trained_on_and_covariates_padded_with_them() -> None:
    known = {"past_covariates": wave(40, seed=1), "future_covariates": wave(60, seed=2)}
    settings = {**TINY, "input_chunk_length": (5, 24)}
    model = RimerModel(**settings).fit(wave(12), **known)  # all its windows are padded
    assert np.isfinite(model.predict(6, **known).values()).all()
    with pytest.raises(ValueError, match=r"series 0 has 10 values.*at least 11: .* 5 \+ output"):
        RimerModel(**settings).fit(wave(10))
    with pytest.raises(ValueError, match=r"min_length <= max_length"):
        RimerModel(**{**TINY, "input_chunk_length": (25, 24)})


@pytest.mark.parametrize("where", ["series", "past_covariates", "future_covariates"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30])
def test_a_value_that_cannot_be_used_is_named(where: str, value: float, fitted: RimerModel) -> None:
    values = wave(200).values().copy()
    values[137] = value
    bad = wave(200).with_values(values)
    arguments = {"series": wave(), where: bad}
    pattern = rf"{where} 0 has 1 values .* in component '0' at 2020-05-17 00:00:00: .*by NaN"
    with pytest.raises(ValueError, match=pattern):
        RimerModel(**TINY).fit(**arguments)
    if where == "series":
        with pytest.raises(ValueError, match=pattern):
            fitted.predict(6, series=bad)
        with pytest.raises(ValueError, match=pattern):
            fitted.historical_forecasts(bad, retrain=False)


def test_a_bad_value_is_found_in_any_of_several_series_and_components() -> None:
    values = wave(components=3).values().copy()
    values[50, 2] = np.inf
    series = [wave(components=3), wave(components=3).with_values(values)]
    with pytest.raises(
        ValueError, match=r"series 1 has 1 values .* in component '2' at 2020-02-20"
    ):
        RimerModel(**TINY).fit(series)


@pytest.mark.parametrize("role", ["series", "val_series"])
def test_a_series_too_short_to_train_on_is_named(role: str) -> None:
    arguments = {"series": [wave(), wave()], role: [wave(), wave(29)]}
    with pytest.raises(
        ValueError,
        match=r"series 1 has 29 values.*at least 30: input_chunk_length 24 \+ output_chunk",
    ):
        RimerModel(**TINY).fit(**arguments)


def test_a_series_too_short_to_predict_from_is_named(fitted: RimerModel) -> None:
    with pytest.raises(ValueError, match=r"too short.*min length: `24`, received length `23`"):
        fitted.predict(6, series=wave(23))


def test_a_wrong_number_of_components_is_named(fitted: RimerModel) -> None:
    with pytest.raises(ValueError, match="number of components: `2`, expected: `1`"):
        fitted.predict(6, series=wave(components=2))
