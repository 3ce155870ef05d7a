"""Initial states that were learnt for series, apart from the weights: a few kilobytes each.

Letters: G groups, B series, H heads, N channels of a head, r rank, M kernels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import State, from_leaves, leaves
from ..layers.parts.kernel_read import KERNELS, SUPPORTS
from ..network.state import fingerprint, read_tensors, write_tensors

__all__ = ["AdaptedState", "beside", "names_of"]

_FORMAT = "adapted state 1"


@dataclass(frozen=True)
class AdaptedState:
    """What the layers of one network start from, a row for every series or group of series.

    It is made by ``adapt`` and taken by ``predict``. It belongs to the weights that it was learnt
    with, bit for bit; another network is refused.

    Attributes
    ----------
    names
        Of the G rows: the groups that were given, or the numbers of the series.
    kept
        For each row, whether what was learnt forecast held back values better than no state. Where
        it did not, the row is zero, and forecasts are those without a state, bit for bit.
    network
        Fingerprint of the weights.
    tensors
        By the path of a layer's memory, (G, H, N, N); of a low rank instead its two factors, paths
        that end with ``:left``, (G, H, N, r), and ``:right``, (G, H, r, N). Kernels beside it are
        ``:kernels``, (G, H, N, M), and ``:supports``, (1, H, M, N), which all rows share.

    Examples
    --------
    >>> import numpy as np
    >>> from darts import TimeSeries
    >>> from rimer_forecaster import RimerZeroModel
    >>> from rimer_forecaster.lifecycle import AdaptedState
    >>> series = TimeSeries.from_values(np.sin(np.arange(300, dtype=np.float32) / 4))
    >>> silent = {"enable_progress_bar": False, "enable_model_summary": False}
    >>> model = RimerZeroModel((8, 1024), 24, pl_trainer_kwargs=silent).fit(series)
    >>> state = model.adapt(series, steps=5)
    >>> len(model.predict(24, state=state))
    24
    """

    names: tuple[str, ...]
    kept: tuple[bool, ...]
    network: str
    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:3]) + (", ..." if len(self) > 3 else "")
        return (
            f"{type(self).__name__}({len(self)} states ({shown}), {sum(self.kept)} of them kept, "
            f"{self.n_bytes / max(1, len(self)) / 1024:.1f} kilobytes each)"
        )

    @property
    def n_bytes(self) -> int:
        """Size of the tensors."""
        return sum(x.nbytes for x in self.tensors.values())

    def of(self, names: Sequence[object]) -> AdaptedState:
        """Return the rows of these names in this order, for as many series; zeros for None.

        Raises
        ------
        ValueError
            If there is none of a name.
        """
        places = {name: i for i, name in enumerate(self.names)}
        wanted = [None if name is None else str(name) for name in names]
        for name in wanted:
            if name is not None and name not in places:
                first = ", ".join(map(repr, self.names[:10]))
                raise ValueError(f"the state has no row {name!r}; it has {first}.")
        rows = torch.tensor([0 if name is None else places[name] for name in wanted])
        known = torch.tensor([name is not None for name in wanted]).view(-1, 1, 1, 1)
        return replace(
            self,
            names=tuple("" if name is None else name for name in wanted),
            kept=tuple(name is not None and self.kept[places[name]] for name in wanted),
            tensors={
                path: own if path.endswith(SUPPORTS) else own[rows].where(known, 0.0)
                for path, own in self.tensors.items()
            },
        )

    def check(self, network: nn.Module) -> None:
        """Raise a ValueError if a network has other weights than those it was learnt with."""
        if fingerprint(network) != self.network:
            raise ValueError(
                "state belongs to another network: its weights are not those that it was learnt "
                "with, or are in another precision. Call adapt of this model."
            )

    def start(self, count: int, network: nn.Module) -> State | None:
        """Return what a network starts from for a number of series, see `RimerNetwork.forward`.

        Parameters
        ----------
        count
            B. One row serves all series; several rows are for as many series, in their order.
        network
            Whose layers start from it.

        Returns
        -------
        State or None
            (B, H, N, N) by path; None if all rows are zero.

        Raises
        ------
        ValueError
            If the network has other weights, or the number of rows does not fit.
        """
        self.check(network)
        start = self.rows(count)
        if start is None:
            return None
        device = next(network.parameters()).device
        return from_leaves({path: x.to(device) for path, x in leaves(start)})

    def rows(self, count: int) -> State | None:
        """Return what `start` does for some network of these weights, on the CPU."""
        if len(self) not in (1, count):
            raise ValueError(
                f"state has {len(self)} rows, but there are {count} series: it must have one row, "
                "or one for each of them, in their order. state.of(names) selects rows."
            )
        if not any(self.kept):
            return None
        held = self.memory()
        for path in list(held):
            if f"{path}:{KERNELS}" in self.tensors:
                held |= beside(path, *(self.tensors[f"{path}:{x}"] for x in (KERNELS, SUPPORTS)))
        return from_leaves({path: x.expand(count, *x.shape[1:]) for path, x in held.items()})

    def memory(self) -> dict[str, Tensor]:
        """Return the initial states as matrices, (G, H, N, N) by path."""
        found = {path: x for path, x in self.tensors.items() if ":" not in path}
        for path, left in self.tensors.items():
            layer, _, side = path.partition(":")
            if side == "left":
                found[layer] = left @ self.tensors[f"{layer}:right"]
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write one file of safetensors, whose head says in JSON what they belong to.

        Raises
        ------
        ValueError
            If the path does not end with ``.safetensors``.
        OSError
            If the file cannot be written; one that was there before is then as it was.
        """
        if not fspath(path).endswith(".safetensors"):
            raise ValueError(f"path={fspath(path)!r} must end with .safetensors.")
        head = {
            "format": _FORMAT,
            "network": self.network,
            "names": json.dumps(self.names),
            "kept": json.dumps(self.kept),
        }
        write_tensors(path, dict(self.tensors), head)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> AdaptedState:
        """Read what `save` wrote. Which network it belongs to shows when it is used.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, or holds something else.
        """
        tensors, head = read_tensors(path)
        if head.get("format") != _FORMAT:
            raise ValueError(
                f"{fspath(path)!r} holds no adapted state, but {head.get('format', 'the state')!r} "
                "of another kind. AdaptedState.save writes such files."
            )
        names, kept = json.loads(head["names"]), json.loads(head["kept"])
        return cls(tuple(names), tuple(kept), head["network"], tensors)


def beside(path: str, kernels: Tensor, supports: Tensor) -> dict[str, Tensor]:
    """Return the leaves of kernels beside a memory, by path; (B, H, N, M) and (B, H, M, N)."""
    parent = path.rpartition("/")[0]
    supports = supports.expand(len(kernels), *supports.shape[1:])
    return {f"{parent}/{KERNELS}": kernels, f"{parent}/{SUPPORTS}": supports}


def names_of(things: Iterable[Any], name: Callable[[Any], str] = str) -> list[str]:
    """Return the name of each; raise a ValueError where two that differ would have the same."""
    first: dict[str, Any] = {}
    names = []
    for thing in things:
        names.append(name(thing))
        before = first.setdefault(names[-1], thing)
        if before != thing:
            raise ValueError(
                f"{before!r} and {thing!r} would both be named {names[-1]!r}, and share a state: "
                "rename one of them."
            )
    return names
