"""A live feed under RimerModel: values come one at a time, and each brings a new forecast.

A stream carries a state of constant size, so that an update costs the same after any history.
Prints times and errors on weekly CO2 at Mauna Loa, in less than a minute on two cores.
"""

import logging
import os
import time
import warnings

import numpy as np
import statsmodels.api as sm
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.models import NaiveSeasonal

from rimer_forecaster import RimerModel

epochs = int(os.environ.get("RIMER_EPOCHS", 0)) or 10
torch.set_num_threads(1)  # networks this small only wait for each other's threads
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="pytorch_lightning|torch")  # remarks at every fit

weeks = sm.datasets.co2.load_pandas().data["co2"]  # with gaps: missing values are masked
series = TimeSeries.from_series(weeks).astype(np.float32)
history, feed = series.split_before(0.8)

model = RimerModel(
    input_chunk_length=104,  # two years
    output_chunk_length=26,  # half a year
    streaming=True,  # training prepares for streams
    n_epochs=epochs,
    random_state=0,
    pl_trainer_kwargs={"enable_progress_bar": False, "enable_model_summary": False},
).fit(history)

# Observe a history once, then forecast and update value by value.
stream = model.stream(history)
streamed = []
for week in range(len(feed) - 25):
    streamed.append(stream.predict(26))
    stream.update(feed[week : week + 1])  # several values at once would do too

# Save the model and the state, and go on in another process.
model.save("live_feed.pt")
stream.save("live_feed.safetensors")
resumed = RimerModel.load("live_feed.pt").load_stream("live_feed.safetensors")
assert resumed.predict(26) == stream.predict(26)
resumed.update(feed[-25:])
print(f"saved after {stream.end_time:%d %B %Y}, gone on to {resumed.end_time:%d %B %Y}")

# What a value costs does not depend on how many came before it.
for length in (200, 600, 1_800):
    stream = model.stream(series[:length])
    seconds = []
    for week in range(length, length + 100):
        start = time.perf_counter()
        stream.update(series[week : week + 1])
        stream.predict(26)
        seconds.append(time.perf_counter() - start)
    print(f"after {length:>5,} weeks: {1e3 * np.median(seconds):.1f} ms per update and forecast")

# Errors of forecasts from the state, from windows that are read anew every week, and of naive ones.
every_week = {"start": feed.start_time(), "forecast_horizon": 26, "last_points_only": False}
windowed = model.historical_forecasts(series, **every_week, retrain=False)
naive = NaiveSeasonal(52).historical_forecasts(series, **every_week, retrain=True)
for name, forecasts in {"stream": streamed, "windows": windowed, "seasonal naive": naive}.items():
    error = np.mean([mae(feed, forecast) for forecast in forecasts])
    print(f"{name}: MAE {error:.3f} ppm over {len(forecasts)} forecasts")
