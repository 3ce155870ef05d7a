"""Speed of RimerForecaster beside sktime's own networks, and what it adds to its network.

    python examples/figures/sktime_speed.py [--rounds 5] [--quick] [--output FOLDER]

Needs the extra 'benchmark'; what is not installed of it is left out, and named, but for darts. Each
forecaster is fitted once on a noisy sine of 2,000 hours, look-back 96 and horizon 24, and forecasts
once. Fits are of one epoch or as many optimiser steps. One round does all of them in turn; a ratio
is the median over the rounds of the ratio within a round. A first round warms up and is not
counted. Writes sktime_speed.csv.

- NeuralForecast takes 128 windows per step whatever it is told, so RimerForecaster does too beside
  it. Its LSTM and GRU have one layer of 64 units here (two of 200 by default, which is slower).
- LTSFTransformerForecaster is behind a scaler, and of the size of the backtest.
- A panel of 500 series of 300 steps is one global model: seconds per window of an epoch, over
  those of the single series.
- What the forecaster adds to its network, over all that a forecaster of constants takes. Of a
  fit it is the time less the training of a network on the same windows; of predict, the time less
  the network's on the same window. Medians of ten in turn; these fits are of one step.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from records import write_table
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.es_rnn import ESRNNForecaster
from sktime.forecasting.ltsf import LTSFTransformerForecaster
from sktime.forecasting.neuralforecast import NeuralForecastGRU, NeuralForecastLSTM
from sktime.forecasting.xlstm import XLSTMForecaster
from sktime.transformations.adapt import TabularToSeriesAdaptor
from windows import SILENT

from rimer_forecaster import RimerForecaster, RimerNetwork
from rimer_forecaster.benchmark import versions
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.fit import train
from rimer_forecaster.training.windows import Windows

STEPS, LOOK_BACK, HORIZON = 2_000, 96, 24
BATCH, NEURAL_FORECAST_BATCH = 32, 128
WINDOWS = STEPS - LOOK_BACK - HORIZON + 1
FH = range(1, HORIZON + 1)


def sines(series: int, steps: int) -> pd.DataFrame:
    """Noisy sines by hour, as a panel; each begins elsewhere."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2020-01-01", periods=steps, freq="h", name="hour")
    phase = rng.uniform(0, 24, size=(series, 1))
    values = np.sin(2 * np.pi * (np.arange(steps) + phase) / 24) + 10
    values = values + 0.1 * rng.normal(size=values.shape)
    index = pd.MultiIndex.from_product([range(series), hours], names=["series", "hour"])
    return pd.DataFrame({"y": values.ravel()}, index=index)


def rimer(batch: int) -> RimerForecaster:
    """One epoch with the defaults."""
    return RimerForecaster(LOOK_BACK, n_epochs=1, batch_size=batch, random_state=0)


def recurrent(kind: type[BaseForecaster]) -> BaseForecaster:
    """One of NeuralForecast's, with as many steps as our epoch has."""
    return kind(
        freq="h",
        input_size=LOOK_BACK,  # 2 by default
        encoder_hidden_size=64,
        encoder_n_layers=1,
        max_steps=math.ceil(WINDOWS / NEURAL_FORECAST_BATCH),
        trainer_kwargs=SILENT,
    )


def transformer() -> BaseForecaster:
    """LTSFTransformerForecaster behind the scaler that it needs."""
    network = LTSFTransformerForecaster(
        seq_len=LOOK_BACK,
        context_len=LOOK_BACK // 2,
        pred_len=HORIZON,
        num_epochs=1,
        batch_size=BATCH,
        temporal_encoding=False,
        d_model=32,
        d_ff=64,
        n_heads=4,
        e_layers=1,
        d_layers=1,
    )
    return TransformedTargetForecaster([TabularToSeriesAdaptor(StandardScaler()), network])


def es_rnn() -> BaseForecaster:
    """ESRNNForecaster with an LSTM of 64 units."""
    return ESRNNForecaster(
        hidden_size=64,
        num_layer=1,
        window=LOOK_BACK,
        pred_len=HORIZON,
        batch_size=BATCH,
        num_epochs=1,
        seasonality_type="single",
        season1_length=24,
    )


def x_lstm() -> BaseForecaster:
    """XLSTMForecaster with its defaults."""
    return XLSTMForecaster(sequence_length=LOOK_BACK, batch_size=BATCH, n_epochs=1)


OURS = {BATCH: f"RimerForecaster, {BATCH} windows", 128: "RimerForecaster, 128 windows"}
TABLE: dict[str, tuple[int, Callable[[], BaseForecaster]]] = {
    OURS[BATCH]: (BATCH, lambda: rimer(BATCH)),
    "LTSFTransformerForecaster": (BATCH, transformer),
    "ESRNNForecaster": (BATCH, es_rnn),
    "XLSTMForecaster": (BATCH, x_lstm),
    OURS[128]: (128, lambda: rimer(128)),
    "NeuralForecastLSTM": (128, lambda: recurrent(NeuralForecastLSTM)),
    "NeuralForecastGRU": (128, lambda: recurrent(NeuralForecastGRU)),
}


