"""The forecasting network that darts and sktime models share: tensors in, tensors out.

A window is scaled by its own mean and standard deviation, cut into patches, one token each, and
read by the layers, every component on its own. A linear head turns the last token into the whole
horizon, on top of linear skips: one from the target's window to the horizon, and one filter over
the lags of the covariates. Head and skips start at zero and learn side by side, the layers what
the skips leave over.

A forecast is made from a window, or from the state of a stream, which is carried from one
observation to the next (`streams`). Both are one computation: a stream is a window whose layers
remember what came before.

Letters: B windows, L input steps, H output steps, C target components, n covariates, Q output
parameters per value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..layers import Mixer, RandomModule, State, rows_of
from ..layers.parts.compressed import assign_weight
from .checks import check_input
from .compressed import follow_weights
from .config import NetworkConfig
from .linear_skip import LinearSkip
from .reader import PatchReader
from .scale import scaled_softplus_input
from .streams import StreamedNetwork
from .window import Window

__all__ = ["RimerNetwork"]

_MOST_VALUES = 2**22
"""Values of windows that are read at once; bounds memory."""

_MOST_WEIGHTS = 2**30
"""Most weights of a network, 4 GiB in single precision: its sizes may come from a file."""


class RimerNetwork(StreamedNetwork):
    """RWKV-7 over the patches of a window, with linear skips and a direct multi-step head.

    Parameters
    ----------
    input_chunk_length, output_chunk_length
        L and H, in steps.
    generator
        Source of the initial weights; the process's own generator if None.
    dtype
        Of the weights; torch's default if None.
    **arguments
        Further arguments of `NetworkConfig`, which checks all of them.

    Attributes
    ----------
    config : NetworkConfig
        What the network was built from.

    Raises
    ------
    ValueError
        If an argument is out of range, or there would be more than 2**30 weights.

    Examples
    --------
    >>> import torch
    >>> from rimer_forecaster import RimerNetwork
    >>> network = RimerNetwork(input_chunk_length=96, output_chunk_length=24)
    >>> network(torch.randn(8, 96, 3)).shape
    torch.Size([8, 24, 3, 1])
    """

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        self.config = config = NetworkConfig(input_chunk_length, output_chunk_length, **arguments)
        # Modules are built without storage, which draws nothing from the process's generator.
        with torch.device("meta"):
            self.skip = LinearSkip(config)
            self.reader = None if config.layers is None else PatchReader(config)
            if dtype is not None:
                self.to(dtype)
        _check_count(self.parameters(), config)
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            follow_weights
        )
        # Once: to walk through all modules at every step of training would cost 1 % of it.
        self._mixers = [module for module in self.modules() if isinstance(module, Mixer)]
        device = torch.get_default_device()
        # As `to_empty` does, whose copies of meta tensors import sympy: most of a second.
        self._apply(  # type: ignore[no-untyped-call]
            lambda x: torch.empty(x.shape, dtype=x.dtype, device=device)
        )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the first forecast is the normal distribution of a window."""
        self.skip.reset_parameters()
        if self.reader is not None:
            self.reader.reset_parameters(generator)

    def forward(
        self,
        past_target: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        static_covariates: Tensor | None = None,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        start: State | None = None,
    ) -> Tensor:
        """Forecast the H steps after each window.

        NaN is a missing value. In the target it changes nothing but by its absence, as left padding
        does. A missing covariate is taken at its last value in the window; before its first one it
        contributes nothing.

        Parameters
        ----------
        past_target
            (B, L, C), in the units of the series; fewer steps where the skip reads only some.
        past_covariates
            (B, L, n).
        future_covariates
            (B, L + H, n): the window, then the horizon, whose end may be left out.
        static_covariates
            (B, C, n), or (B, 1, n) where all components share them.
        mask
            False where target values are not to be read although they are there, (B, L, C).
        places
            For components that read each other, which of `target_components` each one is, (B, C);
            None where they are in that order. See `places_of`.
        start
            Memory that the layers start from, such as `rimer_forecaster.lifecycle` learns: a state
            whose leaves, (B, ...), are those of the layers' ``memory``. None or zeros start from
            nothing.

        Returns
        -------
        Tensor
            (B, H, C, Q), see `outputs` of `NetworkConfig`.

        Raises
        ------
        ValueError
            If an input has another number of steps or components than the network was built for.
        """
        L = past_target.shape[1]
        reach = L, L + self.config.output_chunk_length
        check_input("future_covariates", future_covariates, self.config.future_covariates, reach)
        known = coming = None
        if future_covariates is not None:
            known, coming = future_covariates.tensor_split([L], 1)
        window = self.window(
            past_target, past_covariates, known, static_covariates, mask, places, start
        )
        return self._forecast_next(window, coming)

    def _forecast(self, window: Window, unfinished: bool, remembered: State | None) -> Tensor:
        forecast = self.skip(window)  # (B, C, H, Q), in units of the window
        if self.reader is not None:
            learnt = self.reader(window, remembered, unfinished)  # (B, C, H * Q)
            forecast = forecast + learnt.view_as(forecast)
        if self.config.squash:
            forecast = torch.sinh(forecast)
        outputs = window.to_units(forecast)
        if "scale" in self.config.outputs:
            scales = scaled_softplus_input(forecast, window.scale[..., None])
            outputs = torch.where(self.skip.is_location, outputs, scales)
        elif self.config.outputs[0] != "location":
            # Sorting crossed quantiles never raises the quantile loss (Chernozhukov et al. 2010,
            # "Quantile and Probability Curves Without Crossing").
            outputs = outputs.sort(-1).values
        return outputs.transpose(1, 2)

    @torch.inference_mode()
    def forecast_windows(
        self,
        past_target: Tensor,
        steps: int,
        future_covariates: Tensor | None = None,
        start: State | None = None,
        feeds_back: Tensor | None = None,
    ) -> Tensor:
        """Forecast any number of steps after windows, of which only some are read at once.

        Parameters
        ----------
        past_target
            (B, L, C), NaN where missing.
        steps
            How many; see `forecast`.
        future_covariates
            (B, L + steps, n): the windows, then these steps.
        start
            See `forward`.
        feeds_back
            See `forecast`, (B, C).

        Returns
        -------
        Tensor
            (B, steps, C, Q).
        """
        L, parts = past_target.shape[1], []
        at_once = max(1, _MOST_VALUES // past_target[0].numel())
        for rows in torch.arange(len(past_target)).split(at_once):
            known = coming = None
            if future_covariates is not None:
                known, coming = future_covariates[rows].tensor_split([L], 1)
            own = None if start is None else rows_of(start, rows)
            window = self.window(past_target[rows], future_covariates=known, start=own)
            fed = None if feeds_back is None else feeds_back[rows]
            parts.append(self.forecast(window, steps, coming, fed))
        return torch.cat(parts)

    @torch.no_grad()
    def widen_quantiles(self, factor: float) -> None:
        """Move all quantiles away from the median by a factor, in all forecasts to come.

        The median stays. Where the network squashes, factors are of squashed values.
        """
        H, middle = self.config.output_chunk_length, self.config.middle

        def widened(x: Tensor, steps: int = H) -> Tensor:
            outputs = x.clone().view(steps, -1, *x.shape[1:])  # (H or 1, Q, ...)
            median = outputs[:, middle : middle + 1].clone()
            return outputs.sub_(median).mul_(factor).add_(median).view_as(x)

        self.skip.offset.copy_(widened(self.skip.offset))
        if self.reader is not None:
            assign_weight(self.reader.head, widened(self.reader.head.weight))
            if self.reader.covariates is not None:
                shared = self.reader.covariates.head  # by all steps
                assign_weight(shared, widened(shared.weight, 1))

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Let training draw from this generator instead of the process's own; None undoes it."""
        for module in self.modules():
            if isinstance(module, RandomModule):
                module.generator = generator

    @contextmanager
    def in_training(self, generator: torch.Generator | None) -> Iterator[None]:
        """Be in training mode, and draw from a generator; see `draw_from`.

        Afterwards, also after an error, the mode is that of evaluation.
        """
        self.draw_from(generator)
        self.train()
        try:
            yield
        finally:
            self.draw_from(None)
            self.eval()

    def penalty(self) -> Tensor | float:
        """Return, once, what the layers want added to the loss of the last training pass."""
        total: Tensor | float = 0.0
        for mixer in self._mixers:
            if mixer.penalty is not None:
                total, mixer.penalty = total + mixer.penalty, None
        return total


def _check_count(parameters: Iterable[Tensor], config: NetworkConfig) -> None:
    """Raise a ValueError that names the sizes if there are too many weights."""
    count = sum(x.numel() for x in parameters)
    if count > _MOST_WEIGHTS:
        raise ValueError(
            f"a network of input_chunk_length={config.input_chunk_length}, output_chunk_length="
            f"{config.output_chunk_length}, width={config.width}, layers={config.layers!r}, "
            f"{len(config.outputs)} outputs (quantiles) and {config.past_covariates} past, "
            f"{config.future_covariates} future and {config.static_covariates} static covariates "
            f"has {count:,} weights. There can be {_MOST_WEIGHTS:,} at most: make it smaller."
        )
