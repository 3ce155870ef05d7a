"""Forecasts of both libraries' models from fixed seeds, stored to be compared after a rewrite.

    python tests/contracts/stored_forecasts.py save FILE.npz
    python tests/contracts/stored_forecasts.py compare FILE.npz

A change of the code that is to change no forecast leaves all of them equal to the bit, on the same
machine and with the same versions of its dependencies. Only public names are used, so that the
script runs before and after a move.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    NegativeBinomialLikelihood,
    QuantileRegression,
)

from rimer_forecaster import RimerForecaster, RimerModel, RimerNetwork

Values = dict[str, np.ndarray]

SILENT = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
}

CASES: dict[str, Callable[[], Values]] = {}


def case(function: Callable[[], Values]) -> Callable[[], Values]:
    CASES[function.__name__] = function
    return function


def waves(n: int, components: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = np.arange(n)[:, None]
    periods = 12 + 5 * np.arange(components)
    return 20 + 3 * np.sin(2 * np.pi * steps / periods) + rng.normal(size=(n, components))


def with_gaps(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[10:14] = np.nan
    values[np.random.default_rng(1).random(len(values)) < 0.1] = np.nan
    return values


def darts_series(values: np.ndarray, start: str = "2024-01-01") -> TimeSeries:
    times = pd.date_range(start, periods=len(values), freq="D")
    return TimeSeries.from_times_and_values(times, values.astype(np.float32))


def darts_model(**arguments: object) -> RimerModel:
    settings = {
        "input_chunk_length": 24,
        "output_chunk_length": 6,
        "n_epochs": 2,
        "random_state": 0,
    }
    return RimerModel(**settings | {"pl_trainer_kwargs": SILENT} | arguments)


def values_of(forecast: object) -> np.ndarray:
    if isinstance(forecast, TimeSeries):
        return forecast.all_values()
    return np.concatenate([values_of(one) for one in forecast])


def fitted(series: object, **arguments: object) -> Values:
    model = darts_model(**arguments).fit(series)
    past = series if isinstance(series, TimeSeries) else series[0]
    return {"forecast": values_of(model.predict(15, series=past))}


@case
def darts_default() -> Values:
    series = darts_series(waves(120))
    model = darts_model().fit(series)
    backtest = model.historical_forecasts(
        series, start=0.8, forecast_horizon=6, retrain=False, last_points_only=False
    )
    return {"forecast": values_of(model.predict(15)), "backtest": values_of(backtest)}


@case
def darts_quantiles() -> Values:
    likelihood = QuantileRegression([0.1, 0.5, 0.9])
    model = darts_model(likelihood=likelihood).fit(darts_series(waves(120, 2)))
    return {
        "quantiles": values_of(model.predict(6, predict_likelihood_parameters=True)),
        "point": values_of(model.predict(6)),
    }


@case
def darts_gaussian() -> Values:
    model = darts_model(likelihood=GaussianLikelihood()).fit(darts_series(waves(120)))
    return {"parameters": values_of(model.predict(6, predict_likelihood_parameters=True))}


@case
def darts_counts() -> Values:
    counts = np.random.default_rng(2).poisson(0.7, size=(150, 1))
    model = darts_model(likelihood=NegativeBinomialLikelihood()).fit(darts_series(counts))
    return {"parameters": values_of(model.predict(6, predict_likelihood_parameters=True))}


@case
def darts_covariates() -> Values:
    series = darts_series(waves(120, 2)).with_static_covariates(pd.DataFrame({"a": [1.0, 2.0]}))
    known = {
        "past_covariates": darts_series(waves(130, 1, seed=3)),
        "future_covariates": darts_series(waves(140, 2, seed=4)),
    }
    model = darts_model(initial_state="static").fit(series, **known)
    return {"forecast": values_of(model.predict(6, **known))}


@case
def darts_missing() -> Values:
    return fitted(darts_series(with_gaps(waves(120, 2))))


@case
def darts_panel() -> Values:
    panel = [darts_series(waves(n, seed=n)) for n in (60, 31, 90)]
    model = darts_model(input_chunk_length=(8, 24)).fit(panel)
    return {"forecast": values_of(model.predict(6, series=[one[-12:] for one in panel]))}


@case
def darts_equilibrium() -> Values:
    return fitted(darts_series(waves(120)), layers="equilibrium(rwkv7)")


@case
def darts_hybrid() -> Values:
    return fitted(darts_series(waves(120)), layers="(rwkv7, attention(window=3))*2, rwkv7")


@case
def darts_cells() -> Values:
    return fitted(darts_series(waves(120)), layers="gru, lstm, attention")


@case
def darts_linear() -> Values:
    return fitted(darts_series(waves(120)), layers=None)


@case
def darts_stream() -> Values:
    series = darts_series(with_gaps(waves(140, 2)))
    known = {"future_covariates": darts_series(waves(170, 1, seed=5))}
    model = darts_model(streaming=True, initial_state="learned", layers="rwkv7*2")
    model.fit(series[:120], **known)
    stream = model.stream(series[:120], **known)
    found = {"begun": values_of(stream.predict(9, **known))}
    stream.update(series[120:127], **known)
    found["updated"] = values_of(stream.predict(6, **known))
    diagnostics = model.diagnostics(series[:120], **known)
    found["norms"] = diagnostics.state_norms.to_numpy()
    found["half-lives"] = diagnostics.half_lives.iloc[:, 2:].to_numpy()
    return found


@case
def darts_weights() -> Values:
    series = darts_series(waves(120))
    model = darts_model(layers="rwkv7*2").fit(series)
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/weights.safetensors")
        other = darts_model(layers="rwkv7*2")
        other.load_weights(f"{folder}/weights.safetensors")
        return {"forecast": values_of(other.predict(6, series=series))}


@case
def darts_own_optimiser() -> Values:
    scheduler = {"lr_scheduler_cls": torch.optim.lr_scheduler.StepLR}
    kwargs = {"lr_scheduler_kwargs": {"step_size": 1}, "optimizer_kwargs": {"lr": 1e-3}}
    return fitted(darts_series(waves(120)), **scheduler, **kwargs)


def frame(values: np.ndarray, start: str = "2024-01-01") -> pd.DataFrame:
    times = pd.date_range(start, periods=len(values), freq="D")
    return pd.DataFrame(values, index=times, columns=[f"c{i}" for i in range(values.shape[1])])


def panel_of(lengths: tuple[int, ...]) -> pd.DataFrame:
    parts = {f"s{n}": frame(waves(n, seed=n)) for n in lengths}
    return pd.concat(parts, names=["series", "time"])


def forecaster(**arguments: object) -> RimerForecaster:
    settings = {"input_chunk_length": 24, "n_epochs": 2, "random_state": 0}
    return RimerForecaster(**settings | arguments)


AHEAD = range(1, 10)


@case
def sktime_default() -> Values:
    model = forecaster().fit(frame(waves(120, 2)), fh=AHEAD)
    return {
        "forecast": model.predict().to_numpy(),
        "quantiles": model.predict_quantiles(alpha=[0.07, 0.5, 0.99]).to_numpy(),
        "in sample": model.predict([-3, 0, 4, 20]).to_numpy(),
    }


@case
def sktime_covariates() -> Values:
    y, X = frame(waves(120)), frame(waves(140, 2, seed=6))
    model = forecaster(output_chunk_length=5, layers="rwkv7*2").fit(y, X=X, fh=AHEAD)
    return {"forecast": model.predict(X=X).to_numpy()}


@case
def sktime_missing() -> Values:
    y = frame(with_gaps(waves(120)))
    return {"forecast": forecaster(patch_length=5).fit(y, fh=AHEAD).predict().to_numpy()}


@case
def sktime_panel() -> Values:
    model = forecaster(validation_fraction=0.2).fit(panel_of((60, 15, 90)), fh=AHEAD)
    return {"forecast": model.predict().to_numpy()}


@case
def sktime_update() -> Values:
    y = frame(waves(140))
    model = forecaster().fit(y[:120], fh=AHEAD)
    model.update(y[120:125], update_params=False)
    kept = model.predict().to_numpy()
    model.update(y[125:])
    return {"kept": kept, "trained": model.predict().to_numpy()}


@case
def sktime_stream() -> Values:
    y, X = frame(with_gaps(waves(140))), frame(waves(170, 1, seed=7))
    model = forecaster(streaming=True, initial_state="learned").fit(y[:120], X=X, fh=AHEAD)
    begun = model.predict(X=X).to_numpy()
    model.update(y[120:127], X=X[120:127], update_params=False)
    carried = model.predict(X=X).to_numpy()
    model.update(y[127:], X=X[127:140])
    return {"begun": begun, "carried": carried, "anew": model.predict(X=X).to_numpy()}


@case
def sktime_pretrained() -> Values:
    learnt = forecaster().pretrain(panel_of((60, 40, 90)), fh=AHEAD).pretrained_
    y = frame(waves(50, seed=8))
    as_is = forecaster(pretrained=learnt, n_epochs=0).fit(y, fh=AHEAD).predict()
    tuned = forecaster(pretrained=learnt).fit(y, fh=AHEAD).predict()
    return {"as it is": as_is.to_numpy(), "tuned": tuned.to_numpy()}


@case
def network_in_double_precision() -> Values:
    found: Values = {}
    for dtype in (torch.float64, torch.float32):
        generator = torch.Generator().manual_seed(0)
        network = RimerNetwork(
            24,
            6,
            past_covariates=1,
            outputs=("location", "scale"),
            layers="rwkv7*2",
            generator=generator,
        ).to(dtype)
        by_name = {name.removeprefix("skip."): x for name, x in network.named_parameters()}
        for _, parameter in sorted(by_name.items()):
            torch.nn.init.normal_(parameter.data, std=0.05, generator=generator)
        x = torch.from_numpy(with_gaps(waves(24, 3))).to(dtype)[None]
        past = torch.from_numpy(waves(24, 1, seed=9)).to(dtype)[None]
        network.eval()
        with torch.no_grad():
            found[f"window {dtype}"] = network(x, past_covariates=past).numpy()
            state = network.observe(x, past_covariates=past)
            found[f"stream {dtype}"] = network.forecast(state).numpy()
    return found


def found() -> Iterator[tuple[str, np.ndarray]]:
    for name, function in CASES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = function()
        for what, array in values.items():
            yield f"{name}: {what}", array


def main() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    action, path = sys.argv[1], Path(sys.argv[2])
    if action == "save":
        np.savez(path, **dict(found()))
        return
    stored, different = np.load(path), 0
    seen = set()
    for name, array in found():
        seen.add(name)
        if name not in stored:
            print(f"{name}: not stored")
            different += 1
        elif not np.array_equal(array, stored[name], equal_nan=True):
            different += 1
            off = (
                np.nanmax(np.abs(array - stored[name]))
                if array.shape == stored[name].shape
                else "shape"
            )
            print(f"{name}: differs by {off}")
    absent = set(stored) - seen
    print(f"{len(seen)} compared, {different} different, {len(absent)} absent {sorted(absent)}")
    sys.exit(bool(different or absent))


if __name__ == "__main__":
    main()
