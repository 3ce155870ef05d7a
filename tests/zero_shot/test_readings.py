"""Short series are read as it would have been best for their end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from rimer_forecaster.zero_shot import forecast, readings, zero_shot_network
from rimer_forecaster.zero_shot.readings import Reading, best_readings

NETWORK = zero_shot_network()
MIDDLE = NETWORK.config.middle
NAN = float("nan")


def bent(count: int, length: int) -> list[np.ndarray]:
    """Slow trends that turn, like many yearly series."""
    rng = np.random.default_rng(0)
    slopes = np.cumsum(rng.normal(size=(count, length)), axis=1)
    return list(np.cumsum(slopes, axis=1) + rng.normal(size=(count, length)))


def test_a_stretched_series_has_lines_between_values_and_none_across_gaps() -> None:
    values = np.array([0.0, 3.0, NAN, 6.0, 0.0])
    expected = [0, 1, 2, 3, NAN, NAN, NAN, NAN, NAN, 6, 4, 2, 0]
    np.testing.assert_allclose(Reading(stretch=3).window(values), expected)


def test_the_last_steps_are_read_alone_where_they_hold_a_few_values() -> None:
    values = np.arange(40.0)
    assert Reading(last=16).window(values).tolist() == values[-16:].tolist()
    values[-14:] = NAN
    assert len(Reading(last=16).window(values)) == 40


@pytest.mark.parametrize("best", [Reading(), Reading(last=16), Reading(stretch=3)], ids=str)
def test_the_reading_with_the_lowest_error_at_earlier_ends_is_taken(best: Reading) -> None:
    series = [np.arange(48.0), np.arange(30.0) * 2]
    calls = []

    def medians(
        reading: Reading, places: Sequence[int], windows: Sequence[np.ndarray], steps: int
    ) -> np.ndarray:
        calls.append([len(window) for window in windows])
        ahead = np.arange(1, steps + 1)
        exact = [x[-1] + (x[1] - x[0]) * ahead for x in windows]
        return np.array(exact) + (0.0 if reading == best else 0.5)

    assert best_readings(series, 16, medians) == [best, best]
    assert calls == [[40, 36, 25, 23]] * 3, "two ends of each series, the same for all readings"


@pytest.mark.parametrize(
    "values",
    [np.arange(97.0), np.arange(11.0), [1.0, *[NAN] * 50, 2.0, 3.0]],
    ids=["long", "short", "missing"],
)
def test_long_series_and_those_of_few_values_are_read_as_they_are(values: object) -> None:
    def medians(*_: object) -> np.ndarray:
        raise AssertionError("nothing is to be compared")

    assert best_readings([np.asarray(values, float)], 16, medians) == [Reading()]


def test_trends_that_turn_are_forecast_better() -> None:
    whole = bent(150, 46)
    past, future = [x[:40] for x in whole], np.stack([x[40:] for x in whole])
    errors = [
        np.abs(forecast(NETWORK, past, 6, refine=refine)[..., MIDDLE] - future).mean()
        for refine in (True, False)
    ]
    assert errors[0] < 0.9 * errors[1]


def test_seasons_of_short_series_stay() -> None:
    months = 10 + 3 * np.sin(2 * np.pi * np.arange(96) / 12)
    past, future = months[:84], months[84:]
    found = forecast(NETWORK, [past], 12)[0, :, MIDDLE]
    assert np.abs(found - future).mean() < 0.3


def test_forecasts_are_those_of_the_chosen_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    past = bent(3, 40)
    chosen = [Reading(stretch=3), Reading(last=16), Reading()]
    room = sys.modules["rimer_forecaster.zero_shot.forecast"]
    monkeypatch.setattr(room, "best_readings", lambda *_: chosen)
    found = forecast(NETWORK, past, 5)
    monkeypatch.undo()
    monkeypatch.setattr(readings, "_LONGEST", 0)
    stretched = forecast(NETWORK, [chosen[0].window(past[0])], 15)[0, 2::3]
    expected = [
        stretched,
        forecast(NETWORK, [past[1][-16:]], 5)[0],
        forecast(NETWORK, past[2:], 5)[0],
    ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.ptp(other))
