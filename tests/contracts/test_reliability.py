"""Whatever series and settings come: forecasts, or an error that is documented.

With RIMER_CASES=2000 in the environment it tries 2,000 cases in each library.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")
pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from chance import cases
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts_cases import QUIET
from sktime.forecasting.base import ForecastingHorizon

from rimer_forecaster import RimerForecaster, RimerModel

CASES = cases(20)
MANY = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@pytest.fixture
def outcomes() -> Iterator[list[str]]:
    """Takes the outcome of every case; a test in which hardly any is a forecast says nothing."""
    found: list[str] = []
    yield found
    assert found.count("forecasts") > len(found) / 4


DOCUMENTED = {
    "nothing was observed": r"has no value (in column|of component) .* from .* to ",
    "too short": r"training needs at least \d+|leaves no series with 2 time points",
    "before what is remembered": r"fh reaches back to the time points before",
    "covariates of any size fed back": r"(is not finite|too large a value)\. The input is finite",
    "uneven": r"are not evenly spaced|are not consecutive",
}
"""What `fit` and `predict` say, by kind; any other error fails the test."""


def documented(error: ValueError) -> str:
    """Return the kind of an error."""
    kinds = [kind for kind, pattern in DOCUMENTED.items() if re.search(pattern, str(error))]
    if not kinds:
        raise error
    return f"error: {kinds[0]}"


LAYERS = st.sampled_from(
    [
        None,
        "rwkv7",
        "rwkv7*2",
        "gru",
        "lstm",
        "attention",
        "attention(window=2)",
        "(rwkv7, attention)",
        "equilibrium(rwkv7; max_iter=3)",
        "rwkv7(sse=on, retrospect=2)",
        "perspectives(rwkv7; lags=1+3)",
        "parallel(attention(topk=1, chunk=2), rwkv4), taylor(feature=2)",
    ]
)
NETWORK = st.fixed_dictionaries(
    {
        "input_chunk_length": st.integers(1, 30),
        "layers": LAYERS,
        "width": st.just(8),
        "head_size": st.just(4),
        "n_epochs": st.just(1),
        "random_state": st.integers(0, 3),
    }
)


def values(draw: Any, n: int, columns: int) -> np.ndarray:
    """Noise of any level and size, a constant, or a walk; some of it missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    kind = draw(st.sampled_from(["noise", "walk", "constant", "counts"]))
    x = rng.normal(size=(n, columns))
    x = {"noise": x, "walk": x.cumsum(0), "constant": 0 * x, "counts": np.floor(np.exp(x))}[kind]
    x = x * 10.0 ** draw(st.integers(-6, 6)) + draw(st.sampled_from([0.0, 1.0, -1e5]))
    missing = draw(st.sampled_from([0.0, 0.0, 0.1, 0.6]))
    return np.where(rng.random(x.shape) < missing, np.nan, x)


INDICES = {
    "numbers": lambda n: pd.RangeIndex(3, 3 + n),
    "days": lambda n: pd.date_range("2020-02-20", periods=n, freq="D"),
    "business days": lambda n: pd.bdate_range("2020-02-20", periods=n),
    "month ends": lambda n: pd.date_range("2020-01-31", periods=n, freq="ME"),
    "local hours": lambda n: pd.date_range("2020-03-28", periods=n, freq="h", tz="Europe/Paris"),
    "quarters": lambda n: pd.period_range("2001Q2", periods=n, freq="Q"),
}


