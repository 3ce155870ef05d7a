"""One model for series of different size and length, and then for a series never seen.

RimerForecaster trains on three monthly series; its weights, in a file, forecast a fourth one.
Prints MASE over two years, in less than a minute on two cores. It needs statsmodels beside sktime.
"""

import logging
import os

import pandas as pd
import torch
from sktime.datasets import load_airline
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsoluteScaledError
from statsmodels.datasets import co2, elec_equip, elnino

from rimer_forecaster import RimerForecaster

epochs = int(os.environ.get("RIMER_EPOCHS", 0)) or None  # None: as many as make 2,000 steps
torch.set_num_threads(1)  # networks this small only wait for each other's threads
logging.captureWarnings(True)  # silences those of sktime about its next version, at every fit

sources = {
    "CO2 in the air": ("1958-03", co2.load_pandas().data["co2"].resample("MS").mean()),
    "sea surface": ("1950-01", elnino.load_pandas().data.set_index("YEAR").stack()),
    "electrical equipment": ("1995-01", elec_equip.load_pandas().data.iloc[:, 0]),
    "airline": ("1949-01", load_airline()),  # never seen in training
}
series = {}
for name, (start, values) in sources.items():
    months = pd.period_range(start, periods=len(values), freq="M", name="month")
    frame = pd.DataFrame({"y": values.to_numpy()}, index=months)
    series[name] = frame.interpolate()  # seasonal naive needs it, RimerForecaster does not
    print(f"{name}: {len(months)} months, mean {values.mean():.0f}")
train = {name: frame[:-24] for name, frame in series.items()}
test = {name: frame[-24:] for name, frame in series.items()}

fh = range(1, 25)
mase = MeanAbsoluteScaledError(sp=12)  # in units of the error of seasonal naive in training
naive = NaiveForecaster(sp=12)

# One model, without a scaler or a common length. Each series is forecast from its own end.
names = [name for name in series if name != "airline"]
panel = pd.concat({name: train[name] for name in names}, names=["series"])
model = RimerForecaster(36, n_epochs=epochs, random_state=0).fit(panel, fh=fh)
forecasts = model.predict()
for name in names:
    error = mase(test[name], forecasts.loc[name], y_train=train[name])
    naive_error = mase(test[name], naive.fit(train[name], fh=fh).predict(), y_train=train[name])
    print(f"{name}: MASE {error:.2f}, seasonal naive {naive_error:.2f}", flush=True)

# The weights are safetensors with a JSON file beside them, and hold no series.
model.save_weights("panel.safetensors")
pretrained = {"pretrained": "panel.safetensors", "random_state": 0}
forecasters = {
    "the weights as they are": RimerForecaster(**pretrained),
    "the weights, trained on": RimerForecaster(**pretrained, n_epochs=epochs or 100),
    "a model of its own": RimerForecaster(36, n_epochs=epochs, random_state=0),
    "its linear map alone": RimerForecaster(36, layers=None, n_epochs=epochs, random_state=0),
    "seasonal naive": naive,
}
for name, forecaster in forecasters.items():
    forecast = forecaster.fit(train["airline"], fh=fh).predict()
    error = mase(test["airline"], forecast, y_train=train["airline"])
    print(f"airline, {name}: MASE {error:.2f}", flush=True)
