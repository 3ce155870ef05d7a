"""What the state of a network does over a history, in the units of a forecaster: steps.

Letters: n steps, C target components, P patch length, T tokens, D width, H heads, N head size.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..layers import Equilibrium, Mediums, Mixer, Perspectives, State, leaves
from ..network import RimerNetwork
from ..network.checks import check_input, check_not_infinite
from .mediums import MediumReader, medium_table
from .plot import QUANTILES, draw, norms_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnostics", "StateGrows", "diagnose"]

_Place: TypeAlias = tuple[Any, int]
"""A module, and which of several perspectives it is looked at from."""

_STEEPEST_BOUNDED = 0.75
_FEWEST_TOKENS = 64
"""A state grows without bound if its norm rises faster than the tokens to this power, over at least
as many tokens. Over 10 series and 20 networks of one or two layers, 64 to 1,024 tokens long, none
that was fresh did and at most one that was trained, while all whose decay and removal were switched
off did. Networks are sound that fill up for thousands of tokens, with powers of up to 0.7."""


class StateGrows(UserWarning):
    """The memory of a layer grows without bound over a history, or is not finite."""


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """What `diagnose` found; made by it and by ``RimerModel.diagnostics``.

    Layers are named as the layer string counts them, from 0; those inside an equilibrium by their
    path, such as ``"0.0"``, and those inside perspectives by layer, perspective and layer. A
    history shorter than one patch is no token yet: its tables are empty.

    Attributes
    ----------
    state_norms
        Frobenius norm of the layers' memory, which has no unit. Index: steps read at the end of
        each patch. Columns: component, layer and head.
    half_lives
        Steps after which a channel of the state has decayed to one half, if nothing is removed: its
        quantiles over tokens, channels and components. Columns: layer, head, 10 %, median, 90 %.
        Infinite where nothing decays.
    solvers
        How the last patch was solved by each equilibrium layer. Columns: layer; passes; residual,
        the largest over the components; share not converged.
    mediums
        What layers with ``retrospect`` remember of the segments before: one row for each medium
        that is kept, oldest first. Index: component, layer, first and last step of the segment,
        from 0. Columns: share, the weight with which the last token read it (the rest of 1 is for
        reading nothing); norm; and its channels, by number.
    share_padded
        Share of the look-back window, the last ``input_chunk_length`` steps, that lies before the
        history and is therefore padding, in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from rimer_forecaster import RimerNetwork
    >>> from rimer_forecaster.diagnostics import diagnose
    >>> network = RimerNetwork(input_chunk_length=96, output_chunk_length=24)
    >>> report = diagnose(network, torch.sin(torch.arange(960.0) / 4)[None, :, None])
    >>> report.state_norms.shape, len(report.table), report.share_padded
    ((60, 2), 2, 0.0)
    """

    state_norms: pd.DataFrame
    half_lives: pd.DataFrame
    solvers: pd.DataFrame
    mediums: pd.DataFrame
    share_padded: float

    @property
    def table(self) -> pd.DataFrame:
        """One row per layer and head: last and largest norm, growth exponent, half-lives in steps.

        Norms and exponent are the largest over the components. The growth exponent is the power of
        the number of tokens with which the norm rises, from the first eighth of the history on: 0
        once a state is full, about 0.5 for a random walk, 1 for plain accumulation. It is infinite
        for a norm that is not, and NaN below 64 tokens, which are too few to tell. All three are
        NaN where a memory is a mean of what was read, which cannot grow, as that of rwkv4.
        """
        exponents = _growth_exponents(self.state_norms)
        rows = []
        for half_life in self.half_lives.to_dict("records"):
            norms = norms_at(self.state_norms, half_life)
            place = half_life["layer"], half_life["head"]
            own = exponents[[column[1:] == place for column in exponents.index]]
            rows.append(
                {
                    "layer": half_life["layer"],
                    "head": half_life["head"],
                    "last norm": norms[-1].max() if norms.size else math.nan,
                    "largest norm": norms.max() if norms.size else math.nan,
                    "growth exponent": own.max(),
                    **{f"half-life {name}, steps": half_life[name] for name in QUANTILES},
                }
            )
        half_lives = [f"half-life {name}, steps" for name in QUANTILES]
        measures = ["last norm", "largest norm", "growth exponent"]
        return pd.DataFrame(rows, columns=["layer", "head", *measures, *half_lives])

    def plot(self, axes: Sequence[Any] | None = None) -> Figure:
        """Draw the state norms over the steps, and the half-lives of each layer and head.

        Parameters
        ----------
        axes
            Two matplotlib axes to draw on; a new figure if not given.

        Returns
        -------
        matplotlib.figure.Figure
            Left, the norm of each layer and head, for the component where it is largest; right,
            the range from 10 % to 90 % of its half-lives and their median.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the axes are not two.
        """
        return draw(self.state_norms, self.half_lives, axes)


def diagnose(
    network: RimerNetwork,
    past_target: Tensor,
    past_covariates: Tensor | None = None,
    future_covariates: Tensor | None = None,
    static_covariates: Tensor | None = None,
    *,
    components: Sequence[str] | None = None,
    stacklevel: int = 2,
) -> Diagnostics:
    """Read a history as a stream does, and report how the states of the layers fared.

    Parameters
    ----------
    network
        Its weights and its training flags stay as they are.
    past_target
        (1, n, C) with at least one step, in the units of the series, NaN where missing.
    past_covariates, future_covariates
        Of the same n steps, (1, n, ·).
    static_covariates
        (1, C or 1, ·).
    components
        Names of the C components; their numbers from 0 if not given.
    stacklevel
        Whose line a warning names; 2 is the caller's.

    Raises
    ------
    ValueError
        If an input has the wrong size or holds an infinite value.

    Warns
    -----
    StateGrows
        If a norm rises faster than the number of tokens to the power 0.75, over at least 64
        tokens, or is not finite.
    """
    if past_target.ndim != 3 or past_target.shape[0] != 1 or not past_target.shape[1]:
        raise ValueError(
            f"past_target has shape {tuple(past_target.shape)}; it must be (1, n, C) with at least "
            "one step. Call diagnose for each series."
        )
    n, C = past_target.shape[1:]
    names = list(range(C)) if components is None else list(components)
    if len(names) != C:
        raise ValueError(f"components has {len(names)} names, but past_target has {C} components.")
    check_input("past_covariates", past_covariates, network.config.past_covariates, (n, n))
    check_input("future_covariates", future_covariates, network.config.future_covariates, (n, n))
    check_input("static_covariates", static_covariates, network.config.static_covariates)
    check_not_infinite("past_target", past_target)
    check_not_infinite("past_covariates", past_covariates)
    check_not_infinite("future_covariates", future_covariates)
    if static_covariates is not None and not bool(static_covariates.isfinite().all()):
        raise ValueError("static_covariates hold values that are missing or infinite: fill them.")

    reader = network.reader
    P = n if reader is None else reader.patch_length
    modules = {} if reader is None else dict(reader.layers.named_modules())
    memory = () if reader is None else reader.layers.memory
    mixers = _places(modules, _forgets)
    equilibria = _places(modules, lambda module: isinstance(module, Equilibrium))
    mediums = _places(modules, lambda module: isinstance(module, Mediums))
    medium_readers = {
        place: MediumReader(layer, place[0], names) for layer, place in mediums.items()
    }
    steps: list[int] = []
    norms: list[np.ndarray] = []
    decays: dict[str, list[Tensor]] = {layer: [] for layer in mixers}
    with (
        torch.inference_mode(),
        _evaluation(network),
        _last_inputs([*mixers.values(), *equilibria.values(), *mediums.values()]) as read,
    ):
        state = network.init_state(1, C, static_covariates)
        fresh = _norms_of(state, memory)
        heads = [(layer, head) for layer, x in fresh.items() for head in range(x.shape[1])]
        for start in range(0, n, P):
            part = slice(start, min(start + P, n))
            past, future = (
                None if x is None else x[:, part] for x in (past_covariates, future_covariates)
            )
            state = network.update(state, past_target[:, part], past, future)
            if reader is None or part.stop < start + P:  # an unfinished patch is no token yet
                continue
            steps.append(part.stop)
            own = _norms_of(state, memory).values()
            norms.append(np.concatenate([np.empty((C, 0)), *own], 1).ravel())
            for layer, values in decays.items():
                decay = mixers[layer][0].log_decay(*read[mixers[layer]])
                if decay is not None:
                    values.append(decay.cpu())  # (C, 1, H, N)
            for place, reader_of_mediums in medium_readers.items():
                reader_of_mediums.read(part.stop, read[place])
    columns = pd.MultiIndex.from_tuples(
        [(name, *head) for name in names for head in heads], names=["component", "layer", "head"]
    )
    state_norms = pd.DataFrame(
        np.array(norms, dtype=float).reshape(len(steps), len(columns)),
        index=pd.Index(steps, name="steps read", dtype="int64"),
        columns=columns,
    )
    half_lives = [
        {"layer": layer, "head": head, **quantiles}
        for layer, values in decays.items()
        if values
        for head, quantiles in _half_lives(torch.cat(values, 1), P)
    ]
    solvers = [
        {
            "layer": layer,
            "passes": report.iterations,
            "residual": float(report.residual.max()),
            "share not converged": report.share_not_converged,
        }
        for layer, place in equilibria.items()
        if place in read and (report := place[0].report) is not None
    ]
    growth = _growth_message(state_norms, network.config.input_chunk_length)
    if growth is not None:
        warnings.warn(growth, StateGrows, stacklevel=stacklevel)
    return Diagnostics(
        state_norms,
        pd.DataFrame(half_lives, columns=["layer", "head", *QUANTILES]),
        pd.DataFrame(solvers, columns=["layer", "passes", "residual", "share not converged"]),
        medium_table(medium_readers.values(), P),
        max(0.0, 1 - n / network.config.input_chunk_length),
    )


@contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; every module's own flag comes back."""
    flags = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


