"""What a fit begins with: a new network, pretrained weights as they are, or a copy to train on.

Letters: L look-back, H output steps, P patch length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..network import NetworkConfig, RimerNetwork
from ..network.checks import check_sizes, is_number, plain_flag, plain_size, warn_of_unprepared
from ..network.config import OF_MODELS, OF_TRAINING
from ..network.transfer import arguments_like, take_over
from .pretrained import Pretrained

__all__ = ["DEFAULT_QUANTILES", "Beginning"]

DEFAULT_QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""What is forecast where neither the user nor weights say."""

_LOOK_BACK, _LOOK_BACK_TRAINED_ON = 96, 512
"""L by default of a new network, and of weights that are trained on but read windows of any length:
a step over windows of 2,048 takes four times as long."""

_SIZES = tuple(x for x in OF_MODELS if x not in (*OF_TRAINING, "streaming"))
"""Arguments that are those of the weights unless they were given."""


@dataclass(frozen=True)
class Beginning:
    """The network that a fit begins with, and how it may be used.

    Attributes
    ----------
    given
        Arguments of `RimerForecaster` by their names; None where the default depends on others.
    prior
        Weights to begin with, or None.
    trains
        Whether they are trained on.
    names
        Of the columns of y.
    """

    given: Mapping[str, Any]
    prior: Pretrained | None
    trains: bool
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what the network does not check itself."""
        plain_flag("streaming", self.given["streaming"])
        given, prior = self.given["quantiles"], self.prior
        levels = _levels(DEFAULT_QUANTILES if given is None else given)
        ascending = levels == sorted(set(levels))
        if 0.5 not in levels or not ascending or not 0 < levels[0] <= levels[-1] < 1:
            raise ValueError(
                f"quantiles={given!r} must be ascending probabilities between 0 and 1, "
                "such as (0.1, 0.5, 0.9), 0.5 among them: the point forecast is the median."
            )
        if prior is None or self.trains or not prior.of_any_length or given is None:
            return
        trained = [float(x) for x in prior.network.config.outputs]
        if levels[0] < trained[0] or levels[-1] > trained[-1]:
            raise ValueError(
                f"quantiles={given!r} reach beyond those that the pretrained weights forecast, "
                f"{trained[0]:g} to {trained[-1]:g}. Stay between them, or train the weights on: "
                "n_epochs=10, for example."
            )

    @property
    def known_X(self) -> Pretrained | None:
        """Weights that say which covariates there may be; None where the fit learns any."""
        learns = self.trains and self.prior is not None and self.prior.of_any_length
        return None if learns else self.prior

    def network(
        self, *, covariates: int, ahead: int, longest: int, generator: torch.Generator
    ) -> RimerNetwork:
        """Return the network: to be trained, or ready to forecast.

        Parameters
        ----------
        covariates
            How many there are.
        ahead
            Last step of the horizon that ``fit`` was given; 0 without one.
        longest
            Time points of the longest series.
        generator
            Source of the weights that are new.

        Raises
        ------
        ValueError
            If an argument was given that is not that of the weights, or the network refuses one.
        """
        prior = self.prior
        if prior is None:
            network = self._new(covariates, ahead, generator)
        elif not prior.of_any_length:
            network = self._alike(prior, generator)
        elif self.trains:
            network = self._taken_over(prior, covariates, ahead, longest, generator)
        else:
            network = self._as_it_is(prior)
        if not self.trains and prior is not None and self.given["streaming"]:
            prepared = prior.network.config.prepared_for_streams
            warn_of_unprepared("the pretrained weights were", prepared=prepared)
        return network if self.trains else network.eval()

    def _new(self, covariates: int, ahead: int, generator: torch.Generator) -> RimerNetwork:
        given = self.given
        return RimerNetwork(
            _first(given["input_chunk_length"], _LOOK_BACK),
            _first(given["output_chunk_length"], ahead if ahead >= 1 else 24),
            future_covariates=covariates,
            outputs=_first(given["quantiles"], DEFAULT_QUANTILES),
            generator=generator,
            dtype=torch.float32,
            target_components=self.names if given["components"] == "cross" else (),
            **{name: given[name] for name in OF_MODELS},
        )

    def _alike(self, prior: Pretrained, generator: torch.Generator) -> RimerNetwork:
        """Weights of windows of one length: whatever was given must be what they are of."""
        arguments = self._arguments(prior, "input_chunk_length", "output_chunk_length")
        if self.trains:
            arguments["streaming"] = self.given["streaming"]  # what they are prepared for
        network = RimerNetwork(**arguments, generator=generator, dtype=torch.float32)
        prior.give_weights(network)
        return network

    def _taken_over(
        self,
        prior: Pretrained,
        covariates: int,
        ahead: int,
        longest: int,
        generator: torch.Generator,
    ) -> RimerNetwork:
        """Weights of windows of any length: look-back, horizon, quantiles, covariates are free."""
        config = prior.network.config
        P, H = config.patch_length, config.output_chunk_length
        longest_known = config.input_chunk_length
        L = self._cap(longest_known) or min(longest_known, _LOOK_BACK_TRAINED_ON)
        if covariates and L < P:
            raise ValueError(
                f"input_chunk_length={L} is too short for X: the pretrained weights read it in "
                f"patches of {P} time points. Use at least {P}."
            )
        if covariates:  # windows are read as a whole then
            L = min(L, longest)
        L = max(L, P)
        own = {
            "input_chunk_length": L,
            "output_chunk_length": _first(
                self.given["output_chunk_length"], min(ahead, H) if ahead >= 1 else H
            ),
            "future_covariates": covariates,
            "skip_length": arguments_like(config, L)["skip_length"],
        }
        arguments = self._arguments(prior) | own
        network = RimerNetwork(**arguments, generator=generator, dtype=torch.float32)
        prior.check(network.config, free=("outputs", "covariates", *own))
        take_over(network, prior.network)
        return network

    def _as_it_is(self, prior: Pretrained) -> RimerNetwork:
        """Weights of windows of any length, themselves and no copy."""
        self._cap(prior.network.config.input_chunk_length)
        if self.given["output_chunk_length"] is not None:
            check_sizes(output_chunk_length=self.given["output_chunk_length"])
        own = self._arguments(prior)
        if any(own[name] != getattr(prior.network.config, name) for name in _SIZES):
            # Only then, as this builds layers to check them, which takes longer than a forecast.
            prior.check(NetworkConfig(**own), free=("outputs",))
        return prior.network

    def _cap(self, longest: int) -> int | None:
        """Look-back that was given, at most that of the weights; or None."""
        if self.given["input_chunk_length"] is None:
            return None
        cap = plain_size("input_chunk_length", self.given["input_chunk_length"])
        if cap > longest:
            raise ValueError(
                f"input_chunk_length={cap} is longer than the {longest} time points that the "
                "pretrained weights read at most. Use fewer, or leave it out."
            )
        return cap

    def _arguments(self, prior: Pretrained, *sizes: str) -> dict[str, Any]:
        """Arguments of the weights' network, but for those that were given."""
        given = self.given
        own = {name: given[name] for name in OF_TRAINING}
        for name in (*_SIZES, *sizes):
            if given[name] != getattr(NetworkConfig, name, None):  # the default
                own[name] = given[name]
        if given["quantiles"] is not None:
            own["outputs"] = given["quantiles"]
        if "components" in own and not prior.network.config.target_components:
            own["target_components"] = self.names
        return prior.network.config.to_json() | own


def _levels(quantiles: Any) -> list[float]:
    """Quantiles as plain numbers; none if they are something else."""
    levels = list(quantiles) if isinstance(quantiles, Iterable) else []
    return list(map(float, levels)) if all(map(is_number, levels)) else []


def _first(given: Any, otherwise: Any) -> Any:
    return otherwise if given is None else given
