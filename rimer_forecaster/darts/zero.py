"""RimerZeroModel: forecasts by weights that come with the package, as a darts foundation model.

Letters: B windows, H output steps, C target components, Q quantiles.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from os import PathLike, path
from typing import Any

from darts import TimeSeries
from darts.models.forecasting.foundation_model import FoundationModel
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import (
    PLModuleOutput,
    TorchTrainingSample,
)
from darts.utils.likelihood_models.torch import QuantileRegression
from darts.utils.serialization import add_safe_globals
from torch import Tensor, nn

from ..lifecycle.objective import Objective
from ..network.checks import plain_flag, plain_size
from ..network.transfer import arguments_like, take_over
from ..training import Recipe
from ..training.arguments import named, plain_epochs, recipe_or_default
from ..zero_shot.catalogue import zero_shot_network
from .arguments import look_back, plain_arguments
from .base import NetworkModel, covariates_of
from .likelihoods import LikelihoodHead
from .module import RimerModule
from .series import check_values

__all__ = ["RimerZeroModel"]


class _Chosen(LikelihoodHead):
    """Some of the quantiles that the network puts out.

    Parameters
    ----------
    likelihood
        Of the wanted quantiles; None for the median alone.
    trained
        Those of the network.
    """

    def __init__(self, likelihood: QuantileRegression | None, trained: Sequence[float]) -> None:
        super().__init__(QuantileRegression(list(trained)), 1)
        wanted = [0.5] if likelihood is None else likelihood.quantiles
        self._places = [list(trained).index(x) for x in wanted]

    def __call__(self, output: Tensor) -> Tensor:
        """Choose, (B, H, C, Q) -> (B, H, C, chosen)."""
        return output[..., self._places]


class RimerZeroModule(RimerModule):
    """Lightning module: weights of quantiles, of which some are wanted.

    Parameters
    ----------
    network_params
        See `RimerModule`; ``outputs`` among them.
    **kwargs
        See `RimerModule`.
    """

    def __init__(self, network_params: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(network_params=network_params, **kwargs)
        trained = [float(x) for x in self.network.config.outputs]
        self.head = _Chosen(self.likelihood, trained)
        self._trained = QuantileRegression(trained)
        self._trained_head = LikelihoodHead(self._trained, 1)

    def _forecast(self, past_target: Tensor, *covariates: Tensor | None) -> Tensor:
        if self.refine:
            return self._refined(past_target)
        return self._in_parts(past_target, *covariates)

    @property
    def _loss_head(self) -> LikelihoodHead:
        """All quantiles in training, so that those which are not wanted stay in place."""
        return self._trained_head if self.training else self.head

    def _loss(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        if self.training:
            return self._trained.compute_loss(output.prediction, target, sample_weight)
        return super()._loss(output, target, criterion, sample_weight)


class RimerZeroModel(NetworkModel, FoundationModel):
    """Forecasts of series never seen, without training or download, for darts.

    The weights come with the package; what they were trained on, and where they stand beside other
    models, is in docs/results/zero-shot.md. Every component is forecast by itself, in units of its
    own window: no scaler is needed. NaN is a missing value.

    Parameters
    ----------
    input_chunk_length
        Look-back, in steps, or the shortest and the longest: ``(8, 1024)`` forecasts any series of
        8 steps and more. At most 2,048, the longest that was trained.
    output_chunk_length
        Steps forecast at once. The network forecasts 64. Further on, medians are fed back where the
        series has a season, and a gap is read elsewhere. Give the horizon that you need: in
        ``predict`` with a longer ``n`` darts feeds forecasts back as if they were observed, which
        narrows intervals.
    output_chunk_shift
        As in darts.
    likelihood
        None for medians, or `darts.utils.likelihood_models.torch.QuantileRegression` of quantiles
        among those that were trained: .025, .05, .1, .25, .5, .75, .9, .95, .975.
    hub_model_name
        Name of the weights, or the path of a file that ends with ``.safetensors``.
    hub_model_revision
        Version of the weights; the latest of the package if None.
    local_dir
        Folder of the weights, instead of those in the package. Nothing is ever downloaded.
    enable_finetuning
        As in darts: None or False for weights as they are; True to train all of them in ``fit``;
        or the patterns of parameters to ``"freeze"`` or to ``"unfreeze"``, such as
        ``{"unfreeze": ["network.reader.head*"]}``. Fine-tuning may use covariates, with whole
        windows: they begin without influence.
    refine
        Whether forecasts are refined by their windows, as in `rimer_forecaster.zero_shot.forecast`:
        long or exact seasons are taken off and put back, and random walks are forecast near their
        last value. Without fine-tuning alone. Streams, which keep no history, forecast by the
        network alone.
    n_epochs
        Of fine-tuning; by default as many as make about 2,000 optimiser steps, between 5 and 100.
    recipe
        What else fine-tuning does; its learning rate times ``training_on`` is used.
    **kwargs
        See `RimerModel`.

    Raises
    ------
    ValueError
        If an argument is out of range, with what is allowed; in ``fit`` and ``predict`` if there
        are covariates and no fine-tuning.

    Examples
    --------
    >>> import numpy as np
    >>> from darts import TimeSeries
    >>> from rimer_forecaster import RimerZeroModel
    >>> series = TimeSeries.from_values(np.sin(np.arange(300, dtype=np.float32) / 4))
    >>> silent = {"enable_progress_bar": False, "enable_model_summary": False}
    >>> model = RimerZeroModel((8, 1024), 24, pl_trainer_kwargs=silent)
    >>> len(model.fit(series).predict(24))
    24
    """

    def __init__(
        self,
        input_chunk_length: int | tuple[int, int],
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        likelihood: QuantileRegression | None = None,
        hub_model_name: str = "rimer-zero",
        hub_model_revision: str | None = None,
        local_dir: str | PathLike[str] | None = None,
        enable_finetuning: bool | dict[str, list[str]] | None = None,
        refine: bool = True,
        n_epochs: int | None = None,
        recipe: Recipe | None = None,
        **kwargs: Any,
    ) -> None:
        name = hub_model_name
        if hub_model_revision is not None:
            name = f"{name}-{hub_model_revision}"
        if local_dir is not None:
            name = path.join(local_dir, f"{name}.safetensors")
        self._weights, self._refine = name, plain_flag("refine", refine)
        self._recipe = recipe_or_default(recipe)
        with named("hub_model_name", hub_model_name):
            config = zero_shot_network(name).config
        _, longest = look_back(input_chunk_length)
        plain = {
            **plain_arguments(kwargs),
            "output_chunk_length": plain_size("output_chunk_length", output_chunk_length),
            "output_chunk_shift": plain_size("output_chunk_shift", output_chunk_shift, least=0),
            "n_epochs": plain_epochs(n_epochs),
        }
        if longest > config.input_chunk_length:
            raise ValueError(
                f"input_chunk_length={longest} is longer than the {config.input_chunk_length} "
                "steps that the weights were trained for."
            )
        _check_likelihood(likelihood, [float(x) for x in config.outputs])
        if kwargs.get("use_reversible_instance_norm"):
            raise ValueError(
                "use_reversible_instance_norm=True is not for RimerZeroModel, which scales every "
                "window itself. Leave it out."
            )
        self._uses_recipe = not {"optimizer_cls", "lr_scheduler_cls"} & kwargs.keys()
        self._sets_epochs = n_epochs is None and "max_epochs" not in (
            kwargs.get("pl_trainer_kwargs") or {}
        )
        self.model_params.update({x: y for x, y in plain.items() if x in self.model_params})
        if n_epochs is None:
            self.model_params.pop("n_epochs", None)
        self.model_params.setdefault("loss_fn", nn.L1Loss())
        FoundationModel.__init__(self, **kwargs)
        self._considers_static_covariates = False

    @property
    def supports_past_covariates(self) -> bool:
        """Only where fine-tuning can learn what they mean."""
        return self._requires_training

    @property
    def supports_future_covariates(self) -> bool:
        """Only where fine-tuning can learn what they mean."""
        return self._requires_training

    @property
    def supports_static_covariates(self) -> bool:
        """Static covariates are not read."""
        return False

    def _create_model(self, train_sample: TorchTrainingSample) -> PLForecastingModule:
        weights = zero_shot_network(self._weights)
        covariates = covariates_of(train_sample)
        length = weights.config.input_chunk_length  # windows are what darts cuts, streams go beyond
        if any(covariates.values()):
            length = self._whole_windows(weights.config.patch_length)
        module = RimerZeroModule(
            network_params={
                **arguments_like(weights.config, length),
                **covariates,
                "dropout": 0.0,
                "input_chunk_length": length,
                "output_chunk_length": weights.config.output_chunk_length,
                "outputs": list(weights.config.outputs),
            },
            recipe=asdict(self._recipe.for_training_on()),
            uses_recipe=self._uses_recipe,
            refine=self._refine and not self._requires_training,
            **{x: y for x, y in self.pl_module_params.items() if x != "enable_finetuning"},
        )
        take_over(module.network, weights)
        _check_patterns(self.enable_finetuning, module)
        return module

    def _objective(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
    ) -> Objective:
        """Return whole series, as the weights were trained; with covariates, windows."""
        config = self.model.network.config
        if config.past_covariates or config.future_covariates:
            return super()._objective(series, past_covariates, future_covariates)
        return self._whole_series(series)

    def _whole_windows(self, shortest: int) -> int:
        """Return the length of windows with covariates, which are never padded."""
        if self.min_input_chunk_length != self.input_chunk_length:
            allowed = (self.min_input_chunk_length, self.input_chunk_length)
            raise ValueError(
                f"input_chunk_length={allowed} is not for covariates, which are read in whole "
                f"windows. Use {self.input_chunk_length}, or leave the covariates out."
            )
        if self.input_chunk_length < shortest:
            raise ValueError(
                f"input_chunk_length={self.input_chunk_length} is too short for covariates: the "
                f"weights read them in patches of {shortest} steps. Use at least {shortest}."
            )
        return self.input_chunk_length

    def _build_train_dataset(self, series: Sequence[TimeSeries], *args: Any, **kwargs: Any) -> Any:
        if self._requires_training:
            return super()._build_train_dataset(series, *args, **kwargs)
        check_values(series, None, None)
        return MixedCovariatesTorchModel._build_train_dataset(self, series, *args, **kwargs)


def _check_patterns(enable_finetuning: Any, module: nn.Module) -> None:
    """Raise a ValueError that names the first pattern which fits no parameter."""
    if not isinstance(enable_finetuning, dict):
        return
    names = [name for name, _ in module.named_parameters()]
    for pattern in chain(*enable_finetuning.values()):
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"enable_finetuning={enable_finetuning} has the pattern {pattern!r}, which fits no "
                f"parameter. There are {', '.join(names[:3])} and {len(names) - 3} others: see "
                "model.network.named_parameters(), whose names begin with 'network.' here."
            )


def _check_likelihood(likelihood: object, trained: Sequence[float]) -> None:
    if likelihood is None:
        return
    wanted = getattr(likelihood, "quantiles", None)
    if not (isinstance(likelihood, QuantileRegression) and set(wanted or ()) <= set(trained)):
        shown = type(likelihood).__name__ if wanted is None else f"quantiles {list(wanted)}"
        raise ValueError(
            f"likelihood of {shown} is not for RimerZeroModel, whose weights forecast the "
            f"quantiles {list(trained)}: use None, or QuantileRegression of some of them."
        )


add_safe_globals([RimerZeroModel])