@MANY
@given(data=st.data())
def test_sktime_gives_forecasts_or_documented_errors(
    data: st.DataObject, outcomes: list[str]
) -> None:
    draw = data.draw
    n, columns, more = draw(st.integers(1, 70)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    names = draw(st.sampled_from([None, ["a"], ["a", "b", "c"]]))
    index = INDICES[draw(st.sampled_from(sorted(INDICES)))](n + more)
    dtype = draw(st.sampled_from(["float64", "float32"]))
    causes = draw(st.integers(0, 2))

    def table(count: int, prefix: str) -> pd.DataFrame:
        labels = [f"{prefix}{i}" for i in range(count)]
        made = {
            name: pd.DataFrame(values(draw, n + more, count), index, labels).astype(dtype)
            for name in names or ["only"]
        }
        return made["only"] if names is None else pd.concat(made, names=["series", "time"])

    y, X = table(columns, "y"), table(causes, "x") if causes else None

    def until(frame: pd.DataFrame, end: int) -> pd.DataFrame:
        times = frame.index if names is None else frame.index.get_level_values(-1)
        return frame[times <= index[end - 1]]

    fh = sorted(draw(st.sets(st.integers(-4, 12), min_size=1, max_size=4)))
    forecaster = RimerForecaster(
        **draw(NETWORK),
        output_chunk_length=draw(st.sampled_from([None, 1, 3])),
        streaming=draw(st.booleans()),
        validation_fraction=draw(st.sampled_from([None, 0.3])),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            past = None if X is None else until(X, n)
            forecaster.fit(until(y, n), X=past, fh=ForecastingHorizon(fh))
            known = None if X is None else ahead(X, max(fh), names)
            forecast = forecaster.predict(X=known)
            quantiles = forecaster.predict_quantiles(X=known, alpha=[0.1, 0.5, 0.9])
            forecaster.update(y, X=X, update_params=draw(st.booleans()))
            later = forecaster.predict(X=known)
    except ValueError as error:
        outcomes.append(documented(error))
        event(outcomes[-1])
        return
    outcomes.append("forecasts")
    event("forecasts")
    assert forecast.shape == (len(fh) * len(names or [0]), columns)
    assert later.shape == forecast.shape
    steps = np.tile(np.array(fh), len(names or [0]))
    assert np.isfinite(forecast.to_numpy()[steps >= 1]).all()
    by_column = quantiles.to_numpy().reshape(len(forecast), columns, 3)[steps >= 1]
    assert (np.diff(by_column) >= 0).all()


def ahead(X: pd.DataFrame, steps: int, names: list[str] | None) -> pd.DataFrame:
    """X, and its last row again for steps after it."""
    if names is not None:
        return pd.concat({name: ahead(X.loc[name], steps, None) for name in names})
    if steps < 1:
        return X
    fh = ForecastingHorizon(range(1, steps + 1))
    coming = fh.to_absolute_index(X.index[-1:])
    return pd.concat([X, pd.DataFrame(0.5, coming, X.columns).astype(X.dtypes.iloc[0])])


DARTS_INDICES = {name: INDICES[name] for name in ("numbers", "days", "business days", "month ends")}
DARTS_INDICES |= {
    "every third number": lambda n: pd.RangeIndex(3, 3 + 3 * n, 3),
    "quarters of an hour": lambda n: pd.date_range("2020-03-28", periods=n, freq="15min"),
    "quarters": lambda n: pd.date_range("2001-04-01", periods=n, freq="QS"),
}


@MANY
@given(data=st.data())
def test_darts_gives_forecasts_or_documented_errors(
    data: st.DataObject, outcomes: list[str]
) -> None:
    draw = data.draw
    n, columns, horizon = (
        draw(st.integers(1, 70)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 15)),
    )
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    index = DARTS_INDICES[draw(st.sampled_from(sorted(DARTS_INDICES)))]

    def series(length: int, count: int) -> TimeSeries:
        table = values(draw, length, count).astype(dtype)
        times = index(length)
        return TimeSeries.from_times_and_values(times, table, freq=getattr(times, "freq", None))

    network = draw(NETWORK) | {"streaming": draw(st.booleans())}
    likelihood = draw(
        st.sampled_from([None, QuantileRegression([0.1, 0.5, 0.9]), GaussianLikelihood()])
    )
    model = RimerModel(
        **network, output_chunk_length=draw(st.integers(1, 6)), likelihood=likelihood, **QUIET
    )
    known: dict[str, Any] = {}
    if draw(st.booleans()):
        known["future_covariates"] = series(n + 30, draw(st.integers(1, 2)))
    if draw(st.booleans()):
        known["past_covariates"] = series(n + 30, 1)
    target = [series(n, columns) for _ in range(draw(st.integers(1, 2)))]
    covariates = {name: [one] * len(target) for name, one in known.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(target, **covariates)
            forecasts = model.predict(horizon, target, **covariates)
    except ValueError as error:
        outcomes.append(documented(error))
        event(outcomes[-1])
        return
    outcomes.append("forecasts")
    event("forecasts")
    for one, forecast in zip(target, forecasts, strict=True):
        assert forecast.start_time() == one.end_time() + one.freq
        assert forecast.values().shape == (horizon, columns)
        assert np.isfinite(forecast.all_values()).all()


def test_concurrent_predicts_give_what_one_after_another_does() -> None:
    """RIMER_CASES of them, over 32 threads."""
    rng = np.random.default_rng(0)
    y = pd.DataFrame({"y": rng.normal(size=120)})
    forecaster = RimerForecaster(24, n_epochs=1, random_state=0).fit(y, fh=range(1, 7))
    expected = forecaster.predict()
    with ThreadPoolExecutor(32) as pool:
        found = pool.map(lambda _: forecaster.predict(), range(max(200, CASES)))
        wrong = sum(not np.allclose(one, expected, rtol=1e-5, atol=1e-6) for one in found)
    assert wrong == 0
