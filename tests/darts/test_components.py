"""Components that read each other, matched by name in darts' series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_cases import TINY, wave, with_weights_that_matter
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel


def named(series: TimeSeries) -> TimeSeries:
    return series.with_columns_renamed(list(series.components), ["a", "b", "c"])


SERIES, OTHER_ORDER = named(wave(components=3)), ["c", "a", "b"]


def fitted(series: TimeSeries | list[TimeSeries] = SERIES, **options: Any) -> RimerModel:
    model = RimerModel(**{**TINY, "components": "cross", **options})
    return with_weights_that_matter(model.fit(series))


@pytest.fixture(scope="module")
def model() -> RimerModel:
    return fitted()


def test_forecasts_follow_the_names_of_components_and_not_their_order(model: RimerModel) -> None:
    expected = model.predict(15, SERIES)
    found = model.predict(15, [SERIES[OTHER_ORDER], SERIES])
    assert list(found[0].components) == OTHER_ORDER
    assert_same_but_for_rounding(found[0][list("abc")].values(), expected.values())
    assert_same_but_for_rounding(found[1].values(), expected.values())
    # By place they would be others.
    by_place = model.predict(15, named(SERIES[OTHER_ORDER]))
    assert not np.allclose(by_place.values(), found[0].values())


def test_components_read_each_other(model: RimerModel) -> None:
    values = SERIES.values().copy()
    values[-10:, 2] += 3 * np.sin(np.arange(10))
    changed = model.predict(6, SERIES.with_values(values))
    assert not np.allclose(changed["a"].values(), model.predict(6, SERIES)["a"].values())


def test_what_comes_after_the_origin_changes_nothing(model: RimerModel) -> None:
    values = SERIES.values().copy()
    values[100:] = np.random.default_rng(0).normal(size=values[100:].shape)
    options: dict[str, Any] = {
        "start": 100, "start_format": "position", "forecast_horizon": 6, "retrain": False,
        "last_points_only": False, "verbose": False,
    }  # fmt: skip
    first, second = (
        model.historical_forecasts(one, **options)[0]
        for one in (SERIES, SERIES.with_values(values))
    )
    assert first == second


def test_samples_and_quantiles_follow_the_names_as_well() -> None:
    model = fitted(likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    expected = model.predict(6, SERIES, predict_likelihood_parameters=True)
    found = model.predict(6, SERIES[OTHER_ORDER], predict_likelihood_parameters=True)
    assert_same_but_for_rounding(found[list(expected.components)].values(), expected.values())
    samples = model.predict(6, [SERIES[OTHER_ORDER]] * 2, num_samples=5)
    assert list(samples[1].components) == OTHER_ORDER


def test_training_series_in_another_order_train_the_same_model() -> None:
    other = named(wave(components=3, seed=1))
    weights = [SERIES.with_values(np.random.default_rng(i).random((160, 3))) for i in range(2)]
    options = {**TINY, "components": "cross"}
    straight = RimerModel(**options).fit([SERIES, other], sample_weight=weights)
    mixed = RimerModel(**options).fit(
        [SERIES, other[OTHER_ORDER]], sample_weight=[weights[0], weights[1][OTHER_ORDER]]
    )
    assert straight.network.config == mixed.network.config
    own, others = straight.network.state_dict(), mixed.network.state_dict()
    assert all(own[name].equal(others[name]) for name in own)


def test_a_validation_series_in_another_order_is_the_same_series() -> None:
    losses = []
    for validation in (SERIES[-60:], SERIES[-60:][OTHER_ORDER]):
        model = RimerModel(**TINY, components="cross").fit(SERIES[:100], val_series=validation)
        assert model.network.config.target_components == ("a", "b", "c")
        losses.append(float(model.trainer.callback_metrics["val_loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_an_unfitted_model_takes_the_names_of_the_fit_that_succeeds() -> None:
    model = RimerModel(**TINY, components="cross")
    with pytest.raises(ValueError, match="series 1 has components"):
        model.fit([SERIES, wave(components=3)])
    model.fit(SERIES[OTHER_ORDER])
    assert model.network.config.target_components == tuple(OTHER_ORDER)


def test_static_covariates_stay_with_their_components() -> None:
    static = pd.DataFrame({"size": [1.0, 2.0, 5.0]})
    series = SERIES.with_static_covariates(static).astype(np.float32)
    model = fitted(series)
    found = model.predict(6, series[OTHER_ORDER])
    assert_same_but_for_rounding(found[list("abc")].values(), model.predict(6, series).values())


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "z"]])
def test_other_components_are_named(model: RimerModel, names: list[str]) -> None:
    other = SERIES[["a", "b", "c"][: len(names)]].with_columns_renamed(
        ["a", "b", "c"][: len(names)], names
    )
    with pytest.raises(ValueError, match=r"number of components|matched by name"):
        model.predict(6, other)
    with pytest.raises(
        ValueError, match=r"series 1 has components .*fitted with \['a', 'b', 'c'\]"
    ):
        RimerModel(**TINY, components="cross").fit([SERIES, other])


def test_series_of_one_component_may_be_called_anything() -> None:
    panel = [wave(seed=i).with_columns_renamed("0", f"shop {i}") for i in range(2)]
    cross, alone = (
        RimerModel(**TINY, components=components).fit(panel)
        for components in ("cross", "independent")
    )
    forecasts = [model.predict(6, wave(seed=3)) for model in (cross, alone)]
    assert forecasts[0] == forecasts[1]


def test_streams_follow_the_names_of_components(tmp_path: Path) -> None:
    model = fitted(streaming=True)
    first, second = (model.stream(one[:150]) for one in (SERIES, SERIES[OTHER_ORDER]))
    for stream, one in ((first, SERIES), (second, SERIES[OTHER_ORDER])):
        stream.update(one[150:])
    expected = first.predict(15)
    assert_same_but_for_rounding(second.predict(15)[list("abc")].values(), expected.values())
    second.save(tmp_path / "stream.safetensors")
    again = model.load_stream(tmp_path / "stream.safetensors").predict(15)
    assert_same_but_for_rounding(again[list("abc")].values(), expected.values())
    with pytest.raises(ValueError, match="Give the same ones in the same order"):
        first.update(SERIES[OTHER_ORDER][:1].shift(160))


@pytest.mark.parametrize("file", ["model.safetensors", "model.pt"])
def test_weights_are_loaded_with_the_names(file: str, tmp_path: Path) -> None:
    model, path = fitted(), str(tmp_path / file)
    expected = model.predict(6, SERIES)
    model.save(path) if file.endswith("pt") else model.save_weights(path)
    again = RimerModel(**TINY, components="cross")
    again.load_weights(path)
    found = again.predict(6, SERIES[OTHER_ORDER])
    assert_same_but_for_rounding(found[list("abc")].values(), expected.values())


def test_weights_of_the_other_kind_are_refused_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "model.safetensors")
    for own, other in (("cross", "independent"), ("independent", "cross")):
        fitted(components=own).save_weights(path)
        message = f"a model with components='{own}', but this one has components='{other}'"
        with pytest.raises(ValueError, match=message):
            RimerModel(**TINY, components=other).load_weights(path)


def test_a_saved_model_goes_on_with_its_names(model: RimerModel, tmp_path: Path) -> None:
    model.save(str(tmp_path / "model.pt"))
    again = RimerModel.load(str(tmp_path / "model.pt"))
    assert again.predict(6, SERIES[OTHER_ORDER]) == model.predict(6, SERIES[OTHER_ORDER])
    again.fit(SERIES[OTHER_ORDER], epochs=1)
    assert again.network.config.target_components == ("a", "b", "c")


def test_names_that_are_not_known_are_asked_for(model: RimerModel) -> None:
    dataset = model._build_train_dataset([SERIES], None, None, None, None)
    with pytest.raises(ValueError, match="names are not known: fit by fit"):
        RimerModel(**TINY, components="cross").fit_from_dataset(dataset)


def test_pretrained_weights_begin_as_they_are() -> None:
    options = {"input_chunk_length": 130, "output_chunk_length": 6, "pretrained": "rimer-zero"}
    trainer = {"pl_trainer_kwargs": TINY["pl_trainer_kwargs"], "n_epochs": 1, "random_state": 0}
    still = {"optimizer_kwargs": {"lr": 1e-30}}
    cross, alone = (
        RimerModel(**options, **trainer, **still, components=components).fit(SERIES)
        for components in ("cross", "independent")
    )
    assert_same_but_for_rounding(cross.predict(6).values(), alone.predict(6).values())
