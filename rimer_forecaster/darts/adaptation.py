"""State tuning of darts models: one shared network, and a small state per series or group.

Letters: n series, B windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from darts import TimeSeries
from darts.utils.data.torch_datasets.utils import ModuleStage
from darts.utils.ts_utils import series2seq
from torch import Tensor

from ..layers import State
from ..lifecycle import AdaptedState, adapt
from ..lifecycle.objective import Objective
from ..lifecycle.whole_series import WholeSeries
from ..lifecycle.windows import OfWindows
from .batches import collate
from .files import FilesModel
from .series import Series, TrainingDataset, check_one_sample, check_values

__all__ = ["AdaptableModel"]


class AdaptableModel(FilesModel):
    """A darts model that tunes states, and forecasts from them."""

    def adapt(
        self,
        series: Series,
        past_covariates: Series | None = None,
        future_covariates: Series | None = None,
        *,
        steps: int = 60,
        rank: int | None = None,
        upscale: int = 0,
        decorrelate: bool = False,
        groups: Sequence[object] | None = None,
        keep: str = "better",
    ) -> AdaptedState:
        """Learn what the layers start from, for each series or group; the weights stay as they are.

        The last part of each series is held back at first: a state is kept where it forecasts that
        part better than no state does, by two standard errors over the series of a group, and for
        the median series in each half of it. It is then trained on everything. Elsewhere it is
        zero, and changes nothing.

        Parameters
        ----------
        series
            One series or several, of the steps and components that the model was fitted with.
        past_covariates, future_covariates
            As the model was fitted with.
        steps
            Of either training.
        rank
            Of the states of each head, at most ``head_size``: smaller files, and fewer numbers to
            learn. None for full ones.
        upscale
            Number of kernels beside the state of each head, which the layers read and do not write:
            what they add does not decay with time, as a state does. 0 for none.
        decorrelate
            Whether the features of the kernels are mixed so that they do not correlate.
        groups
            For each series the name of its group, which shares a state; None for a state of each
            series. ``state.of(names)`` selects the rows for the series of a ``predict``.
        keep
            ``"better"``, as said above; or ``"always"``, which holds nothing back and keeps every
            state: for series too short to hold something back, and for what matters at the
            beginning of series, which their ends do not show.

        Returns
        -------
        AdaptedState
            For ``predict(n, series, state=state)``, as often as wanted.

        Raises
        ------
        ValueError
            If the model is not fitted, uses encoders or has layers without a memory; if an argument
            is out of range, or the series are too short to hold something back.
        """
        self._check_network()
        if self.add_encoders:
            raise ValueError(
                "add_encoders is not for adapt: make the covariates that it stands for, and give "
                "them to fit, adapt and predict."
            )
        given = [list(series2seq(x) or ()) for x in (series, past_covariates, future_covariates)]
        target, past, future = given
        for name, covariates in (("past_covariates", past), ("future_covariates", future)):
            if covariates and len(covariates) not in (1, len(target)):
                raise ValueError(
                    f"{name} are {len(covariates)}, but there are {len(target)} series: give one "
                    "for each, or one for all."
                )
        past, future = (x * len(target) if len(x) == 1 else x for x in (past, future))
        check_values(target, past or None, future or None)
        check_one_sample(target, past or None, future or None)
        with self.model.turn:
            return adapt(
                self.model.network_to_read(),
                self._objective(target, past or None, future or None),
                steps=steps,
                rank=rank,
                upscale=upscale,
                decorrelate=decorrelate,
                groups=groups,
                keep=keep,
            )

    def _whole_series(self, series: Sequence[TimeSeries]) -> Objective:
        """Return whole series, as the weights of the package were trained."""
        return WholeSeries(
            self.model.network,
            [one.values(copy=False) for one in series],
            horizon=self.output_chunk_length + self.output_chunk_shift,
            look_back=self.input_chunk_length,
            seasonal=self.model.refine,
        )

    def _objective(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
    ) -> Objective:
        """Return the windows that the model trains on, and its own loss of them."""
        if self.model.refine:
            return self._whole_series(series)
        given = (series, past_covariates, future_covariates)
        dataset = self._build_train_dataset(*given, None, None)
        assert isinstance(dataset, TrainingDataset)
        owners, backwards = dataset.places()
        ahead, module = self.output_chunk_length + self.output_chunk_shift, self.model

        def loss(places: list[int], start: State | None) -> Tensor:
            batch = collate(dataset.__getitems__(places)).to(module.network.device)
            with module.beginning_from(start):
                return module.loss_of(batch, ModuleStage.VALIDATE)

        return OfWindows(
            torch.from_numpy(owners),
            torch.from_numpy(ahead + backwards),
            torch.tensor([len(one) for one in series]),
            horizon=ahead,
            batch_size=self.batch_size,
            loss=loss,
        )

    def predict(
        self,
        n: int,
        series: Series | None = None,
        *args: Any,
        state: AdaptedState | None = None,
        **kwargs: Any,
    ) -> Series:
        """Forecast; see darts.

        Parameters
        ----------
        n, series
            See darts.
        *args, **kwargs
            See darts.
        state
            What `adapt` returned: one row for all series, or one for each, in their order.

        Raises
        ------
        ValueError
            If the state belongs to other weights, or has another number of rows; or if there are no
            samples to draw.
        """
        count = kwargs.get("num_samples", 1)
        if self.model is not None and count != 1 and not self.supports_probabilistic_prediction:
            raise ValueError(
                f"num_samples={count!r} is not for this model, which forecasts one value per step. "
                "Give it likelihood=QuantileRegression([0.1, 0.5, 0.9]) or another one, or a "
                "dropout above 0 and mc_dropout=True in predict."
            )
        if state is None:
            return super().predict(n, series, *args, **kwargs)
        self._check_network()
        with self.model.turn:
            memory = self._memory_of(state, len(series2seq(series) or (None,)))
            with self.model.beginning_from(memory):
                return super().predict(n, series, *args, **kwargs)

    def predict_from_dataset(
        self, n: int, dataset: Any, *args: Any, state: AdaptedState | None = None, **kwargs: Any
    ) -> Sequence[TimeSeries]:
        """Forecast from a data set, from states for its series if wanted; see `predict`.

        So do ``historical_forecasts`` and ``backtest`` with ``predict_kwargs={"state": state}``.
        """
        if state is None:
            return super().predict_from_dataset(n, dataset, *args, **kwargs)
        with self.model.beginning_from(self._memory_of(state, len(dataset.series))):
            return super().predict_from_dataset(n, dataset, *args, **kwargs)

    def _memory_of(self, state: Any, count: int) -> State | None:
        """Return what the network starts from for some series."""
        if not isinstance(state, AdaptedState):
            raise ValueError(
                f"state is a {type(state).__name__}; it must be what the model's adapt returned, "
                "or AdaptedState.load."
            )
        return state.start(count, self.model.network)
