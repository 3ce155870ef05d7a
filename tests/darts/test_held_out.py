"""What RimerModel holds back of few windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from rimer_forecaster import RimerModel, RimerNetwork, RimerZeroModel
from rimer_forecaster.darts.series import TrainingDataset
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.held_out import KeepBest

SILENT = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def noise(length: int = 130, seed: int = 0) -> TimeSeries:
    values = np.random.default_rng(seed).standard_normal((length, 1)).astype(np.float32)
    return TimeSeries.from_values(values)


def model(**kwargs: Any) -> RimerModel:
    return RimerModel(24, 6, random_state=0, pl_trainer_kwargs=SILENT, **kwargs)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("shift", [0, 4])
def test_no_step_that_validates_is_trained_on(stride: int, shift: int) -> None:
    series = [TimeSeries.from_values(np.arange(n, dtype=float)) for n in (60, 45, 100)]
    whole = TrainingDataset(
        series, input_chunk_length=12, output_chunk_length=5, output_chunk_shift=shift,
        stride=stride,
    )  # fmt: skip
    train, validation = whole.split(0.2)
    assert 0 < len(train) + len(validation) <= len(whole)
    for number, one in enumerate(series):
        forecast = [
            {int(x) for i, x in enumerate(part) for x in part[i].future_target[:, 0]}
            for part in (_of_series(train, number), _of_series(validation, number))
        ]
        assert forecast[0].isdisjoint(forecast[1])
        assert max(forecast[0]) < min(forecast[1])
        assert max(forecast[1]) == len(one) - 1


def _of_series(part: Any, number: int) -> Any:
    ends = [0, *part.whole._ends]
    own = [i for i in part.indices if ends[number] <= i < ends[number + 1]]
    return [part.whole[i] for i in own]


def test_series_too_short_to_be_split_are_trained_on_in_whole() -> None:
    whole = TrainingDataset([noise(20)], input_chunk_length=12, output_chunk_length=5)
    assert whole.split(0.2) is None


def test_few_windows_stop_the_training_and_widen_its_intervals() -> None:
    series, found = noise(), {}
    quantiles = QuantileRegression([0.1, 0.5, 0.9])
    for name, recipe in (("all", Recipe(held_out=0)), ("default", None)):
        own = model(likelihood=quantiles, recipe=recipe, pretrained=None).fit(series)
        epochs = own.epochs_trained
        low, _, high = own.predict(6, predict_likelihood_parameters=True).values().T
        found[name] = epochs, float((high - low).mean())
    assert found["default"][0] < found["all"][0]
    assert found["default"][1] > 1.2 * found["all"][1]


@pytest.mark.parametrize("kind", ["n_epochs", "max_epochs", "val_series", "many"])
def test_what_the_user_says_about_the_training_holds(kind: str) -> None:
    found = []
    for recipe in (Recipe(few_windows=10 if kind == "many" else 2000), Recipe(held_out=0)):
        kwargs: dict[str, Any] = {"recipe": recipe}
        if kind == "n_epochs":
            kwargs["n_epochs"] = 2
        own = model(**kwargs)
        if kind == "max_epochs":
            own = RimerModel(
                24, 6, random_state=0, pl_trainer_kwargs=SILENT | {"max_epochs": 2}, recipe=recipe
            )
        validation = {"val_series": noise(60, seed=1)} if kind == "val_series" else {}
        found.append(own.fit(noise(), **validation).predict(6).values())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("wanted", [None, [0.1, 0.5, 0.9]])
def test_fine_tuned_weights_widen_all_their_quantiles(
    wanted: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors: list[float] = []
    monkeypatch.setattr(RimerNetwork, "widen_quantiles", lambda _, x: factors.append(x))
    values = np.sin(np.arange(260) / 4) + 0.2 * np.random.default_rng(0).normal(size=260)
    RimerZeroModel(
        (16, 64),
        12,
        likelihood=None if wanted is None else QuantileRegression(wanted),
        enable_finetuning=True,
        recipe=Recipe(steps=6, fewest_epochs=1, most_epochs=1),
        pl_trainer_kwargs=SILENT,
    ).fit(TimeSeries.from_values(values.astype(np.float32)))
    assert len(factors) == 1
    assert factors[0] >= 1


def test_what_was_held_back_is_not_kept() -> None:
    own = model(likelihood=QuantileRegression([0.1, 0.5, 0.9]), pretrained=None).fit(noise())
    assert not any(isinstance(x, KeepBest) for x in vars(own).values())


def test_windows_that_validate_count_in_the_units_of_the_training() -> None:
    small, large = (TimeSeries.from_values(x * noise(60).values()) for x in (1.0, 1e4))
    parts = [
        TrainingDataset([x], input_chunk_length=12, output_chunk_length=5, output_chunk_shift=0)
        for x in (small, large)
    ]
    moved = parts[1].in_units_of(parts[0])
    assert np.array_equal(moved.units, parts[0].units)
    assert not np.array_equal(parts[1].units, parts[0].units)
    assert [x.__getitems__([0]).tame for x in (*parts, moved)] == [True, True, False]
