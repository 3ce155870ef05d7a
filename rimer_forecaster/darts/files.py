"""What RimerModel loads and saves: darts' files, verified, and weights as safetensors."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Self

import torch
from darts.models.forecasting.torch_forecasting_model import (
    DEFAULT_DARTS_FOLDER,
    INIT_MODEL_NAME,
    TORCH_NP_DTYPES,
    MixedCovariatesTorchModel,
    _get_checkpoint_fname,
    _get_checkpoint_folder,
    _get_runs_folder,
)
from darts.utils.data.torch_datasets.utils import TorchTrainingSample, _train_sample_from_shapes

from ..network import RimerNetwork
from ..network.config import OF_TRAINING, NetworkConfig
from ..network.weights import check_holds, load_described_network, save_weights
from .archives import check_saved_file

__all__ = ["FilesModel"]

_FITTED_TO = (
    "training_series",
    "past_covariate_series",
    "future_covariate_series",
    "static_covariates",
)
"""What ``predict`` goes on from where it is given no series, in darts' names."""


class FilesModel(MixedCovariatesTorchModel):
    """The loaders of darts' torch models, each with a look at its files first."""

    trainer: Any

    @staticmethod
    def load(path: str, *args: Any, **kwargs: Any) -> Any:
        """Load what ``save`` wrote; see darts.

        Raises
        ------
        ValueError
            If one of the two files is damaged.
        """
        check_saved_file(path)
        return MixedCovariatesTorchModel.load(path, *args, **kwargs)

    @staticmethod
    def load_from_checkpoint(
        model_name: str, work_dir: str | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a checkpoint, to predict from or to go on training; see darts.

        Fitted again with the same arguments, and as many epochs in total, the model becomes what
        it would have become without the interruption.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        initial = os.path.join(_get_runs_folder(_folder(work_dir), model_name), INIT_MODEL_NAME)
        if os.path.exists(initial):  # or else darts says so
            check_saved_file(initial)
        return MixedCovariatesTorchModel.load_from_checkpoint(model_name, work_dir, *args, **kwargs)

    def load_weights_from_checkpoint(
        self,
        model_name: str | None = None,
        work_dir: str | None = None,
        file_name: str | None = None,
        best: bool = True,
        **kwargs: Any,
    ) -> None:
        """Load only the weights of a checkpoint; see darts.

        Raises
        ------
        ValueError
            If a file is damaged, or its model had other arguments than those of training alone, as
            ``dropout`` and ``layers_rate`` are.
        """
        name, folder = model_name or self.model_name, _folder(work_dir)
        if file_name is None:
            file_name = _get_checkpoint_fname(folder, name, best=best)
        if file_name.startswith(("last-", "best-")):
            files = [
                os.path.join(_get_runs_folder(folder, name), INIT_MODEL_NAME),
                os.path.join(_get_checkpoint_folder(folder, name), file_name),
            ]
        else:  # written by `save`
            files = [file_name.removesuffix(".ckpt"), file_name]
        for file in filter(os.path.exists, files):
            check_saved_file(file)
        with self._whole_or_not_at_all():
            super().load_weights_from_checkpoint(name, work_dir, file_name, best, **kwargs)

    def _load_from_checkpoint(self, file_path: str, *args: Any, **kwargs: Any) -> Any:
        check_saved_file(file_path)
        module = super()._load_from_checkpoint(file_path, *args, **kwargs)
        # Darts' checkpoints do not say what is frozen, and restore one copy of the loss of three.
        self._setup_finetuning(module)
        module.train_criterion = copy.deepcopy(module.criterion)
        module.val_criterion = copy.deepcopy(module.criterion)
        return module

    def fit_from_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """Fit, or go on from the checkpoint that was loaded; see darts."""
        if self.load_ckpt_path:  # read once more, by Lightning
            check_saved_file(self.load_ckpt_path)
        return super().fit_from_dataset(*args, **kwargs)

    def save(self, path: str | None = None, *args: Any, **kwargs: Any) -> None:
        """Save the model; see darts, which leaves weights out that no trainer has seen."""
        if self.model is not None and self.trainer is None and not self.load_ckpt_path:
            self.trainer = self._init_trainer(self.trainer_params)
            self.trainer.strategy.connect(self.model)
        super().save(path, *args, **kwargs)

    def save_weights(self, path: str | PathLike[str]) -> None:
        """Save the weights alone, as safetensors, with a JSON file beside them.

        No code can hide in such files, and other versions and programs can read them. They hold no
        series and nothing of the training: for that there is ``save``.

        Parameters
        ----------
        path
            Must end with ``.safetensors``.

        Raises
        ------
        ValueError
            If the path ends otherwise, or the model is not fitted.
        """
        self._check_network()
        own = {
            "train_sample_shape": self.train_sample.sample_shapes(),
            "arguments": self._arguments_beside_shapes(),
            "refine": self.model.refine,
        }
        save_weights(self.model.network, path, {"darts": own})

    def _check_network(self) -> None:
        if self.model is None:
            raise ValueError(
                "the model has no network: it is not fitted, or a copy by pickle or deepcopy, from "
                "which darts leaves the network out. Fit it, or save the original and load it."
            )

    def load_weights(self, path: str, *args: Any, **kwargs: Any) -> None:
        """Load weights, to predict with or to train on from; see darts.

        Parameters
        ----------
        path
            What ``save_weights`` wrote, which ends with ``.safetensors`` and needs no further
            arguments here; or what ``save`` wrote.
        *args, **kwargs
            See darts.

        Raises
        ------
        ValueError
            If a file is damaged, or its model had other arguments than those of training alone, as
            ``dropout`` and ``layers_rate`` are.
        """
        if not str(path).endswith(".safetensors"):
            super().load_weights(path, *args, **kwargs)  # ends in load_weights_from_checkpoint
            return
        with self._whole_or_not_at_all():
            self._load_safetensors(path, *args, **kwargs)

    def _load_safetensors(self, path: str, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise ValueError(
                f"load_weights takes nothing but the path of safetensors, but got "
                f"{', '.join([*map(repr, args), *kwargs])}."
            )
        network, description = load_described_network(path)
        if "darts" not in description:
            raise ValueError(
                f"{path!r} was not saved by RimerModel. rimer_forecaster.network.load_network "
                "returns its network."
            )
        dtype = getattr(torch, description["dtype"])
        if dtype not in TORCH_NP_DTYPES:
            raise ValueError(
                f"{path!r} is of {description['dtype']}, which is not a precision of series. "
                "rimer_forecaster.network.load_network returns its network."
            )
        saved = description["darts"]
        check_holds(path, saved, "train_sample_shape", "arguments", "refine")
        _check_loadable(path, saved["arguments"]["add_encoders"])
        sample = _train_sample_from_shapes(saved["train_sample_shape"], TORCH_NP_DTYPES[dtype])
        own = self._arguments_beside_shapes()
        differences = [(x, (its, own[x])) for x, its in saved["arguments"].items() if its != own[x]]
        self._begin_like(network.config, saved["refine"])
        self.pl_module_params["train_sample_shape"] = sample.sample_shapes()
        self._take_names(network.config.target_components or ("any",))
        config = self._create_model(sample).network.config
        self._check_alike(path, [*differences, *network.config.differences(config)])

        self._take_network(sample, network)

    @contextmanager
    def _whole_or_not_at_all(self) -> Iterator[None]:
        """Leave the model as it was where loading fails."""
        before = self.__dict__ | {"pl_module_params": dict(self.pl_module_params)}
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _take_network(self, sample: TorchTrainingSample, network: RimerNetwork) -> None:
        """Become a fitted model whose network has these weights, compressed as they are."""
        self.train_sample = sample
        self.encoders = self.initialize_encoders()
        self.model = self._init_model()
        self.model.to_dtype(network.dtype)
        self.model.network.load_state_dict(network.state_dict())
        self._fit_called = True
        self._update_covariates_use()

    def _fitted_alike(self, other: Self, network: RimerNetwork) -> Self:
        """Make of an untrained model one with these weights, fitted to the same series."""
        other._begin_like(network.config, self.model.refine)
        other._take_names(network.config.target_components)
        other._take_network(self.train_sample, network)
        other.encoders = copy.deepcopy(self.encoders)
        for name in _FITTED_TO:
            setattr(other, name, getattr(self, name))
        return other

    def _begin_like(self, config: NetworkConfig, refine: bool) -> None:
        """Prepare for weights of such a network, if there is a choice; and whether they refine."""

    def _take_names(self, names: Sequence[str]) -> None:
        """Take over the names of components that read each other; here they do not."""

    @property
    def _ckpt_skipped_params(self) -> list[str]:
        return [*super()._ckpt_skipped_params, *OF_TRAINING, "recipe"]

    def _arguments_beside_shapes(self) -> dict[str, Any]:
        """Return what a forecast depends on and no shape of a weight shows."""
        likelihood = self._model_params.get("likelihood")
        return {
            "likelihood": None if likelihood is None else type(likelihood).__name__,
            "output_chunk_shift": self.output_chunk_shift,
            "use_static_covariates": self.considers_static_covariates,
            "add_encoders": _described(self.add_encoders),
        }

    @staticmethod
    def _check_alike(path: str, differences: Sequence[tuple[str, tuple[Any, Any]]]) -> None:
        for name, (its, own) in differences:
            shown = "likelihood, which says what the network's outputs are,"
            raise ValueError(
                f"the weights in {path!r} are of a model with {name}={its!r}, but this one has "
                f"{name}={own!r}{f' (see {shown})' if name == 'outputs' else ''}. Make it with the "
                "same arguments."
            )


def _described(encoders: Any) -> Any:
    """Return ``add_encoders`` as JSON can hold it: functions and objects by their type."""
    if isinstance(encoders, dict):
        return {name: _described(x) for name, x in encoders.items()}
    if isinstance(encoders, (list, tuple)):
        return [_described(x) for x in encoders]
    return encoders if encoders is None or isinstance(encoders, str) else type(encoders).__name__


def _check_loadable(path: str, encoders: dict[str, Any] | None) -> None:
    """Raise a ValueError if encoders belong to weights that more is to be known of."""
    for name in ("custom", "transformer"):
        if encoders and encoders.get(name):
            raise ValueError(
                f"the weights in {path!r} are of a model whose add_encoders has {name!r}, of which "
                "safetensors hold nothing: it may do something else here. Load what the model's "
                "save wrote."
            )


def _folder(work_dir: str | None) -> str:
    return os.path.join(os.getcwd(), DEFAULT_DARTS_FOLDER) if work_dir is None else work_dir
