"""Time points that do not follow on one another are refused, with the step that they may be in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .series import Instances, name_of
from .times import freq_of

__all__ = ["check_grid"]


def check_grid(series: Instances) -> None:
    """Raise a ValueError that names the first time point which does not follow on the one before.

    The step of dates and periods is that of the index or the one that pandas infers, and 1 for
    numbers: sktime counts horizons in them.
    """
    checked = None
    for key, one in series.items():
        index = one.index
        if checked is not None and index.equals(checked):
            continue
        checked = index
        name = f"the time points of y{name_of(key)}"
        if index.has_duplicates:
            twice = index[index.duplicated()][0]
            raise ValueError(
                f"{name} are not unique: {twice} is there {(index == twice).sum()} times. Keep one "
                "row for each time point, for example by y[~y.index.duplicated()], or their mean."
            )
        if isinstance(index, pd.DatetimeIndex):
            if len(index) > 2 and freq_of(index) is None:
                raise ValueError(f"{name} {_what_is_uneven(index)}")
            continue
        ordinals, step = index.to_numpy(), 1
        if isinstance(index, pd.PeriodIndex):
            ordinals, step = index.asi8, getattr(index.freq, "n", 1)
        odd_ones = np.flatnonzero(np.diff(ordinals) != step)
        if len(odd_ones):
            odd = int(odd_ones[0])
            raise ValueError(
                f"{name} are not consecutive: {index[odd]} is followed by {index[odd + 1]}. Add "
                "the time points between, with NaN where nothing was observed: missing values are "
                "masked. Or number the time points by 0, 1, 2 and so on."
            )


def _what_is_uneven(index: pd.DatetimeIndex) -> str:
    """Describe dates without a step, and how to bring them to one."""
    freq = _step_with_gaps(index)
    if freq is None:
        shortest, longest = (index[1:] - index[:-1]).sort_values()[[0, -1]]
        return (
            f"are not evenly spaced, and in no step with gaps: they are {shortest} to {longest} "
            "apart. Bring them to one, for example by y.resample('D').mean(), or number them by "
            "0, 1, 2 and so on."
        )
    absent = pd.date_range(index[0], index[-1], freq=freq).difference(index)
    return (
        f"are not evenly spaced: in steps of {freq!r} {len(absent)} are absent, the first being "
        f"{absent[0]}. Put them there by y.asfreq({freq!r}): time points without a value may stay "
        "missing, they are masked."
    )


def _step_with_gaps(index: pd.DatetimeIndex) -> str | None:
    """Return the longest step of which all dates are, though some may be absent; or None."""
    month, day = index[0].strftime("%b").upper(), index[0].strftime("%a").upper()
    years = [f"{kind}-{month}" for kind in ("YS", "YE", "QS", "QE")]
    for freq in ("YS", "YE", *years[:2], "QS", "QE", *years[2:], "MS", "ME", f"W-{day}", "B"):
        if index.isin(pd.date_range(index[0], index[-1], freq=freq)).all():
            return freq
    usual = pd.Series(index[1:] - index[:-1]).mode()[0]
    if ((index - index[0]) % usual != pd.Timedelta(0)).any():  # days of 23 hours, perhaps
        local = index.tz_localize(None)
        days = pd.Series(local[1:] - local[:-1]).mode()[0].days
        for freq in (f"{days}D", "D") if days > 1 else ("D",):
            if index.isin(pd.date_range(index[0], index[-1], freq=freq)).all():
                return freq
        return None
    step = pd.offsets.Day(usual.days) if usual % pd.Timedelta(days=1) == pd.Timedelta(0) else usual
    return str(pd.tseries.frequencies.to_offset(step).freqstr)
