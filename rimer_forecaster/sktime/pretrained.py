"""What RimerForecaster learnt from some series and takes to others: weights, and the scale of X."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from ..network import NetworkConfig, RimerNetwork
from ..network.config import OF_TRAINING
from ..network.weights import check_holds, load_described_network, save_weights
from ..training.arguments import named
from ..zero_shot.catalogue import zero_shot_network

__all__ = ["Pretrained", "of_package"]

_SHOWN_AS = {"outputs": "quantiles"}
"""Arguments of the network that the forecaster calls otherwise."""


@dataclass(frozen=True)
class Pretrained:
    """A trained network, kept as it is: who trains on takes a copy.

    Attributes
    ----------
    network
        On the CPU, ready to forecast.
    X_columns
        Names of the covariates as strings, in the network's order; None without any.
    X_scaler
        What the covariates were standardised by; None without any.
    refines
        Whether forecasts by them as they are, are refined by whole series, see
        `rimer_forecaster.zero_shot.forecast`: not after a forecaster trained them.

    Examples
    --------
    >>> import pandas as pd
    >>> from rimer_forecaster import RimerForecaster
    >>> panel = pd.DataFrame(
    ...     {"y": [float(i % 7) for i in range(80)]},
    ...     index=pd.MultiIndex.from_product([["a", "b"], range(40)]),
    ... )
    >>> learnt = RimerForecaster(14, 7, n_epochs=1).pretrain(panel).pretrained_
    >>> unseen = RimerForecaster(pretrained=learnt)
    >>> len(unseen.fit(panel.loc["b"], fh=range(1, 8)).predict())
    7
    """

    network: RimerNetwork
    X_columns: tuple[str, ...] | None = None
    X_scaler: StandardScaler | None = None
    refines: bool = True

    @property
    def of_any_length(self) -> bool:
        """Whether the network reads windows of any length; then others may take its weights on."""
        shortest, longest = self.network.config.lengths
        return shortest < longest

    def give_weights(self, own: RimerNetwork) -> None:
        """Copy the weights into a network of the same arguments.

        Raises
        ------
        ValueError
            If an argument differs that is not of training alone, as dropout is. Weights that were
            not prepared for streams may be streamed: the forecaster warns.
        """
        self.check(own.config)
        own.load_state_dict(self.network.state_dict())

    def check(self, own: NetworkConfig, *, free: Iterable[str] = ()) -> None:
        """Raise a ValueError that names the first argument which differs and is not free."""
        ignored = (*OF_TRAINING, "streaming", *free)
        for name, (its, ours) in self.network.config.differences(own, ignored=ignored):
            shown = _SHOWN_AS.get(name, name)
            raise ValueError(
                f"the pretrained weights are of a network with {shown}={its!r}, but this "
                f"forecaster has {shown}={ours!r}. Leave it out, or make it the same."
            )

    def ordered(self, X: pd.DataFrame | None) -> pd.DataFrame | None:
        """Return covariates in the network's order, or raise a ValueError if they are others."""
        given = None if X is None else [str(column) for column in X.columns]
        if sorted(given or ()) != sorted(self.X_columns or ()):
            known, new = (f"X {list(x)}" if x else "no X" for x in (self.X_columns, given))
            remedy = "Give the same columns."
            if self.of_any_length:
                remedy = "Leave it out, or let training learn of it: n_epochs=10, for example."
            raise ValueError(f"the weights were pretrained with {known}, but got {new}. {remedy}")
        if X is None or given is None or self.X_columns is None:
            return None
        return X.iloc[:, [given.index(name) for name in self.X_columns]]

    def order_of(self, y: pd.DataFrame) -> tuple[int, ...]:
        """Return which column of y is each component that the network reads; empty for its own.

        Raises
        ------
        ValueError
            If the network's components read each other, and the columns of y are others.
        """
        config, given = self.network.config, [str(column) for column in y.columns]
        known = list(config.target_components)
        if not config.crosses or given == known:
            return ()
        if sorted(given) != sorted(known):
            raise ValueError(
                f"the weights were pretrained with y {known}, whose columns read each other "
                f"(components='cross'), but got {given}. Give the same columns, in any order, or "
                "pretrain with components='independent'."
            )
        return tuple(given.index(name) for name in known)

    def save(self, path: str | PathLike[str]) -> None:
        """Write safetensors, and a JSON file beside them.

        Raises
        ------
        ValueError
            If the path does not end with ``.safetensors``.
        """
        scaler = self.X_scaler
        save_weights(
            self.network,
            path,
            {
                "sktime": {
                    "X_columns": None if self.X_columns is None else list(self.X_columns),
                    "X_mean": None if scaler is None else scaler.mean_.tolist(),
                    "X_scale": None if scaler is None else scaler.scale_.tolist(),
                    "refines": self.refines,
                }
            },
        )

    @classmethod
    def of(cls, given: str | PathLike[str] | Pretrained) -> Pretrained:
        """Return weights by the name of those of the package, from a file, or as they are.

        Raises
        ------
        ValueError
            If there are none of this name, and where `load` raises one.
        """
        if isinstance(given, Pretrained):
            return given
        with named("pretrained", given):
            return cls(zero_shot_network(given)) if of_package(given) else cls.load(given)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Pretrained:
        """Read what `save` wrote, or the trainer of `rimer_forecaster.zero_shot`.

        Raises
        ------
        FileNotFoundError
            If one of the two files is missing.
        ValueError
            If one is damaged, or was written by neither.
        """
        network, description = load_described_network(path)
        if "plan" in description:
            return cls(network.float().requires_grad_(False))
        if "sktime" not in description:
            raise ValueError(
                f"{fspath(path)!r} was not saved by RimerForecaster.save_weights. "
                "rimer_forecaster.network.load_network returns its network."
            )
        saved: dict[str, Any] = description["sktime"]
        check_holds(path, saved, "X_columns", "X_mean", "X_scale", "refines")
        if saved["X_columns"] is None:
            return cls(network, refines=saved["refines"])
        scaler = StandardScaler()
        scaler.mean_, scaler.scale_ = np.array(saved["X_mean"]), np.array(saved["X_scale"])
        scaler.n_features_in_ = len(scaler.mean_)
        return cls(network, tuple(saved["X_columns"]), scaler, saved["refines"])


def of_package(given: str | PathLike[str] | Pretrained | None) -> bool:
    """Whether weights are given by a name, and not by a file or as they are."""
    return isinstance(given, (str, PathLike)) and not fspath(given).endswith(".safetensors")
