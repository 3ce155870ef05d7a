"""Updates of RimerForecaster that fail or are interrupted."""

from __future__ import annotations

import signal
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from sktime.split import ExpandingWindowSplitter
from sktime_cases import TINY, wave

from rimer_forecaster import RimerForecaster
from rimer_forecaster.network.state import fingerprint
from rimer_forecaster.training.module import TrainingModule


def fails_after_a_step(error: BaseException) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        own, steps = TrainingModule.training_step, iter([0])

        def training_step(self: Any, *args: Any) -> torch.Tensor:
            if next(steps, None) is None:
                raise error
            return own(self, *args)

        monkeypatch.setattr(TrainingModule, "training_step", training_step)

    return patch


def diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    own = TrainingModule.training_step
    nan = float("nan")
    monkeypatch.setattr(TrainingModule, "training_step", lambda *args: own(*args) * nan)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("called", ["update", "update_predict_single", "update_predict"])
@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (fails_after_a_step(ConnectionAbortedError()), ConnectionAbortedError),
        (fails_after_a_step(KeyboardInterrupt()), KeyboardInterrupt),
        (diverges, ValueError),
    ],
    ids=["an error", "Ctrl-C", "divergence"],
)
def test_after_an_update_that_failed_everything_is_as_it_was(
    fails: Callable[[pytest.MonkeyPatch], None],
    error: type[BaseException],
    called: str,
    streaming: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the same update, when nothing fails, is what it would have been."""
    y = wave(110)
    settings = {**TINY, "dropout": 0.5, "batch_size": 4, "streaming": streaming}
    forecaster = RimerForecaster(**settings).fit(y[:90], fh=range(1, 7))
    expected = deepcopy(forecaster).update(y[90:])
    before, weights = forecaster.predict(), fingerprint(forecaster.network_)
    handler = signal.getsignal(signal.SIGINT)
    splitter = ExpandingWindowSplitter(fh=[1, 2], initial_window=10)
    more = {"cv": splitter, "reset_forecaster": False} if called == "update_predict" else {}
    # Another container, which sktime takes note of before it updates.
    with monkeypatch.context() as patch:
        fails(patch)
        with pytest.raises(error):
            getattr(forecaster, called)(y[90:]["y0"], **more)
    assert forecaster.cutoff[0] == y.index[89]
    assert fingerprint(forecaster.network_) == weights
    assert not any(module.training for module in forecaster.network_.modules())
    assert signal.getsignal(signal.SIGINT) is handler
    pd.testing.assert_frame_equal(forecaster.predict(), before)
    forecaster.update(y[90:])
    assert fingerprint(forecaster.network_) == fingerprint(expected.network_)
    pd.testing.assert_frame_equal(forecaster.predict(), expected.predict())
