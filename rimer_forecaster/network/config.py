"""What a network is built from: every argument once, with its default, its check and its JSON."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any

from ..layers import check_layers
from .checks import (
    MOST,
    check_sizes,
    plain_flag,
    plain_names,
    plain_number,
    plain_outputs,
    plain_size,
)

__all__ = ["OF_MODELS", "OF_TRAINING", "NetworkConfig", "default_patch_length"]

OF_MODELS = (
    "layers", "width", "head_size", "patch_length", "dropout", "layers_rate", "initial_state",
    "components", "covariates", "streaming",
)  # fmt: skip
"""Arguments of the network that the models of both libraries take under these names."""

OF_TRAINING = ("dropout", "layers_rate")
"""Arguments that change no forecast of the same weights, and may differ where they are loaded."""

_LONGEST_SKIP = 2048
"""Steps of the linear skip of a longer window: docs/results/open-questions.md measures why."""

_SIZES = ("input_chunk_length", "output_chunk_length", "width", "head_size", "patch_length")
_COUNTS = ("past_covariates", "future_covariates", "static_covariates")
_NUMBERS = {
    "dropout": (lambda x: 0 <= x < 1, "a probability in [0, 1)"),
    "layers_rate": (
        lambda x: 0 < x < math.inf,
        "above 0 and finite: it multiplies the learning rate of the layers. For none at all use "
        "layers=None",
    ),
    "least_scale": (lambda x: 0 <= x < math.inf, "at least 0, and finite"),
}


def default_patch_length(input_chunk_length: int) -> int:
    """Patch length for a look-back: 16 steps, 24 beyond a look-back of 128.

    A window shorter than four such patches takes a quarter of its length, because a recurrence
    over one token has nothing to carry.
    """
    return min(16 if input_chunk_length <= 128 else 24, max(1, input_chunk_length // 4))


@dataclass(frozen=True)
class NetworkConfig:
    """Arguments of `RimerNetwork`, as plain values.

    Attributes
    ----------
    input_chunk_length, output_chunk_length
        L and H, in steps.
    past_covariates, future_covariates, static_covariates
        Number of components. Past covariates are known over the window, future ones over the
        window and the horizon, static ones once per target component.
    outputs
        What the Q outputs per value are: ``"location"``, ``"scale"``, or a number for the quantile
        of that probability. Locations and quantiles come out in the units of the series, and
        quantiles in ascending order. A scale comes out such that its softplus is in the units of
        the series. Either all outputs are quantiles, of ascending probabilities, or none.
    layers
        Layer string, see `rimer_forecaster.layers.layer_string`; None for the linear skips alone.
    width, head_size
        Channels of a token, and of a head; the second must divide the first.
    patch_length
        Steps per token, at most L; None takes `default_patch_length`.
    dropout
        Probability of zeroing an element of what a layer adds, in [0, 1).
    layers_rate
        Factor of the learning rates of all but the linear skips, above 0.
    initial_state
        What RWKV-7 layers start from: ``"zero"``; ``"learned"``, one state for all series; or
        ``"static"``, a learned one plus a linear map of the static covariates.
    streaming
        Whether training prepares for streams: unfinished patches, and states that were carried from
        far. It serves streamed forecasts, and may cost windowed ones: see
        docs/guides/streaming.md.
    skip_length
        Last steps of a window that the linear skip reads; None for all of them, or the last 2,048
        of longer ones, as more weights do not learn; 0 for no skip but a constant. With a number,
        windows of fewer than L steps are read as they are.
    squash
        Whether values in units of their window are read, and forecasts made, through the inverse
        hyperbolic sine, which is the identity for small values and a logarithm for large ones.
    read_gaps
        Whether patches without a value are read as time that passes, from the first value on.
        Otherwise they leave the state alone. Forecasts beyond H then have the quantiles of a gap in
        the place of what was forecast, and the layers do not read future covariates over the
        horizon: the linear skip alone does.
    least_scale
        Smallest standard deviation that a window is divided by, in the units of the series. Above
        zero, the forecast of a constant window can be another value: for counts, say.
    components
        Whether the components of a series are forecast each on its own, ``"independent"``, or each
        reads all others, ``"cross"``: see `network.source`. One component alone is forecast as
        without it.
    target_components
        With ``"cross"``, the names of the components, in the order in which they are read; empty
        with ``"independent"``.
    covariates
        Whether covariates are part of the tokens of the target, ``"features"``, or write a state
        that the target reads, ``"cross"``: see `network.covariates`. Without covariates both are
        the same network.

    Raises
    ------
    ValueError
        If a value is of another type or out of range, the head size does not divide the width, the
        layer string cannot be read, the outputs are neither locations and scales nor ascending
        probabilities, or components that are to read each other have no names or no layers. It
        names the argument.
    """

    input_chunk_length: int
    output_chunk_length: int
    _: KW_ONLY
    past_covariates: int = 0
    future_covariates: int = 0
    static_covariates: int = 0
    outputs: tuple[str | float, ...] = ("location",)
    layers: str | None = "rwkv7*1"
    width: int = 32
    head_size: int = 16
    patch_length: int = None  # type: ignore[assignment]  # __post_init__ puts a number there
    dropout: float = 0.1
    layers_rate: float = 1.0
    initial_state: str = "zero"
    streaming: bool = False
    skip_length: int | None = None
    squash: bool = False
    read_gaps: bool = False
    least_scale: float = 0.0
    components: str = "independent"
    target_components: tuple[str, ...] = ()
    covariates: str = "features"

    def __post_init__(self) -> None:
        """Check every value, and turn it into a plain one."""
        if self.patch_length is None:
            check_sizes(input_chunk_length=self.input_chunk_length)
            self._set(patch_length=default_patch_length(self.input_chunk_length))
        for name in _SIZES:
            self._set(**{name: plain_size(name, getattr(self, name), most=MOST)})
        for name in _COUNTS:
            self._set(**{name: plain_size(name, getattr(self, name), least=0, most=MOST)})
        for name, (holds, allowed) in _NUMBERS.items():
            self._set(**{name: plain_number(name, getattr(self, name), holds, allowed)})
        self._set(outputs=plain_outputs(self.outputs))
        for name in ("streaming", "squash", "read_gaps"):
            self._set(**{name: plain_flag(name, getattr(self, name))})
        if self.skip_length is not None:
            self._set(skip_length=plain_size("skip_length", self.skip_length, least=0))
            if self.skip_length > self.input_chunk_length:
                raise ValueError(
                    f"skip_length={self.skip_length} is longer than input_chunk_length="
                    f"{self.input_chunk_length}."
                )
        if "scale" in self.outputs and self.squash:
            raise ValueError("squash=True is for locations and quantiles, not for scales.")
        if self.patch_length > self.input_chunk_length:
            raise ValueError(
                f"patch_length={self.patch_length} is longer than input_chunk_length="
                f"{self.input_chunk_length}; it is the number of input steps per token. Use a "
                "smaller one, or None for the default."
            )
        if self.initial_state not in ("zero", "learned", "static"):
            raise ValueError(
                f"initial_state={self.initial_state!r} must be 'zero', 'learned', or 'static' for "
                "one made from static covariates."
            )
        if self.initial_state != "zero" and self.layers is None:
            raise ValueError(
                f"initial_state={self.initial_state!r} needs layers whose state it is; with "
                "layers=None use 'zero'."
            )
        if self.initial_state == "static" and not self.static_covariates:
            raise ValueError(
                "initial_state='static' needs static covariates to make the state from; give some, "
                "or use 'learned'."
            )
        self._set(target_components=plain_names("target_components", self.target_components))
        self._check_components()
        self._check_covariates()
        if self.layers is not None:
            check_layers(self.layers, width=self.width, head_size=self.head_size)

    def _check_components(self) -> None:
        if self.components not in ("independent", "cross"):
            raise ValueError(
                f"components={self.components!r} must be 'independent', or 'cross' for components "
                "that read each other."
            )
        crosses = self.components == "cross"
        if crosses != bool(self.target_components):
            raise ValueError(
                f"target_components={self.target_components!r} must be the names of the components "
                "with components='cross', and empty with 'independent'."
            )
        if crosses and self.layers is None:
            raise ValueError(
                "components='cross' needs layers, whose last tokens the components read of each "
                "other; with layers=None use 'independent'."
            )

    def _check_covariates(self) -> None:
        if self.covariates not in ("features", "cross"):
            raise ValueError(
                f"covariates={self.covariates!r} must be 'features' for covariates in the tokens "
                "of the target, or 'cross' for ones that write a state which the target reads."
            )
        if self.covariates == "cross" and self.layers is None:
            raise ValueError(
                "covariates='cross' needs layers, whose last token reads what covariates wrote; "
                "with layers=None use 'features'."
            )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def middle(self) -> int:
        """Which of the Q outputs is the point forecast: the location, or the median."""
        if "location" in self.outputs:
            return self.outputs.index("location")
        distances = [abs(float(output) - 0.5) for output in self.outputs]
        return distances.index(min(distances))

    @property
    def crosses(self) -> bool:
        """Whether components read each other, of which there are several then."""
        return len(self.target_components) > 1

    @property
    def crosses_covariates(self) -> bool:
        """Whether covariates write a state that the target reads, of which there are some then."""
        kinds = self.past_covariates, self.future_covariates, self.static_covariates
        return self.covariates == "cross" and any(kinds)

    @property
    def fitted_components(self) -> int | None:
        """How many components a series must have; None for any number."""
        return len(self.target_components) if self.crosses else None

    @property
    def skip_reach(self) -> int:
        """How many steps the linear skip reads."""
        if self.skip_length is None:
            return min(self.input_chunk_length, _LONGEST_SKIP)
        return self.skip_length

    @property
    def lengths(self) -> tuple[int, int]:
        """Fewest and most steps of a window."""
        whole = self.skip_length is None or self.past_covariates or self.future_covariates
        return self.input_chunk_length if whole else 1, self.input_chunk_length

    @property
    def prepared_for_streams(self) -> bool:
        """Whether training prepares for streams, or has nothing to prepare."""
        return self.streaming or self.layers is None

    def to_json(self) -> dict[str, Any]:
        """Return the arguments as JSON can hold them."""
        lists = {"outputs": list(self.outputs), "target_components": list(self.target_components)}
        return asdict(self) | lists

    def differences(
        self, other: NetworkConfig, *, ignored: Collection[str] = OF_TRAINING
    ) -> Iterator[tuple[str, tuple[Any, Any]]]:
        """Yield the arguments that differ, each with the values of both, own first."""
        for name in (x.name for x in fields(self) if x.name not in ignored):
            values = getattr(self, name), getattr(other, name)
            if values[0] != values[1]:
                yield name, values
