"""RimerModel: the network as a darts model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data import TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.likelihood_models.torch import QuantileRegression
from darts.utils.serialization import add_safe_globals
from torch import nn

from ..network import NetworkConfig
from ..network.checks import plain_flag, plain_size
from ..network.transfer import take_over
from ..training import Recipe
from ..training.arguments import lengths_said, named, plain_epochs, recipe_or_default
from ..zero_shot.catalogue import zero_shot_network
from ..zero_shot.default import AUTO, MOST_TIME_POINTS, WEIGHTS, says_nothing, weights_cover
from .arguments import look_back, plain_arguments
from .base import covariates_of, like_weights
from .components import in_fitted_order, unknown_names
from .distillation import DistillableModel
from .likelihoods import LikelihoodHead
from .module import RimerModule
from .series import TrainingDataset

__all__ = ["RimerModel"]

_BESIDE_TRAINING = {
    "likelihood", "random_state", "pl_trainer_kwargs", "model_name", "work_dir", "force_reset",
    "show_warnings", "use_reversible_instance_norm",
}  # fmt: skip
"""Arguments of darts that do not ask for a training."""


class RimerModel(DistillableModel):
    """RWKV-7 forecasting model for darts.

    Every component is forecast by the same weights from its own window, or with
    ``components="cross"`` from those of all components. Windows are scaled by their own mean and
    standard deviation: no scaler is needed for the target. Covariates are read as they come, so
    scale them: ``fit`` warns of large ones. NaN is a missing value: masked where it is read, left
    out of the loss where it is forecast.

    Parameters
    ----------
    input_chunk_length
        Look-back, in steps; or, as in darts' foundation models, the shortest and the longest one:
        with ``(8, 96)`` a series of 8 steps can be forecast, and windows of fewer than 96 are
        padded on the left, which changes nothing but by what is not there.
    output_chunk_length
        Steps forecast at once, 24 by default: a day of hours; longer horizons feed forecasts back.
    output_chunk_shift
        As in darts.
    layers
        Layer string, for example ``"rwkv7*2"``; None leaves only the linear skip. One layer by
        default: on ETTh1 a second one costs half as much time again and gains nothing.
    width, head_size
        Channels of a token and of a head; the second must divide the first. 32 and 16 by default:
        a window is few tokens, and wider networks overfit single series.
    patch_length
        Steps per token. By default 16, or 24 beyond a look-back of 128; a quarter of short windows.
    dropout
        Probability of zeroing an element of what a layer adds, 0.1 by default.
    layers_rate
        Factor of the learning rates of all but the linear skips, 1 by default. Try 0.1 where series
        are short or noisy and a linear map does well: see docs/model/overview.md.
    initial_state
        What RWKV-7 layers start from: ``"zero"``; ``"learned"``, one state for all series; or
        ``"static"``, a learned one plus a linear map of the static covariates.
    components
        ``"independent"``, or ``"cross"`` to let each component of a series read all others, which
        on weather data lowers the squared error by a tenth and more: see docs/model/components.md.
        All series then have the same components, which are matched by name; their order is free.
    covariates
        Whether covariates are part of what is read of the target, ``"features"``, or write a state
        that the target reads, ``"cross"``: see docs/model/covariates.md. It changes nothing where
        there are none.
    streaming
        Whether training prepares for `stream`. Without it streamed forecasts are worse than those
        of ``predict`` (by 9 to 17 % on ETTh1). With it those of ``predict`` are worse on a panel
        and as good on single series: see docs/guides/streaming.md.
    use_static_covariates
        As in darts' other models.
    n_epochs
        As in darts, but by default as many epochs as make about 2,000 optimiser steps, between 5
        and 100, because a fixed number leaves short series untrained.
    recipe
        What else training does by default; `rimer_forecaster.training.Recipe` with other values is
        an experiment.
    pretrained
        Weights to begin with: ``"rimer-zero"``, which comes with the package, or a file. Layers,
        sizes and patches are then theirs, the learning rate a tenth, and ``likelihood`` is None or
        of quantiles; look-back, horizon and covariates are free. `RimerZeroModel` forecasts by them
        without any training. None begins anew. ``"auto"``, the default, forecasts by
        ``"rimer-zero"`` and trains nothing where ``fit`` gets at most 2,000 time points, those of
        all series together, no covariates and no validation series, and all arguments of the
        network and of its training are left at their defaults: a training would learn the noise of
        so few values. The look-back must be of 16 to 2,048 steps, and the likelihood None or of
        quantiles from .025 to .975. Elsewhere it is None.
    **kwargs
        Everything else that `darts.models.forecasting.torch_forecasting_model.
        TorchForecastingModel` and its Lightning module accept. Two defaults differ: ``loss_fn`` is
        the mean absolute error, which on real series gives better forecasts than the squared one
        even in squared error, and the optimiser is AdamW with RWKV-7's parameter groups (lr 1e-3,
        weight decay 0.01 on matrices, twice the rate for decay biases) and a cosine schedule;
        ``optimizer_kwargs`` change its arguments, ``optimizer_cls`` or ``lr_scheduler_cls``
        replace it. ``likelihood`` may be any of darts' own; its parameters come out in the units of
        the series.

    Raises
    ------
    ValueError
        If an argument is out of range, with what is allowed. In ``fit`` and ``predict``: if a
        series is too short, holds a value that is infinite or too large to square, or has a window
        in which nothing was observed, with its place.

    Examples
    --------
    >>> import numpy as np
    >>> from darts import TimeSeries
    >>> from rimer_forecaster import RimerModel
    >>> series = TimeSeries.from_values(np.sin(np.arange(300, dtype=np.float32) / 4))
    >>> silent = {"enable_progress_bar": False, "enable_model_summary": False}
    >>> model = RimerModel(input_chunk_length=48, n_epochs=1, pl_trainer_kwargs=silent)
    >>> forecast = model.fit(series).predict(24)
    >>> len(forecast)
    24
    """

    _says_nothing = _skipped = False
    """Whether nothing was said about a training, and the last ``fit`` left it out."""

    def __init__(
        self,
        input_chunk_length: int | tuple[int, int],
        output_chunk_length: int = 24,
        output_chunk_shift: int = 0,
        layers: str | None = NetworkConfig.layers,
        width: int = NetworkConfig.width,
        head_size: int = NetworkConfig.head_size,
        patch_length: int | None = None,
        dropout: float = NetworkConfig.dropout,
        layers_rate: float = NetworkConfig.layers_rate,
        initial_state: str = NetworkConfig.initial_state,
        components: str = NetworkConfig.components,
        covariates: str = NetworkConfig.covariates,
        streaming: bool = NetworkConfig.streaming,
        use_static_covariates: bool = True,
        n_epochs: int | None = None,
        recipe: Recipe | None = None,
        pretrained: str | None = AUTO,
        **kwargs: Any,
    ) -> None:
        kwargs = plain_arguments(kwargs)
        self._recipe = recipe_or_default(recipe)
        self._pretrained = None if pretrained == AUTO else pretrained
        self._target_components: tuple[str, ...] = ()
        self._own_params: dict[str, Any] = {
            "layers": layers,
            "width": width,
            "head_size": head_size,
            "patch_length": patch_length,
            "dropout": dropout,
            "layers_rate": layers_rate,
            "initial_state": initial_state,
            "components": components,
            "covariates": covariates,
            "streaming": streaming,
        }
        self._min_input_chunk_length, input_chunk_length = look_back(input_chunk_length)
        self._begin_from(self._pretrained, input_chunk_length)
        likelihood = kwargs.get("likelihood")
        quantiles = likelihood.quantiles if isinstance(likelihood, QuantileRegression) else None
        self._quantiles = quantiles
        self._says_nothing = pretrained == AUTO and says_nothing(
            self._own_params,
            {
                "n_epochs": n_epochs,
                "recipe": recipe,
                "output_chunk_shift": output_chunk_shift or None,
                "likelihood": None if quantiles else likelihood,
                "pl_trainer_kwargs": lengths_said(kwargs.get("pl_trainer_kwargs")),
                **{name: kwargs[name] for name in kwargs.keys() - _BESIDE_TRAINING},
            },
        )
        NetworkConfig(  # checks them; covariates and components `fit` alone knows
            input_chunk_length,
            output_chunk_length,
            static_covariates=1 if initial_state == "static" else 0,
            target_components=("any",) if components == "cross" else (),
            **self._network_params,
        )
        # Raises for a likelihood that is none of darts' own.
        LikelihoodHead(kwargs.get("likelihood"), input_chunk_length)
        if kwargs.get("use_reversible_instance_norm"):
            raise ValueError(
                f"use_reversible_instance_norm={kwargs['use_reversible_instance_norm']!r} is not "
                "for RimerModel, which scales every window itself, likelihood parameters included. "
                "Leave it out."
            )
        params = {
            "loss_fn": nn.L1Loss(),
            "input_chunk_length": input_chunk_length,
            "output_chunk_length": output_chunk_length,
            "output_chunk_shift": plain_size("output_chunk_shift", output_chunk_shift, least=0),
            **kwargs,
        }
        self._uses_recipe = not {"optimizer_cls", "lr_scheduler_cls"} & kwargs.keys()
        if not self._uses_recipe:
            params.setdefault("optimizer_cls", torch.optim.AdamW)
        self._sets_epochs = n_epochs is None and "max_epochs" not in (
            kwargs.get("pl_trainer_kwargs") or {}
        )
        if n_epochs is not None:
            params["n_epochs"] = plain_epochs(n_epochs)
        super().__init__(**self._extract_torch_model_params(**params))
        self.pl_module_params = self._extract_pl_module_params(**params)
        self._considers_static_covariates = plain_flag(
            "use_static_covariates", use_static_covariates
        )

    def _begin_from(self, name: str | None, input_chunk_length: int) -> None:
        """Take the network of weights, or the one that was asked for."""
        self._pretrained, self._network_params = name, self._own_params
        if name is not None:
            with named("pretrained", name):
                weights = zero_shot_network(name)
            like = like_weights(name, weights.config, input_chunk_length, self._own_params)
            self._network_params = {**self._own_params, **like}

    def _leaves_training_out(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None,
        trainer: pl.Trainer | None,
        epochs: int,
    ) -> bool:
        """Forecast few time points by the weights of the package; see `pretrained`."""
        self._skipped = (
            self._says_nothing
            and (self.model is None or self.model.refine)
            and (val_dataset, trainer, self.load_ckpt_path) == (None, None, None)
            and not epochs
            and isinstance(train_dataset, TrainingDataset)
            and sum(map(len, train_dataset.series)) <= MOST_TIME_POINTS
            and not any(covariates_of(sample := train_dataset[0]).values())
            and sample.sample_weight is None
            and weights_cover(self.input_chunk_length, self._quantiles)
        )
        if self._says_nothing and self.model is None:
            self._begin_from(WEIGHTS if self._skipped else None, self.input_chunk_length)
        return self._skipped

    def _begin_like(self, config: NetworkConfig, refine: bool) -> None:
        self._skipped = refine
        if self._says_nothing and weights_cover(self.input_chunk_length, self._quantiles):
            known = zero_shot_network(WEIGHTS).config
            alike = (config.layers, config.width) == (known.layers, known.width)
            self._begin_from(WEIGHTS if alike else None, self.input_chunk_length)

    def _create_model(self, train_sample: TorchTrainingSample) -> PLForecastingModule:
        recipe, sizes = self._recipe, dict[str, Any]()
        if self._pretrained is not None:
            recipe = recipe.for_training_on()
        if self._skipped:  # windows are what darts cuts, and the horizon is forecast in parts
            config = zero_shot_network(WEIGHTS).config
            sizes = {
                "input_chunk_length": config.input_chunk_length,
                "output_chunk_length": config.output_chunk_length,
                "skip_length": config.skip_reach,
            }
        module = RimerModule(
            network_params={
                **self._network_params,
                **covariates_of(train_sample),
                "target_components": self._names(),
                **sizes,
            },
            recipe=asdict(recipe),
            uses_recipe=self._uses_recipe,
            refine=self._skipped,
            **self.pl_module_params,
        )
        if self._pretrained is not None:
            take_over(module.network, zero_shot_network(self._pretrained))
        return module

    @property
    def _crosses(self) -> bool:
        return bool(self._network_params["components"] == "cross")

    def _names(self) -> tuple[str, ...]:
        """Names of the components that read each other; none where they do not."""
        if self._crosses and not self._target_components:
            raise unknown_names()
        return self._target_components if self._crosses else ()

    def _take_names(self, names: Sequence[str]) -> None:
        """Take over the names of components from weights that are about to be loaded."""
        self._target_components = tuple(names)

    def _check_ckpt_parameters(self, tfm_save: RimerModel) -> None:
        super()._check_ckpt_parameters(tfm_save)
        self._take_names(tfm_save._target_components)
        self._skipped = tfm_save._skipped
        if self._says_nothing:
            self._begin_from(tfm_save._pretrained, self.input_chunk_length)

    def _setup_for_fit_from_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """Forget the names of another fit; those of a network stay."""
        network = None if self.model is None else self.model.network
        self._target_components = () if network is None else network.config.target_components
        return super()._setup_for_fit_from_dataset(*args, **kwargs)

    def _build_train_dataset(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        sample_weight: Sequence[TimeSeries] | str | None,
        *args: Any,
        **kwargs: Any,
    ) -> TorchTrainingDataset:
        if self._crosses:
            names = self._target_components or tuple(series[0].components)
            series, sample_weight = in_fitted_order(names, series, sample_weight)
            self._target_components = names
        return super()._build_train_dataset(
            series, past_covariates, future_covariates, sample_weight, *args, **kwargs
        )


# darts loads no class from outside its own package that was not declared safe.
add_safe_globals([RimerModel, Recipe])