def _forgets(module: nn.Module) -> bool:
    """Whether a module is a layer that says how its own memory decays."""
    return isinstance(module, Mixer) and type(module).log_decay is not Mixer.log_decay


def _places(modules: Mapping[str, nn.Module], wanted: Callable[[Any], bool]) -> dict[str, _Place]:
    """Return where the wanted modules stand, by the name of the layer."""
    outer = {f"{x}.": len(m.lags) for x, m in modules.items() if isinstance(m, Perspectives)}
    places: dict[str, _Place] = {}
    for path, module in modules.items():
        if not wanted(module):
            continue
        around = next((x for x in outer if path.startswith(x)), "")
        within = path.removeprefix(around)
        for i in range(outer.get(around, 1)):
            places[_layer_of(f"{around}{i}.{within}" if around else path)] = module, i
    return places


@contextmanager
def _last_inputs(places: Iterable[_Place]) -> Iterator[dict[_Place, Any]]:
    """Give what each module was last called with: of an equilibrium's passes, the solution."""
    last: dict[_Place, Any] = {}

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        last[module, inputs[2].perspective] = inputs

    handles = [m.register_forward_hook(hook) for m in {module for module, _ in places}]
    try:
        yield last
    finally:
        for handle in handles:
            handle.remove()


def _layer_of(path: str) -> str:
    """``"layers.0.layers.layers.1.token_mixer"`` or ``"layers/0/1/..."`` -> ``"0.1"``."""
    return ".".join(part for part in re.split("[./]", path) if part.isdigit())


