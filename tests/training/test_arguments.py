"""Arguments of both libraries' models: whatever is wrong is named, and numbers of a grid work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("darts", reason="the models of both libraries are tried")
pytest.importorskip("sktime", reason="the models of both libraries are tried")

from rimer_forecaster import RimerForecaster, RimerModel, RimerZeroModel
from rimer_forecaster.training import Recipe
from tests.cases import darts_cases, sktime_cases

ANYTHING: list[Any] = [
    *(None, True, np.True_, "no", "0.1", "", b"x", 3j, object(), Recipe, [], [8, 12], (), {}),
    *((8, 12), (12, 8), ("a",), {"foo": 1}, {"lr": -1}, {"precision": "x"}, {3: 4}),
    *(-1, 0, 1, 2, np.int64(1), np.int32(-2), -1e-3, 0.5, 1.5, math.nan, math.inf),
    *(np.float32(0.5), np.array([0.5])),
]

OF_RIMER_MODEL = [
    *("input_chunk_length", "output_chunk_length", "output_chunk_shift", "layers", "width"),
    *("head_size", "patch_length", "dropout", "layers_rate", "initial_state", "components"),
    *(
        "covariates",
        "streaming",
        "use_static_covariates",
        "n_epochs",
        "recipe",
        "pretrained",
        "batch_size",
    ),
    "random_state",
    *("likelihood", "loss_fn", "torch_metrics", "optimizer_cls", "optimizer_kwargs"),
    *("lr_scheduler_cls", "lr_scheduler_kwargs", "nr_epochs_val_period", "pl_trainer_kwargs"),
    *("add_encoders", "show_warnings", "use_reversible_instance_norm"),
]


def argument_sets(names: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Up to three arguments, with values of which most make no sense."""
    values = st.sampled_from(ANYTHING)
    return st.dictionaries(st.sampled_from(list(names)), values, min_size=1, max_size=3)


def check_it_works_or_names_one(
    arguments: dict[str, Any], forecast: Callable[[], np.ndarray]
) -> None:
    try:
        values, message = forecast(), None
    except ValueError as error:
        values, message = np.zeros(1), str(error)
    assert np.isfinite(values).all()
    assert message is None or any(name in message for name in arguments), message


@given(argument_sets(sorted(RimerForecaster.get_param_names())))
@settings(max_examples=80, deadline=None)
def test_a_forecaster_works_or_its_error_names_an_argument(arguments: dict[str, Any]) -> None:
    def forecast() -> np.ndarray:
        forecaster = RimerForecaster(**sktime_cases.TINY | arguments)
        return forecaster.fit(sktime_cases.wave(60), fh=[1, 2]).predict().to_numpy()

    check_it_works_or_names_one(arguments, forecast)


@given(argument_sets(OF_RIMER_MODEL))
@settings(max_examples=80, deadline=None)
def test_a_model_works_or_its_error_names_an_argument(arguments: dict[str, Any]) -> None:
    def forecast() -> np.ndarray:
        model = RimerModel(**darts_cases.TINY | arguments)
        return model.fit(darts_cases.wave(60)).predict(2).values()

    check_it_works_or_names_one(arguments, forecast)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -1e-3}, r"learning_rate=-0\.001 must be above 0"),
        ({"learning_rate": 0}, "learning_rate=0 must be above 0"),
        ({"weight_decay": -1}, "weight_decay=-1 must be at least 0"),
        ({"n_epochs": True}, "n_epochs=True must be a whole number"),
        ({"trainer_kwargs": {"max_epochs": "3"}}, "max_epochs='3' must be a whole number"),
        ({"trainer_kwargs": {"epochs": 3}}, "trainer_kwargs holds 'epochs', which is no argument"),
        ({"trainer_kwargs": {"precision": "x"}}, "trainer_kwargs=.*'x' is invalid"),
        ({"random_state": 1.5}, r"random_state=1\.5 must be a whole number"),
        ({"quantiles": 0.5}, r"quantiles=0\.5 must be .* such as \(0\.1, 0\.5, 0\.9\)"),
        ({"recipe": {"steps": 3}}, r"recipe=\{'steps': 3\} must be .* Recipe\(steps=4000\)"),
        ({"pretrained": 3}, "pretrained=3 cannot be used"),
    ],
)
def test_nonsense_for_a_forecaster_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**sktime_cases.TINY | arguments).fit(sktime_cases.wave(60), fh=[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer_kwargs": {"lr": 0}}, "optimizer_kwargs=.*learning_rate=0 must be above 0"),
        ({"optimizer_kwargs": {"weight_decay": -1}}, "optimizer_kwargs=.*must be at least 0"),
        ({"optimizer_kwargs": {"rate": 1}}, "optimizer_kwargs=.*unexpected keyword .*'rate'"),
        ({"optimizer_cls": None}, "optimizer_cls=None must be a class"),
        ({"lr_scheduler_cls": Recipe}, "lr_scheduler_cls.*cannot be used"),
        ({"loss_fn": torch.nn.L1Loss}, r"loss_fn=.* must be an object, such as torch\.nn"),
        ({"n_epochs": -1}, "n_epochs=-1 must be a whole number of at least 0"),
        ({"n_epochs": True}, "n_epochs=True must be a whole number"),
        ({"output_chunk_shift": -1}, "output_chunk_shift=-1 must be a whole number of at least 0"),
        ({"use_static_covariates": "no"}, "use_static_covariates='no' must be True or False"),
        ({"save_checkpoints": "no"}, "save_checkpoints='no' must be True or False"),
        ({"input_chunk_length": [8, 24]}, r"input_chunk_length=\[8, 24\] .* such as \(8, 96\)"),
        ({"likelihood": "quantile"}, r"likelihood='quantile' .* QuantileRegression\(\[0\.1"),
        ({"work_dir": 3}, "work_dir=3 must be a string"),
    ],
)
def test_nonsense_for_a_model_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RimerModel(**darts_cases.TINY | arguments).fit(darts_cases.wave(60))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_chunk_length": [8, 24]}, r"such as \(8, 96\)"),
        ({"output_chunk_length": 0}, "output_chunk_length=0 must be a whole number"),
        ({"n_epochs": 1.5}, r"n_epochs=1\.5 must be a whole number"),
        ({"batch_size": "a"}, "batch_size='a' must be a whole number"),
        ({"recipe": 3}, "recipe=3 must be"),
        ({"hub_model_name": 3}, "hub_model_name=3 cannot be used"),
    ],
)
def test_nonsense_for_a_zero_shot_model_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RimerZeroModel(**{"input_chunk_length": (8, 24), "output_chunk_length": 4} | arguments)


def test_numbers_of_a_grid_are_plain_ones() -> None:
    sizes = {name: np.int64(darts_cases.TINY[name]) for name in ("width", "n_epochs")}
    more = {"batch_size": np.int32(16), "random_state": np.int64(0), "streaming": np.bool_(False)}
    model = RimerModel(**darts_cases.TINY | sizes | more).fit(darts_cases.wave(60))
    assert model.epochs_trained == 1
    forecaster = RimerForecaster(**sktime_cases.TINY | sizes | more)
    assert len(forecaster.fit(sktime_cases.wave(60), fh=[1]).predict()) == 1
    zero = RimerZeroModel((8, 24), np.int64(4), n_epochs=np.int64(1), **darts_cases.QUIET)
    assert len(zero.fit(darts_cases.wave(60)).predict(4)) == 4
    assert type(Recipe(steps=np.int64(3), learning_rate=np.float32(0.5)).steps) is int