def seconds(call: Callable[[], Any]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def beside_others(rounds: int) -> list[dict[str, Any]]:
    """Fit and predict of every forecaster, in seconds and over ours."""
    y = sines(1, STEPS).droplevel(0)["y"].asfreq("h")
    made = {}
    for name, (_, make) in TABLE.items():
        try:
            made[name] = make
            make()
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}")
            del made[name]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for done in range(rounds + 1):
        for name, make in made.items():
            forecaster = make()
            fit = seconds(partial(forecaster.fit, y, fh=FH))
            predict = min(seconds(forecaster.predict) for _ in range(3))
            if done:
                times[name].append((fit, predict))
    rows = []
    for name, pairs in times.items():
        ours = times[OURS[TABLE[name][0]]]
        both = list(zip(pairs, ours, strict=True))
        rows.append(
            {
                "what": name,
                "fit, s": median(fit for fit, _ in pairs),
                "predict, ms": 1e3 * median(predict for _, predict in pairs),
                "fit over ours": median(pair[0] / our[0] for pair, our in both),
                "predict over ours": median(pair[1] / our[1] for pair, our in both),
            }
        )
    return rows


def panel_over_series(rounds: int, series: int) -> dict[str, Any]:
    """Seconds per window of an epoch: a panel's over a single series'."""
    panel, y = sines(series, 300), sines(1, STEPS).droplevel(0)
    windows = series * (300 - LOOK_BACK - HORIZON + 1)
    ratios, fits = [], []
    for _ in range(rounds):
        fits.append(seconds(lambda: rimer(BATCH).fit(panel, fh=FH)))
        single = seconds(lambda: rimer(BATCH).fit(y, fh=FH))
        ratios.append((fits[-1] / windows) / (single / WINDOWS))
    return {
        "what": f"panel of {series} x 300, one model: per window over that of a series",
        "fit, s": median(fits),
        "ratio": median(ratios),
    }


class Constant(BaseForecaster):
    """What sktime itself spends: this one repeats the last value."""

    _tags = {  # noqa: RUF012  # sktime's way to declare tags
        "y_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "requires-fh-in-fit": False,
    }
    _config = {"remember_data": False}  # noqa: RUF012

    def _fit(self, y: pd.DataFrame, X: Any, fh: Any) -> Constant:
        self._last = y.iloc[[-1]]
        return self

    def _predict(self, fh: Any, X: Any) -> pd.DataFrame:
        index = fh.to_absolute_index(self.cutoff)
        values = np.repeat(self._last.to_numpy(), len(index), axis=0)
        return pd.DataFrame(values, index=index, columns=self._last.columns)


def added(rounds: int) -> list[dict[str, Any]]:
    """What the forecaster adds to its network, over all that a constant one takes."""
    frame = sines(1, STEPS).droplevel(0).asfreq("h")
    scaler = StandardScaler().fit(frame.to_numpy())
    scaled = torch.from_numpy(scaler.transform(frame.to_numpy()).astype(np.float32))  # (n, 1)
    windows = Windows([scaled], None, input_chunk_length=LOOK_BACK, output_chunk_length=HORIZON)
    window = scaled[None, -LOOK_BACK:]
    step = {"max_steps": 1}  # what is added is added once, however long the training
    constant = Constant().fit(frame, fh=FH)
    ours = RimerForecaster(LOOK_BACK, batch_size=BATCH, trainer_kwargs=step, random_state=0)
    ours.fit(frame, fh=FH)
    network = RimerNetwork(LOOK_BACK, HORIZON, outputs=ours.network_.config.outputs)

    def train_network() -> None:
        train(
            network,
            windows,
            recipe=Recipe(),
            batch_size=BATCH,
            n_epochs=None,
            generator=torch.Generator(),
            trainer_kwargs=step,
        )

    def forecast_window() -> torch.Tensor:
        return ours.network_.forecast_windows(window, HORIZON)  # (1, H, 1, Q)

    median_forecast = forecast_window()[0, :, 0, ours.network_.config.middle]
    expected = scaler.inverse_transform(median_forecast[:, None].numpy())
    np.testing.assert_allclose(ours.predict().to_numpy(), expected, rtol=1e-5)  # same window
    assert len(windows) == WINDOWS

    cases: dict[str, tuple[Callable[[], Any], ...]] = {
        "fit": (lambda: ours.fit(frame, fh=FH), train_network, lambda: constant.fit(frame, fh=FH)),
        "predict": (ours.predict, forecast_window, constant.predict),
    }
    rows = []
    for name, calls in cases.items():
        differences, ratios = [], []
        for done in range(rounds + 1):
            turns = [[seconds(call) for call in calls] for _ in range(10)]
            whole, inside, constants = (median(times) for times in zip(*turns, strict=True))
            if done:
                differences.append(whole - inside)
                ratios.append((whole - inside) / constants)
        rows.append(
            {
                "what": f"{name}: what RimerForecaster adds to its network, over a constant "
                "forecaster",
                f"{name}, ms": 1e3 * median(differences),
                "ratio": median(ratios),
            }
        )
    return rows


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--quick", action="store_true", help="see that it runs")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Measure, print and write the table."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.simplefilter("ignore")  # of other libraries about each other, at every fit
    rounds = 1 if arguments.quick else arguments.rounds
    rows = beside_others(rounds)
    rows.append(panel_over_series(rounds, 20 if arguments.quick else 500))
    rows += added(rounds)
    table = pd.DataFrame(rows)
    path = arguments.output / "sktime_speed.csv"
    write_table(table, path, float_format="%.4g")
    print(table.to_string(index=False, float_format="%.3g", na_rep=""))
    print(f"\n{versions()}.\nwrote {path}")


if __name__ == "__main__":
    main()
