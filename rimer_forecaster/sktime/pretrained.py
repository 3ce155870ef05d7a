"""What RimerForecaster learnt from some series and takes to others: weights, and the scale of X."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from ..network import RimerNetwork
from ..network.config import OF_TRAINING
from ..network.weights import load_network, read_description, save_weights

__all__ = ["Pretrained"]

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

    Examples
    --------
    >>> import pandas as pd
    >>> from rimer_forecaster import RimerForecaster
    >>> panel = pd.DataFrame(
    ...     {"y": [float(i % 7) for i in range(80)]},
    ...     index=pd.MultiIndex.from_product([["a", "b"], range(40)]),
    ... )
    >>> learnt = RimerForecaster(14, 7, n_epochs=1).pretrain(panel).pretrained_
    >>> unseen = RimerForecaster(14, 7, n_epochs=0, pretrained=learnt)
    >>> len(unseen.fit(panel.loc["b"], fh=range(1, 8)).predict())
    7
    """

    network: RimerNetwork
    X_columns: tuple[str, ...] | None = None
    X_scaler: StandardScaler | None = None

    def give_weights(self, own: RimerNetwork) -> None:
        """Copy the weights into a network of the same arguments.

        Raises
        ------
        ValueError
            If an argument differs that is not of training alone, as dropout is. Weights that were
            not prepared for streams may be streamed: the forecaster warns.
        """
        ignored = (*OF_TRAINING, "streaming")
        for name, (its, ours) in self.network.config.differences(own.config, ignored=ignored):
            shown = _SHOWN_AS.get(name, name)
            raise ValueError(
                f"the pretrained weights are of a network with {shown}={its!r}, but this "
                f"forecaster has {shown}={ours!r}. Make it with the same arguments."
            )
        own.load_state_dict(self.network.state_dict())

    def check_X(self, columns: Iterable[Hashable] | None) -> None:
        """Raise a ValueError if these are not the covariates that the network knows."""
        given = None if columns is None else tuple(map(str, columns))
        if given != self.X_columns:
            known, new = (f"X {list(x)}" if x else "no X" for x in (self.X_columns, given))
            raise ValueError(
                f"the weights were pretrained with {known}, but got {new}. Give the same columns "
                "in the same order."
            )

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
                }
            },
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Pretrained:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If one of the two files is missing.
        ValueError
            If one is damaged, or was not written by RimerForecaster.
        """
        network, description = load_network(path), read_description(path)
        if "sktime" not in description:
            raise ValueError(
                f"{fspath(path)!r} was not saved by RimerForecaster.save_weights. "
                "rimer_forecaster.network.load_network returns its network."
            )
        saved: dict[str, Any] = description["sktime"]
        if saved["X_columns"] is None:
            return cls(network)
        scaler = StandardScaler()
        scaler.mean_, scaler.scale_ = np.array(saved["X_mean"]), np.array(saved["X_scale"])
        scaler.n_features_in_ = len(scaler.mean_)
        return cls(network, tuple(saved["X_columns"]), scaler)
