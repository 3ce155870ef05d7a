"""RimerForecaster: the network as an sktime forecaster."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_random_state
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from ..edge.export import export
from ..network import NetworkConfig, RimerNetwork
from ..network.checks import warn_of_unprepared
from ..training import Recipe
from ..training.arguments import lengths_said, plain_epochs, plain_seed, recipe_or_default
from ..zero_shot.default import AUTO, MOST_TIME_POINTS, WEIGHTS, says_nothing, weights_cover
from .adaptation import Adaptable
from .beginning import Beginning
from .compression import Compressible
from .distillation import Distillable
from .forecasts import Fitted, furthest
from .growth import Growable
from .learning import Learning, scaled
from .memory import Memory
from .pretrained import Pretrained, of_package
from .quantile_curve import interpolated
from .series import Key, check_names, instances
from .stream_bank import StreamBank
from .uneven import check_grid
from .updates import AllOrNothing
from .values import check_values

__all__ = ["RimerForecaster"]

_BATCH_SIZE = 32


class RimerForecaster(AllOrNothing, Adaptable, Compressible, Growable, Distillable, BaseForecaster):
    """RWKV-7 forecaster for sktime.

    One network forecasts every series and component from its own last `input_chunk_length` time
    points, or with ``components="cross"`` from those of all components of its series. Series are
    standardised inside, each by itself, and so is X: no scaler is needed. Series of a panel or
    hierarchy train one global model. Short series are padded.

    In-sample forecasts (steps of `fh` at or before the cutoff) are each made one step ahead, from
    the `input_chunk_length` time points before (with ``"rimer-zero"``, from at least half of them),
    by the fitted weights; NaN where nothing was observed there. They reach back over what ``fit``
    was given; after an ``update``, and in a file, only the last `input_chunk_length` +
    `output_chunk_length` time points are remembered.

    Parameters
    ----------
    input_chunk_length : int, optional
        Look-back, in time points: by default 96, or that of pretrained weights. Of ``"rimer-zero"``
        it is a cap, by default 2,048, or 512 where the weights are trained on.
    output_chunk_length : int, optional
        Time points forecast at once; further ones feed forecasts back, with ``"rimer-zero"`` only
        where the series has a season: elsewhere it reads a gap. By default that of the pretrained
        weights, the end of the horizon given to ``fit``, or 24 without one.
    layers : str or None
        Layer string, for example ``"rwkv7*2"``; None leaves only the linear skip.
    width, head_size : int
        Channels of a token and of a head; the second must divide the first.
    patch_length : int, optional
        Time points per token. By default 16, or 24 beyond a look-back of 128; a quarter of short
        windows.
    dropout : float
        Probability of zeroing an element of what a layer adds, in [0, 1).
    layers_rate : float
        Factor of the learning rates of all but the linear skips. Try 0.1 where series are short or
        noisy and a linear map does well: see docs/model/overview.md.
    initial_state : {"zero", "learned"}
        What RWKV-7 layers start from: nothing, or one learned state for all series.
    components : {"independent", "cross"}
        Whether each column of y is forecast on its own, or reads all others, which on weather data
        lowers the squared error by a tenth and more: see docs/model/components.md. Columns are
        matched by name.
    covariates : {"features", "cross"}
        Whether X is part of what is read of y, or writes a state that y reads: see
        docs/model/covariates.md. It changes nothing without X.
    streaming : bool
        Whether to forecast from a state that is carried over the whole history, and not from the
        last `input_chunk_length` time points; training prepares for it, as that of ``"rimer-zero"``
        did. ``update`` then costs the same however long history and look-back are. After an
        ``update`` that trains, or that goes back in time, the state begins anew from the time
        points that are remembered.
    quantiles : sequence of float, optional
        Probabilities to train on, 0.5 among them: the point forecast is the median. Others are
        interpolated, and extrapolated, on the scale of a normal distribution. By default those of
        pretrained weights, or .025, .05, .1, .25, .5, .75, .9, .95 and .975.
    n_epochs : int, optional
        Passes over the training windows. By default as many as make about 2,000 optimiser steps,
        between 5 and 100; and none in ``fit`` where there are pretrained weights, as on short
        series (see `pretrained`): it forecasts zero-shot, by the weights as they are. A number
        trains a copy of them on, at a tenth of the learning rate; where there are none it trains
        anew. ``update`` makes one pass over the new windows at a tenth of it, and none where
        ``fit`` made none.
    batch_size : int
        Windows per optimiser step.
    learning_rate, weight_decay : float, optional
        Of AdamW, on a cosine schedule to zero; weight decay is on matrices only. By default those
        of the recipe, 0.001 and 0.01.
    validation_fraction : float, optional
        Share of the end of each series, in (0, 1), that is not trained on but gives a ``val_loss``
        after every epoch. The weights with the lowest one are kept, and callbacks such as early
        stopping can read it. Series of which nothing would be left to train on are trained on as a
        whole.
    pretrained : str, path, Pretrained or None
        Weights to begin with: ``"rimer-zero"``, which comes with the package and forecasts series
        never seen; a file of ``save_weights`` or of their trainer; or the attribute `pretrained_`
        of another forecaster. Sizes that are not given are theirs. As a parameter it survives
        ``clone``, ``set_params`` and searches, which ``pretrain`` does not. ``"rimer-zero"``
        ignores X, and
        warns, unless a number of `n_epochs` lets it learn what X means. None begins anew.
        ``"auto"``, the default, is ``"rimer-zero"`` where ``fit`` gets at most 2,000 time points,
        of all series together, no X, and all arguments of the network and of its training are left
        at their defaults: a training would learn the noise of so few values. The look-back must be
        None or of 16 to 2,048 time points, and quantiles lie within .025 and .975. Elsewhere it is
        None.
    recipe : Recipe, optional
        What else training does by default; `rimer_forecaster.training.Recipe` with other values is
        an experiment.
    trainer_kwargs : dict, optional
        Arguments of `pytorch_lightning.Trainer`, for example ``{"enable_progress_bar": True}``.
        Training is silent and writes nothing by default. Callbacks are copied for every training,
        and not called in ``update``.
    random_state : int, numpy RandomState or None
        Seed of initial weights, window order and dropout. The process's own generators are left
        alone.

    Attributes
    ----------
    network_ : RimerNetwork
        The fitted network.
    pretrained_ : Pretrained
        What ``pretrain`` learnt, or what ``grow`` made; ``fit`` and ``update`` leave it as it is.
    distillation_ : Distillation
        How near ``distill`` came to its teacher.
    adapted_ : AdaptedState or None
        What ``adapt`` learnt; ``update`` leaves it as it is, and ``fit`` forgets it.

    Raises
    ------
    ValueError
        In ``fit``, ``update`` and ``predict``, if an argument is out of range, a series is too
        short, has uneven time points, holds infinite values or has nothing observed where it is
        forecast from, X does not cover the time points of y or of the horizon, or the horizon
        reaches back beyond what is remembered, with the place and the remedy.

    References
    ----------
    Peng et al. (2025), "RWKV-7 Goose with Expressive Dynamic State Evolution", arXiv:2503.14456.
    Li and Liu (2025), "BlackGoose Rimer", arXiv:2503.06121.

    Examples
    --------
    >>> from rimer_forecaster import RimerForecaster
    >>> from sktime.datasets import load_airline
    >>> y = load_airline()
    >>> forecaster = RimerForecaster(input_chunk_length=24, n_epochs=1, random_state=0)
    >>> y_pred = forecaster.fit(y, fh=range(1, 13)).predict()
    >>> len(y_pred)
    12
    """

    _tags = {  # noqa: RUF012  # sktime's way to declare tags
        "authors": ["The rimer_forecaster developers"],
        "maintainers": ["The rimer_forecaster developers"],
        "python_version": ">=3.11",
        "python_dependencies": ["torch>=2.10", "pytorch-lightning>=2.6.6"],
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": False,
        "property:randomness": "derandomized",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": False,
        "capability:non_contiguous_X": True,
        "capability:missing_values": True,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:pretrain": True,
        "capability:random_state": True,
        "capability:unequal_length": True,
        "capability:update": True,
    }

    _config = {"remember_data": False}  # noqa: RUF012  # `Memory` is all that is kept

    def __init__(
        self,
        input_chunk_length: int | None = None,
        output_chunk_length: int | None = None,
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
        quantiles: Sequence[float] | None = None,
        n_epochs: int | None = None,
        batch_size: int = _BATCH_SIZE,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        validation_fraction: float | None = None,
        pretrained: str | PathLike[str] | Pretrained | None = AUTO,
        recipe: Recipe | None = None,
        trainer_kwargs: dict[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.input_chunk_length = input_chunk_length
        self.output_chunk_length = output_chunk_length
        self.layers = layers
        self.width = width
        self.head_size = head_size
        self.patch_length = patch_length
        self.dropout = dropout
        self.layers_rate = layers_rate
        self.initial_state = initial_state
        self.components = components
        self.covariates = covariates
        self.streaming = streaming
        self.quantiles = quantiles
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.pretrained = pretrained
        self.recipe = recipe
        self.trainer_kwargs = trainer_kwargs
        self.random_state = random_state
        super().__init__()

    def __dynamic_tags__(self) -> None:
        """Weights of the package know no X, and learn of it only in training."""
        if self.pretrained != AUTO and of_package(self.pretrained) and not self.n_epochs:
            self.set_tags(**{"capability:exogenous": False})

    def __post_init__(self) -> None:
        """Declare the data memory that sktime's own methods look for, empty."""
        self._y = self._X = None

    @property
    def network_(self) -> RimerNetwork:
        """See the attributes above."""
        return self._fitted.network

    def _pretrain(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None
    ) -> RimerForecaster:
        """Learn from a panel, and from what was learnt before if anything was."""
        if plain_epochs(self.n_epochs) == 0:
            raise ValueError("n_epochs=0 pretrains nothing: give at least 1, or None.")
        prior = self._prior()
        memory, network = self._learn(y, X, fh, self._new_generator(), prior, trains=True)
        self.pretrained_ = Fitted(network, memory).weights()
        return self

    def _fit(
        self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None
    ) -> RimerForecaster:
        self._generator = self._new_generator()
        prior = self._prior()
        taught = self._lesson is not None
        if prior is None and X is None and not taught and self._forecasts_by_default(len(y)):
            prior = Pretrained.of(WEIGHTS)
        trains = taught or bool(plain_epochs(self.n_epochs)) or prior is None
        memory, network = self._learn(y, X, fh, self._generator, prior, trains=trains)
        streams: StreamBank[Key] | None = None
        if self.streaming:
            streams = StreamBank[Key]().begun(network, *scaled(memory, memory.series))
        refines = not trains and prior is not None and prior.refines
        self._fitted = Fitted(network, memory, streams, trains, refines=refines)
        return self

    def _learn(
        self,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        fh: ForecastingHorizon | None,
        generator: torch.Generator,
        prior: Pretrained | None,
        *,
        trains: bool,
    ) -> tuple[Memory, RimerNetwork]:
        """Make the network that forecasts, trained or as it is, and the memory of its series."""
        if self.n_epochs == 0 and prior is None:
            raise ValueError(
                "n_epochs=0 trains nothing, and there are no pretrained weights to forecast by. "
                "Give at least 1, None, or pretrained=."
            )
        beginning = Beginning(
            self.get_params(deep=False), prior, trains, tuple(map(str, y.columns))
        )
        learning = self._learning()
        cap, least = self.input_chunk_length, 2 if trains else 1
        memory = Memory.of(y, X, beginning.known_X, least=least, cap=cap)
        network = beginning.network(
            covariates=0 if X is None else X.shape[1],
            ahead=0 if fh is None else furthest(self.cutoff, fh),
            longest=max(len(one.y) for one in memory.series.values()),
            generator=generator,
        )
        if trains:
            learning = learning if prior is None else learning.trained_on()
            if self._lesson is not None:
                self.distillation_ = self._lesson.teach(network, memory, learning, generator)
            else:
                learning.train(network, memory, memory.series, generator)
        return memory, network

    def _prior(self) -> Pretrained | None:
        """Return what to begin with: what ``pretrain`` left, or else the parameter."""
        if hasattr(self, "pretrained_"):
            return self.pretrained_
        return None if self.pretrained in (None, AUTO) else Pretrained.of(self.pretrained)

    def _forecasts_by_default(self, time_points: int) -> bool:
        """Whether weights of the package forecast so few time points, and nothing is trained."""
        names = ("n_epochs", "learning_rate", "weight_decay", "validation_fraction", "recipe")
        training = {name: getattr(self, name) for name in names}
        training["batch_size"] = None if self.batch_size == _BATCH_SIZE else self.batch_size
        training["trainer_kwargs"] = lengths_said(self.trainer_kwargs)
        return (
            self.pretrained == AUTO
            and time_points <= MOST_TIME_POINTS
            and says_nothing(self.get_params(deep=False), training)
            and weights_cover(self.input_chunk_length, self.quantiles)
        )

    def _learning(self) -> Learning:
        rates: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
        }
        rates = {name: value for name, value in rates.items() if value is not None}
        return Learning(
            replace(recipe_or_default(self.recipe), **rates),
            self.batch_size,
            self.n_epochs,
            self.validation_fraction,
            self.trainer_kwargs,
        )

    def _new_generator(self) -> torch.Generator:
        generator, seed = torch.Generator(), plain_seed(self.random_state)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(int(check_random_state(seed).randint(2**31)))
        return generator

    def save_weights(self, path: str | PathLike[str]) -> None:
        """Write the fitted or pretrained weights for the parameter `pretrained`.

        They are safetensors with a JSON file beside them, see `Pretrained.save`: no code can hide
        in such files, and they hold no series.
        """
        if not self.is_fitted and not hasattr(self, "pretrained_"):
            self.check_is_fitted()
        weights = self._fitted.weights() if self.is_fitted else self.pretrained_
        weights.save(path)

    def export_edge(self, path: str | PathLike[str]) -> None:
        """Write the fitted network to one file for a device without torch.

        `rimer_forecaster.edge.EdgeForecaster` observes one series there, in the units of y, and
        forecasts the quantiles that were trained as a forecaster with ``streaming=True`` does here.

        Parameters
        ----------
        path : str or path
            Must end with ``.safetensors``.

        Raises
        ------
        ValueError
            If the network does what `rimer_forecaster.edge.export.export` refuses by its name: it
            reads X (``future_covariates``), or has layers other than ``rwkv7``.

        Warns
        -----
        UserWarning
            If the training did not prepare for streams.
        """
        self.check_is_fitted()
        network = self._fitted.network
        warn_of_unprepared("this forecaster was", prepared=network.config.prepared_for_streams)
        export(network, path)

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> RimerForecaster:
        """Make a new memory, network and streams."""
        (network, memory, streams), length = self._fitted[:3], self._fitted.length
        trains = update_params and self._fitted.trained and self._fitted.adapted is None
        memory, updates = memory.updates(y, X, length=length)
        series = {key: update.series for key, update in updates.items()}
        new = {key: len(one.y) - updates[key].known for key, one in series.items()}
        goes_on = {key: update.known for key, update in updates.items() if update.goes_on}
        # Train from the first horizon that reaches into the new rows on.
        H = network.config.output_chunk_length
        origins = {
            key: max(1, updates[key].known - H + 1)
            for key, one in series.items()
            if new[key] and len(one.y) > 1
        }
        if trains and origins:
            network, self._generator = copy.deepcopy(network), self._generator.clone_state()
            moved = {key: series[key] for key in origins}
            self._learning().update(network, memory, moved, origins, self._generator)
            goes_on = {}  # weights that moved read everything anew
            others = {key: one for key, one in memory.series.items() if key not in series}
            series |= {key: one.end(length) for key, one in others.items()}
        if streams is not None:
            anew = {key: one for key, one in series.items() if key not in goes_on}
            streams = streams.begun(network, *scaled(memory, anew), self._fitted.start)
            more = {key: series[key] for key in goes_on if new[key]}
            streams = streams.updated(network, *scaled(memory, more, goes_on))
        memory = memory.updated(updates, length=length)
        self._fitted = self._fitted._replace(network=network, memory=memory, streams=streams)
        return self

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        fitted = self._fitted
        index, forecasts = fitted.forecast(fh, X)
        median = forecasts[..., fitted.network.config.middle]
        frame = pd.DataFrame(median, index=index, columns=fitted.memory.y_columns)
        return frame[fitted.memory.y_given]

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        index, values, levels = self._fitted.quantiles(fh, X, self.quantiles, alpha)
        if len(levels) > 1:
            values = interpolated(values, levels, alpha)
        columns = self._get_columns(method="predict_quantiles", alpha=alpha)
        # sktime names them in the order of the last y that it saw, which may be an update's.
        values = self._fitted.memory.in_order_of(self._get_varnames(), values)
        return pd.DataFrame(values.reshape(len(index), -1), index=index, columns=columns)

    def _predict_proba(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, marginal: bool = True
    ) -> Any:
        """Return the distribution of which `_predict_quantiles` gives the quantiles."""
        from .distribution import QuantileDistribution

        index, forecasts, levels = self._fitted.quantiles(fh, X, self.quantiles)
        names = self._get_varnames()
        forecasts = self._fitted.memory.in_order_of(names, forecasts)
        return QuantileDistribution(forecasts, levels, index, names)

    def _check_X_y(self, X: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Name what sktime's own checks would convert, or fail at without a word."""
        for name, data in (("y", y), ("X", X)):
            check_names(name, data)
            check_values(name, data)
        if X is not None and not self.get_tag("capability:exogenous") and not self.is_fitted:
            warnings.warn(
                f"X is ignored: pretrained={self.pretrained!r} knows no covariates. Give n_epochs "
                "to train the weights on, or leave X out.",
                UserWarning,
                stacklevel=3,
            )
        inner_X, inner_y = super()._check_X_y(X, y, *args, **kwargs)
        if isinstance(inner_y, pd.DataFrame) and not self.is_fitted:
            check_grid(instances(inner_y))
        return inner_X, inner_y

    def __getstate__(self) -> dict[str, Any]:
        """Return what a file holds: weights on the CPU, and of the series only their ends."""
        state = dict(super().__getstate__())
        if "_fitted" in state:
            fitted = self._fitted
            memory = fitted.memory.shortened(fitted.length)
            network = copy.deepcopy(fitted.network).cpu()
            state["_fitted"] = fitted._replace(network=network, memory=memory)
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> RimerForecaster:
        """Return a copy that remembers all that this one does."""
        other = memo[id(self)] = type(self).__new__(type(self))
        other.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return other

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return tiny settings for sktime's conformity suite."""
        tiny = {"n_epochs": 1, "width": 8, "head_size": 4, "random_state": 0}
        return [
            {"input_chunk_length": 6, **tiny},
            {
                "input_chunk_length": 12,
                "output_chunk_length": 2,
                "layers": "rwkv7*2",
                "patch_length": 3,
                "quantiles": (0.1, 0.5, 0.9),
                **tiny,
            },
            {"input_chunk_length": 8, "layers": None, **tiny},
            {"input_chunk_length": 6, "streaming": True, "initial_state": "learned", **tiny},
            {"pretrained": "rimer-zero", "recipe": Recipe(steps=1, fewest_epochs=1)},
        ]
