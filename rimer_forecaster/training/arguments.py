"""Arguments of both libraries' models that are about training, checked by their names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ..network.checks import plain_size
from .recipe import Recipe

__all__ = [
    "LENGTHS",
    "check_trainer",
    "lengths_said",
    "named",
    "plain_epochs",
    "plain_seed",
    "recipe_or_default",
]

LENGTHS = ("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "callbacks")
"""Arguments of Lightning's trainer that are about one training, and not about the machine."""


def plain_epochs(n_epochs: Any) -> int | None:
    """Return a number of epochs as a plain one, or None; raise a ValueError that names it."""
    return None if n_epochs is None else plain_size("n_epochs", n_epochs, least=0)


def plain_seed(random_state: Any) -> int | np.random.RandomState | None:
    """Return a seed as a plain one, a generator or None; raise a ValueError that names it."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return random_state
    whole = isinstance(random_state, Integral) and not isinstance(random_state, bool)
    if not whole or not 0 <= random_state < 2**32:
        raise ValueError(
            f"random_state={random_state!r} must be a whole number from 0 to 2**32 - 1, a "
            "numpy.random.RandomState, or None."
        )
    return int(random_state)


def recipe_or_default(recipe: Any) -> Recipe:
    """Return what training does by default, unless another recipe is given; or a ValueError."""
    if recipe is None:
        return Recipe()
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"recipe={recipe!r} must be a rimer_forecaster.training.Recipe, such as "
            "Recipe(steps=4000), or None."
        )
    return recipe


def check_trainer(name: str, kwargs: Any) -> None:
    """Raise a ValueError if these are not arguments of Lightning's trainer.

    Parameters
    ----------
    name
        What the model calls them.
    kwargs
        A dictionary, or None.
    """
    if kwargs is None:
        return
    if not isinstance(kwargs, Mapping):
        raise ValueError(
            f"{name}={kwargs!r} must be a dictionary of arguments of pytorch_lightning.Trainer, "
            "such as {'accelerator': 'cpu'}, or None."
        )
    known = inspect.signature(pl.Trainer.__init__).parameters.keys() - {"self"}
    for argument in kwargs:
        if argument not in known:
            raise ValueError(
                f"{name} holds {argument!r}, which is no argument of pytorch_lightning.Trainer. "
                f"It has {', '.join(sorted(known))}."
            )
    for length in ("max_epochs", "min_epochs", "max_steps", "min_steps"):
        if kwargs.get(length) not in (None, -1):  # which is for no limit
            plain_size(f"{name}: {length}", kwargs[length], least=0)
    callbacks = kwargs.get("callbacks")
    for callback in callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]:
        if callback is not None and not isinstance(callback, pl.Callback):
            raise ValueError(
                f"{name} holds callbacks={callbacks!r}, which must be a list of objects of classes "
                "of pytorch_lightning.callbacks."
            )
    if str(kwargs.get("precision")) in ("16-true", "transformer-engine-float16"):
        raise ValueError(
            f"{name} holds precision={kwargs['precision']!r}, in which a network cannot be "
            "trained: the squares of its gradients are zero there, whatever the learning rate. "
            "Use '16-mixed', 'bf16-mixed' or '32-true'."
        )


def lengths_said(trainer_kwargs: Any) -> Any:
    """Return arguments of the trainer if they are about a training, or are none; else None."""
    if isinstance(trainer_kwargs, Mapping) and set(LENGTHS).isdisjoint(trainer_kwargs):
        return None
    return trainer_kwargs


@contextmanager
def named(name: str, value: Any) -> Iterator[None]:
    """Turn errors of another library about an argument into a ValueError that names it."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        MisconfigurationException,
    ) as error:
        raise ValueError(f"{name}={value!r} cannot be used: {error}") from error
