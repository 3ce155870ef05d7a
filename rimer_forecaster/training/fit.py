"""Training of a network on windows, silently and in place."""

from __future__ import annotations

import copy
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, RandomSampler, Sampler, SequentialSampler

from ..network import RimerNetwork
from .arguments import named
from .held_out import KeepBest
from .module import TrainingModule
from .recipe import Recipe, check_trained
from .windows import WindowBatch, Windows

__all__ = ["interruptible", "train"]


def train(
    network: RimerNetwork,
    windows: Windows,
    *,
    validation: Windows | None = None,
    held_back: bool = False,
    recipe: Recipe,
    batch_size: int,
    n_epochs: int | None,
    generator: torch.Generator,
    trainer_kwargs: dict[str, Any] | None,
) -> None:
    """Train a network in place, silently, and leave it on the CPU in evaluation mode.

    Parameters
    ----------
    network, recipe
        See `TrainingModule`.
    windows
        What to train on.
    validation
        What to compute ``val_loss`` on after each epoch; the weights with the lowest one are kept.
    held_back
        Whether validation decides when to stop, and how wide quantiles are; see `held_out`.
    batch_size
        Windows per optimiser step.
    n_epochs
        Passes over the windows; None takes `Recipe.epochs`.
    generator
        Source of the order of windows and of dropout: the process's own generators stay as they
        are, also when several threads train at once.
    trainer_kwargs
        Arguments of `pytorch_lightning.Trainer` that override the silent defaults. Callbacks are
        copied: those that count, such as early stopping, begin anew in every training.

    Raises
    ------
    ValueError
        If training ends with weights that are not finite.
    """
    kwargs = dict(trainer_kwargs or {})
    callbacks = copy.deepcopy(kwargs.pop("callbacks", None) or [])
    callbacks = [*callbacks] if isinstance(callbacks, (list, tuple)) else [callbacks]
    best = KeepBest(recipe.patience if held_back else None)
    order = RandomSampler(windows, generator=generator)
    loaders = [_loader(windows, order, batch_size, generator)]
    if validation is not None:
        loaders.append(_loader(validation, SequentialSampler(validation), batch_size, generator))
        callbacks.append(best)
    options = {
        "max_epochs": n_epochs or recipe.epochs(len(windows), batch_size),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": callbacks,
        **kwargs,
    }
    dtype = network.dtype  # which a precision of the trainer may change
    with network.in_training(generator), _without_remarks(), interruptible():
        with named("trainer_kwargs", trainer_kwargs):
            trainer = pl.Trainer(**options)
        trainer.fit(TrainingModule(network, recipe, best if held_back else None), *loaders)
    best.finish(network, widen=held_back)
    network.to("cpu", dtype)
    check_trained(
        network,
        f"Lower learning_rate={recipe.learning_rate:g}, or look for extreme values in the data.",
    )


def _loader(
    windows: Windows, order: Sampler[int], batch_size: int, generator: torch.Generator
) -> DataLoader[WindowBatch]:
    return DataLoader(windows, batch_size, sampler=order, collate_fn=_as_it_is, generator=generator)


def _as_it_is(batch: Any) -> Any:
    """Windows come as batches already."""
    return batch


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C in a training be a KeyboardInterrupt, after which Ctrl-C works on.

    Lightning makes a SystemExit of it, and has the process ignore all later ones.
    """
    handler = None
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


_silent: ContextVar[bool] = ContextVar("_silent", default=False)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep Lightning's remarks about devices, loggers and workers to itself."""
    token = _silent.set(True)
    with warnings.catch_warnings():
        # Worker processes only slow down windows that lie in memory.
        warnings.filterwarnings("ignore", ".*does not have many workers")
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`")
        # Lightning 2.6 uses a name that torch has deprecated.
        warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
        try:
            yield
        finally:
            _silent.reset(token)


# A filter that asks the current thread, because a changed log level would be seen by all of them.
logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
    lambda record: record.levelno > logging.INFO or not _silent.get()
)