def _norms_of(state: State, memory: Sequence[str]) -> dict[str, np.ndarray]:
    """Norms of the memories in a state of the network by layer, (C, H) each."""
    layers = dict(leaves(state["reader"]["layers"])) if memory else {}
    # float64, because the square of a large float32 overflows.
    return {
        _layer_of(path): layers[path].cpu().double().flatten(2).norm(dim=2).numpy()
        for path in memory
    }


def _half_lives(decay: Tensor, patch_length: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Quantiles of each head's half-life in steps, from log decays, (C, T, H, N)."""
    levels = list(QUANTILES.values())
    for head, own in enumerate(decay.unbind(-2)):  # (C, T, N)
        # Of the log decay, which is finite where a half-life is not and has the same order.
        quantiles = np.quantile(own.numpy(), levels)
        with np.errstate(divide="ignore"):
            half_lives = patch_length * math.log(2) / np.abs(quantiles)  # a zero has either sign
        yield head, dict(zip(QUANTILES, half_lives.tolist(), strict=True))


def _growth_exponents(state_norms: pd.DataFrame) -> pd.Series:
    """Growth exponent of every column, see `Diagnostics.table`."""
    exponents = [_growth_exponent(norms) for norms in state_norms.to_numpy().T]
    return pd.Series(exponents, index=state_norms.columns, dtype=float)


def _growth_exponent(norms: np.ndarray) -> float:
    if not np.isfinite(norms).all():
        return math.inf
    norms = np.trim_zeros(norms, "f")  # a series that is constant at first leaves no trace
    if len(norms) < _FEWEST_TOKENS:
        return math.nan
    first = len(norms) // 8
    tokens = np.arange(1, len(norms) + 1)
    sizes = np.maximum(norms, np.finfo(float).tiny)
    return float(np.polyfit(np.log(tokens[first:]), np.log(sizes[first:]), 1)[0])


def _growth_message(state_norms: pd.DataFrame, input_chunk_length: int) -> str | None:
    """Return what `StateGrows` says, or None."""
    exponents = _growth_exponents(state_norms)
    growing = exponents[exponents > _STEEPEST_BOUNDED]
    if growing.empty:
        return None
    worst: Any = growing.idxmax()
    component, layer, head = worst
    norms = state_norms[component, layer, head]
    exponent = growing.max()
    what, do = ("is not finite", "are") if math.isinf(exponent) else ("grows without bound", "do")
    others = growing.groupby(level=["layer", "head"]).ngroups - 1
    too = f", as {do} those of {others} other heads" if others else ""
    first = len(norms) // 8
    return (
        f"the memory of layer {layer}, head {head} {what}{too}: for component {component} its "
        f"norm was {norms.iloc[first]:.3g} after {norms.index[first]} steps and is "
        f"{norms.iloc[-1]:.3g} after {norms.index[-1]} (growth exponent {exponent:.2f}; of a "
        "bounded state it is near 0). A stream over such a history leaves what the layers were "
        "trained on. Begin streams from the end of the history, for example its last "
        f"input_chunk_length={input_chunk_length} steps, and anew from time to time; or fit again "
        "with a longer input_chunk_length or a lower learning rate."
    )
