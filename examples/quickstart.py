"""RimerModel beside darts' Transformer, LSTM, GRU and NLinear, and seasonal naive.

All train on the first 80 % of weekly CO2 at Mauna Loa and forecast every half year of the rest.
Prints a table and writes quickstart.png, in one to two minutes on two cores.
"""

import logging
import os
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.api as sm
import torch
from darts import TimeSeries, concatenate
from darts.metrics import mae, rmse
from darts.models import BlockRNNModel, NaiveSeasonal, NLinearModel, TransformerModel
from darts.utils.missing_values import fill_missing_values

from rimer_forecaster import RimerModel

epochs = int(os.environ.get("RIMER_EPOCHS", 0)) or 10
torch.set_num_threads(1)  # networks this small only wait for each other's threads
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="pytorch_lightning|torch")  # remarks at every fit

weeks = sm.datasets.co2.load_pandas().data["co2"]  # parts per million, 1958 to 2001
series = fill_missing_values(TimeSeries.from_series(weeks)).astype(np.float32)
train, test = series.split_before(0.8)

settings = {
    "input_chunk_length": 104,  # two years
    "output_chunk_length": 26,  # half a year
    "n_epochs": epochs,
    "random_state": 0,
    "loss_fn": torch.nn.L1Loss(),
    "pl_trainer_kwargs": {"enable_progress_bar": False, "enable_model_summary": False},
}
# RimerModel scales its windows itself. The others could not follow a rising curve without this:
norm = {"use_reversible_instance_norm": True}
small = {"d_model": 32, "nhead": 4, "num_encoder_layers": 1, "num_decoder_layers": 1}
models = {
    "RimerModel": RimerModel(**settings),
    "Transformer": TransformerModel(dim_feedforward=64, **small, **settings, **norm),
    "LSTM": BlockRNNModel(model="LSTM", hidden_dim=64, **settings, **norm),
    "GRU": BlockRNNModel(model="GRU", hidden_dim=64, **settings, **norm),
    "NLinear": NLinearModel(**settings),
    "seasonal naive": NaiveSeasonal(K=52),
}

rows, figure = [], plt.figure(figsize=(12, 9), layout="constrained")
axes = figure.subplots(3, 2, sharex=True, sharey=True)
for axis, (name, model) in zip(axes.flat, models.items(), strict=True):
    start = time.perf_counter()
    model.fit(train)
    seconds = time.perf_counter() - start
    half_years = model.historical_forecasts(
        series,
        start=test.start_time(),
        forecast_horizon=26,
        stride=26,
        retrain=name == "seasonal naive",  # whose fit only remembers the series
        last_points_only=False,
    )
    forecast = concatenate(half_years)
    errors = {"MAE, ppm": mae(test, forecast), "RMSE, ppm": rmse(test, forecast)}
    rows.append({"model": name, **errors, "fit, s": seconds})
    print(f"{name}: fitted in {seconds:.1f} s", flush=True)
    axis.plot(test.time_index, test.values(), color="black", lw=1, label="measured")
    axis.plot(forecast.time_index, forecast.values(), "--", color="tab:red", label="forecast")
    axis.set_title(f"{name}: MAE {errors['MAE, ppm']:.2f} ppm")
print("\n" + pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))
axes[0, 0].legend()
figure.supylabel("CO2 at Mauna Loa, ppm, forecast half a year at a time")
figure.savefig("quickstart.png", dpi=110)
