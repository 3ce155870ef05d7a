"""The Lightning module of RimerModel: the network in darts' terms.

Letters: B windows, L input steps, H output steps, C target components, Q output parameters.
"""

from __future__ import annotations

from threading import RLock
from typing import Any

import pytorch_lightning as pl
import torch
from darts.models.forecasting.pl_forecasting_module import io_processor
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput, PLModuleOutput
from pytorch_lightning.trainer.states import TrainerFn, TrainerStatus
from torch import Tensor

from ..layers import Dropout
from ..network import RimerNetwork
from ..network.checks import check_finite_forecast
from ..network.missing_values import marks_of_observed
from ..training.arguments import named
from ..training.held_out import KeepBest
from ..training.recipe import Recipe, check_trained
from ..zero_shot.forecast import forecast_windows
from .batches import Batch
from .components import places_in
from .likelihoods import LikelihoodHead, LikelihoodParameters
from .moments import MomentsModule

__all__ = ["RimerModule"]

_BEING_TRAINED = TrainerFn.FITTING, TrainerStatus.RUNNING


class RimerModule(MomentsModule):
    """Lightning module: permutes darts' tensors for the network and back.

    It is in evaluation mode but while it is trained, whatever was done with it in between.

    Parameters
    ----------
    network_params
        Keyword arguments of `RimerNetwork`, as plain values: they are stored in checkpoints. Sizes
        and outputs among them are used in place of those of the model.
    recipe
        Fields of the `Recipe` to train by.
    uses_recipe
        Whether its optimiser and callbacks are used, or darts' optimiser arguments alone.
    refine
        Whether forecasts are refined by their windows, see `rimer_forecaster.zero_shot.forecast`:
        while the weights are those of the package. A training ends it.
    **kwargs
        See `PLForecastingModule`.

    Attributes
    ----------
    turn
        To be held while the module is trained or forecast by: darts writes the horizon of a
        prediction, Monte Carlo dropout and the mode to the module, which all threads share.
    """

    def __init__(
        self,
        network_params: dict[str, Any],
        recipe: dict[str, Any],
        uses_recipe: bool,
        refine: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.refine = refine
        self.head = LikelihoodHead(self.likelihood, self.input_chunk_length)
        self.network = RimerNetwork(
            dtype=torch.float32,  # whatever torch's default is; darts casts it to the series
            **{
                "input_chunk_length": self.input_chunk_length,
                "output_chunk_length": self.output_chunk_length,
                "outputs": self.head.outputs,
                "least_scale": self.head.least_scale,
                **network_params,
            },
        )
        self.recipe, self.uses_recipe = Recipe(**recipe), uses_recipe
        self.best: KeepBest | None = None  # which is told of validation
        self._places: Tensor | None = None  # of components that read each other, in a prediction
        self._windows: int | None = None  # to forecast from, in a prediction
        self.turn = RLock()
        self.eval()

    def network_to_read(self) -> RimerNetwork:
        """Return the network in evaluation mode, to a thread whose turn it is.

        Raises
        ------
        ValueError
            If it is being trained: in a callback of the training.
        """
        state = None if self._trainer is None else self._trainer.state
        if state is not None and (state.fn, state.status) == _BEING_TRAINED:
            raise ValueError(
                "the model is being trained, and its weights move: use it when fit has returned."
            )
        if self.network.training:
            self.eval()
        return self.network

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the turn: a copy has one of its own."""
        return {name: x for name, x in super().__getstate__().items() if name != "turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.turn = RLock()

    @io_processor
    def forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        """Forecast; (B, L, C) -> (B, H, C, Q)."""
        dtype = self.network.dtype  # the data may be of another than that of the training

        def cast(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(dtype)

        future = None
        if x_in.future_covariates is not None:
            future = cast(x_in.concatenate_future_along_time())
        output = self._output(
            x_in.past_target.to(dtype),
            cast(x_in.past_covariates),
            future,
            cast(x_in.static_covariates),
        )
        prediction = self.head(output)
        if self._trainer is not None and self.trainer.predicting:
            check_finite_forecast(prediction)  # before torch's own errors where it samples
        # In training what the loss is made of comes along; in prediction darts would feed it back.
        is_prediction = x_in.stage is ModuleStage.PREDICT
        return PLModuleOutput(prediction, state=None if is_prediction else output)

    def _output(self, past_target: Tensor, *covariates: Tensor | None) -> Tensor:
        """Forecast the output chunk, once where darts repeats the windows for samples."""
        rows, given = self._windows, (past_target, *covariates)
        copies = 1 if rows is None else len(past_target) // rows
        if (
            copies == 1
            or any(x.in_evaluation for x in self._get_mc_dropout_modules())
            or not all(x is None or _repeats(x, copies) for x in given)
        ):
            return self._forecast(past_target, *covariates)
        first = (None if x is None else x[:rows] for x in covariates)
        return self._forecast(past_target[:rows], *first).repeat(copies, 1, 1, 1)

    def _forecast(self, past_target: Tensor, *covariates: Tensor | None) -> Tensor:
        """Forecast the output chunk; see `RimerNetwork.forward`."""
        if self.refine:
            return self._refined(past_target)
        if self.network.config.output_chunk_length != self.output_chunk_length:
            return self._in_parts(past_target, *covariates)
        places = self._places
        if places is not None:  # darts repeats a batch for every sample
            places = places.to(past_target.device).repeat(len(past_target) // len(places), 1)
        start = self.start(past_target.shape[0])  # `len` would fix it in an export
        return self.network(past_target, *covariates, places=places, start=start)

    @property
    def refine(self) -> bool:
        """Whether forecasts are refined by their windows; checkpoints hold it."""
        return bool(self.hparams["refine"])

    @refine.setter
    def refine(self, refine: bool) -> None:
        self.hparams["refine"] = refine

    def _refined(self, past_target: Tensor) -> Tensor:
        """Forecast as `rimer_forecaster.zero_shot.forecast` does, (B, H, C, Q)."""
        if torch.compiler.is_exporting():
            raise ValueError(
                "an exported model cannot refine forecasts by their windows: export a "
                "RimerZeroModel with refine=False, which forecasts by the network alone."
            )
        shift, start = self.output_chunk_shift, self.start(len(past_target))
        steps = shift + self.output_chunk_length
        return forecast_windows(self.network, past_target, steps, start)[:, shift:]

    def _in_parts(
        self,
        past_target: Tensor,
        past_covariates: Tensor | None,
        future_covariates: Tensor | None,
        static_covariates: Tensor | None,
    ) -> Tensor:
        """Forecast more or fewer steps than the network does at once, (B, H, C, Q)."""
        L, shift = past_target.shape[1], self.output_chunk_shift
        start = self.start(len(past_target))
        known = coming = None
        if future_covariates is not None:
            known, coming = future_covariates.tensor_split([L], 1)
        given = (past_target, past_covariates, known, static_covariates)
        window = self.network.window(*given, start=start)
        return self.network.forecast(window, shift + self.output_chunk_length, coming)[:, shift:]

    @property
    def _loss_head(self) -> LikelihoodHead:
        """What turns outputs into what the loss is made of."""
        return self.head

    def _loss(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        """Return darts' loss."""
        return super()._compute_loss(output, target, criterion, sample_weight)

    def _train_val_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Tensor:
        """Remember the unit of the batch for its loss."""
        known = getattr(batch, "unit", None), getattr(batch, "tame", False)
        self._unit = self.recipe.unit(batch.past_target, known[0], tame=known[1])
        return super()._train_val_step(batch, *args, **kwargs)

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Log; see Lightning.

        A loss that was logged in this epoch already takes its next value at once: to check again
        what Lightning 2.6 checks would cost a twelfth of a step on short windows.
        """
        results = None if self._trainer is None else self._trainer._results
        place = f"training_step.{name}"
        known = None
        if results is not None and self._current_fx_name == "training_step":
            known = results.get(place)
        if known is None or known.has_reset or not known.is_tensor:
            super().log(name, value, *args, **kwargs)
        else:
            known.update(value.detach(), kwargs["batch_size"])

    def loss_of(self, batch: Batch, stage: ModuleStage) -> Tensor:
        """Return the loss of a batch, which nothing logs."""
        self._unit = self.recipe.unit(batch.past_target, batch.unit, tame=batch.tame)
        output = self(batch.to_module_input(stage=stage))
        return self._compute_loss(output, batch.future_target, self.val_criterion, None)

    def _compute_loss(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        """Return darts' loss in units of the series, over the values that were observed."""
        head, of_network = self._loss_head, output.state
        if head.has_units:
            of_network = head.in_units(of_network, self._unit)
            output, target = output.replace(prediction=head(of_network)), target / self._unit
        if self.best is not None and not self.training and self._forecasts_quantiles:
            self.best.add(of_network, target)
        observed = marks_of_observed(target)  # (B, H, C)
        if observed is None:
            return self._loss(output, target, criterion, sample_weight)
        counted = observed.all(-1) if head.is_joint else observed
        if not bool(counted.any()):
            return 0.0 * output.prediction.sum()

        def those_observed(x: Tensor) -> Tensor:
            """(B, H, C, ·) -> (1, n, C or 1, ·): what was not observed is no part of the mean."""
            return x[counted][None] if head.is_joint else x[counted][None, :, None]

        return self._loss(
            output.replace(prediction=those_observed(output.prediction)),
            those_observed(target),
            criterion,
            None if sample_weight is None else those_observed(sample_weight.expand_as(target)),
        )

    @property
    def _forecasts_quantiles(self) -> bool:
        outputs = self.network.config.outputs
        return len(outputs) > 1 and "location" not in outputs

    def _update_metrics(self, output: PLModuleOutput, target: Tensor, metrics: Any) -> None:
        if len(metrics) and (observed := marks_of_observed(target)) is not None:
            rows = observed.all(-1)  # metrics take whole steps
            if not bool(rows.any()):
                return
            output = output.replace(prediction=output.prediction[rows][None])
            target = target[rows][None]
        super()._update_metrics(output, target, metrics)

    def _onnx_wrapper(self, input_sample: PLModuleInput) -> Any:
        """Return what darts exports, with the parameters of a likelihood as `predict` gives them.

        darts 0.48.1 exports raw outputs, and `run_onnx_prediction` takes them for parameters.
        """
        bundle = super()._onnx_wrapper(input_sample)
        if self.likelihood is not None:
            bundle.wrapper = LikelihoodParameters(bundle.wrapper, self.likelihood, self.head)
        return bundle

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Return darts' loss of a batch, and what the layers want added."""
        return super().training_step(*args, **kwargs) + self.network.penalty()

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return what else the recipe consists of."""
        own = self.recipe.callbacks(self.trainer) if self.uses_recipe else []
        return own if self.best is None else [*own, self.best]

    def configure_optimizers(self) -> Any:
        """Return the package's recipe, or what darts makes of its own arguments."""
        if not self.uses_recipe:
            classes = self.optimizer_cls, self.lr_scheduler_cls
            with named("optimizer_cls, lr_scheduler_cls", classes):
                return super().configure_optimizers()
        steps, kwargs = self.trainer.estimated_stepping_batches, self.optimizer_kwargs
        with named("optimizer_kwargs", kwargs):
            found = self.recipe.optimisation(self.network, total_steps=steps, **kwargs)
        self.watch(found["optimizer"])
        return found

    def setup(self, stage: str) -> None:
        """Train in training mode: Lightning takes the mode that it finds."""
        super().setup(stage)
        if stage == TrainerFn.FITTING:
            self.refine = False
            self.train()

    def on_fit_end(self) -> None:
        """Refuse weights that are not finite; a finder of learning rates may pass through them."""
        super().on_fit_end()
        check_trained(
            self.network,
            "Lower the learning rate, for example optimizer_kwargs={'lr': 1e-4}, or look for "
            "extreme values.",
        )

    def _get_mc_dropout_modules(self) -> set[Dropout]:
        """Return the modules that darts turns on for ``mc_dropout=True``: the layers' own."""
        return {x for x in self.network.modules() if isinstance(x, Dropout) and x.p}

    def set_mc_dropout(self, active: bool) -> None:
        """Let predictions draw from dropout, or no longer."""
        for module in self._get_mc_dropout_modules():
            module.in_evaluation = bool(active)

    def teardown(self, stage: str) -> None:
        """End the training mode, and put the losses back where `on_fit_end` did not run.

        With sample weights darts 0.48.1 takes the reduction out of the losses and puts it back in
        `on_fit_end`, which Lightning's tuner leaves out.
        """
        super().on_fit_end()
        super().teardown(stage)
        self.eval()

    def predict_step(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """Match components by name where they read each other, and refuse what is not finite."""
        self._places = places_in(self.network.config, batch.series_schema)
        self._windows = len(batch.past_target)
        try:
            output = super().predict_step(batch, *args, **kwargs)
        finally:
            self._places = self._windows = None
        check_finite_forecast(output[0])
        return output


def _repeats(x: Tensor, copies: int) -> bool:
    """Whether a batch is copies of its first rows."""
    parts = x.unflatten(0, (copies, -1))
    return bool(((parts == parts[0]) | (parts.isnan() & parts[0].isnan())).all())
