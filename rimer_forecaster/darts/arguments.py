"""Arguments that RimerModel and RimerZeroModel inherit from darts, checked by their names."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import _parse_input_chunk_length

from ..network.checks import plain_flag, plain_size
from ..training.arguments import check_trainer, named, plain_seed

__all__ = ["look_back", "plain_arguments"]

_SIZES = ("batch_size", "nr_epochs_val_period")
_FLAGS = ("log_tensorboard", "force_reset", "save_checkpoints", "show_warnings")
_CLASSES = ("optimizer_cls", "lr_scheduler_cls")
_DICTIONARIES = ("optimizer_kwargs", "lr_scheduler_kwargs", "add_encoders")


def look_back(input_chunk_length: Any) -> tuple[int, int]:
    """Return the shortest and the longest look-back, or raise a ValueError that shows the form."""
    if isinstance(input_chunk_length, tuple):
        with named("input_chunk_length", input_chunk_length):
            shortest, longest = _parse_input_chunk_length(input_chunk_length)
        return int(shortest), int(longest)
    if isinstance(input_chunk_length, list):
        raise ValueError(
            f"input_chunk_length={input_chunk_length!r} must be a whole number, or a tuple of the "
            "shortest and the longest one, such as (8, 96)."
        )
    length = plain_size("input_chunk_length", input_chunk_length)
    return length, length


def plain_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for darts, with numbers of a grid as plain ones.

    Raises
    ------
    ValueError
        If one has a value that darts or Lightning would take in silence or fail at later.
    """
    plain = dict(given)
    for name in given.keys() & set(_SIZES):
        plain[name] = plain_size(name, given[name])
    for name in given.keys() & set(_FLAGS):
        plain[name] = plain_flag(name, given[name])
    if "random_state" in given:
        plain["random_state"] = plain_seed(given["random_state"])
    for name in given.keys() & set(_CLASSES):
        if not callable(given[name]) and (name, given[name]) != ("lr_scheduler_cls", None):
            raise ValueError(f"{name}={given[name]!r} must be a class of torch.optim.")
    if "loss_fn" in given and (isinstance(x := given["loss_fn"], type) or not callable(x)):
        raise ValueError(f"loss_fn={x!r} must be an object, such as torch.nn.L1Loss().")
    for name in _DICTIONARIES:
        if not isinstance(given.get(name), Mapping | None):
            raise ValueError(f"{name}={given[name]!r} must be a dictionary, or None.")
    for name, kinds in {"model_name": str | None, "work_dir": str | PathLike | None}.items():
        if not isinstance(given.get(name), kinds):
            raise ValueError(f"{name}={given[name]!r} must be a string, or None.")
    with named("torch_metrics", given.get("torch_metrics")):
        PLForecastingModule.configure_torch_metrics(given.get("torch_metrics"))
    check_trainer("pl_trainer_kwargs", given.get("pl_trainer_kwargs"))
    return plain
