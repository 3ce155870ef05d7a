"""Streams of a whole panel, carried on and forecast in as few batches as can be.

Streams share a batch if their layers stand at the same place of a patch; then one call of the
network does for all of them.

Letters: B streams, n new steps, C target components, p covariates, Q outputs per value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers import State, from_leaves, leaves
from ..network import RimerNetwork

__all__ = ["StreamBank"]

Key = TypeVar("Key", bound=Hashable)


class _Batch(NamedTuple, Generic[Key]):
    """Streams at the same place of a patch; the state holds them in this order."""

    keys: tuple[Key, ...]
    state: State


class StreamBank(Generic[Key]):
    """The states of any number of named streams of one network; it stays as it is.

    Attributes
    ----------
    n_batches
        Number of calls of the network that a forecast of all streams takes.
    """

    def __init__(self, batches: Sequence[_Batch[Key]] = ()) -> None:
        self._batches = tuple(batches)

    @property
    def n_batches(self) -> int:
        """Number of calls of the network that a forecast of all streams takes."""
        return len(self._batches)

    @torch.no_grad()
    def begun(
        self,
        network: RimerNetwork,
        histories: Mapping[Key, Tensor],
        covariates: Mapping[Key, Tensor] | None = None,
        start: Callable[[Sequence[Key]], State | None] | None = None,
    ) -> StreamBank[Key]:
        """Return a bank in which streams begin with their histories, or begin anew.

        Parameters
        ----------
        network
            The network that all streams are read by.
        histories
            A tensor (n, C) per stream, NaN where missing.
        covariates
            A tensor (n, p) per stream, if the network reads any.
        start
            Gives what some of the streams begin from; None for nothing.
        """
        batches = []
        for batch in self._batches:
            kept = [row for row, key in enumerate(batch.keys) if key not in histories]
            if kept:
                batches.append(_select(batch, kept))
        P = network.config.patch_length if network.reader is not None else 1
        alike: dict[tuple[int, int], list[Key]] = {}
        for key, history in histories.items():
            # Whole patches of padding leave a state alone; half of a batch at most is padding.
            n = len(history)
            alike.setdefault((n % P, n.bit_length()), []).append(key)
        for keys in alike.values():
            length = max(len(histories[key]) for key in keys)
            target = torch.stack([_padded(histories[key], length) for key in keys])
            known = None
            if covariates is not None:
                known = torch.stack([_padded(covariates[key], length) for key in keys])
            memory = None if start is None else start(keys)
            state = network.init_state(len(target), target.shape[2], start=memory)
            state = network.update(state, target, future_covariates=known)
            batches.append(_Batch(tuple(keys), state))
        return StreamBank(_merged(batches, network))

    @torch.no_grad()
    def updated(
        self,
        network: RimerNetwork,
        new: Mapping[Key, Tensor],
        covariates: Mapping[Key, Tensor] | None = None,
    ) -> StreamBank[Key]:
        """Return a bank in which some of the streams are carried on, the others as they are.

        Parameters
        ----------
        network, covariates
            See `begun`.
        new
            A tensor (n, C) per stream, of any number of steps n >= 1.
        """
        batches = []
        for batch in self._batches:
            by_length: dict[int, list[int]] = {}
            for row, key in enumerate(batch.keys):
                by_length.setdefault(len(new[key]) if key in new else 0, []).append(row)
            for n, own in by_length.items():
                part = _select(batch, own)
                if n:
                    target = torch.stack([new[key] for key in part.keys])
                    known = None
                    if covariates is not None:
                        known = torch.stack([covariates[key] for key in part.keys])
                    state = network.update(part.state, target, future_covariates=known)
                    part = part._replace(state=state)
                batches.append(part)
        return StreamBank(_merged(batches, network))

    @torch.inference_mode()
    def forecast(
        self,
        network: RimerNetwork,
        steps: int,
        covariates: Mapping[Key, Tensor] | None = None,
    ) -> dict[Key, Tensor]:
        """Forecast all streams.

        Parameters
        ----------
        network
            See `begun`.
        steps
            How many.
        covariates
            Of these steps, a tensor (steps, p) per stream, if the network reads any.

        Returns
        -------
        dict
            A tensor (steps, C, Q) per stream.
        """
        outputs: dict[Key, Tensor] = {}
        for keys, state in self._batches:
            known = None
            if covariates is not None:
                known = torch.stack([covariates[key] for key in keys])
            output = network.forecast(state, steps, future_covariates=known)
            outputs.update(zip(keys, output, strict=True))
        return outputs


def _merged(batches: Iterable[_Batch[Key]], network: RimerNetwork) -> list[_Batch[Key]]:
    """Join the batches that one call of the network can do for."""
    P = network.config.patch_length if network.reader is not None else 1
    alike: dict[object, list[_Batch[Key]]] = {}
    for batch in batches:
        place = int(batch.state["steps"]) % P
        shapes = tuple((path, leaf.shape[1:]) for path, leaf in leaves(batch.state))
        alike.setdefault((place, shapes), []).append(batch)
    return [_joined(same) for same in alike.values()]


def _padded(x: Tensor, length: int) -> Tensor:
    """Fill up with missing values before the first one."""
    return F.pad(x, (0, 0, length - len(x), 0), value=float("nan"))


def _select(batch: _Batch[Key], rows: Sequence[int]) -> _Batch[Key]:
    """Some streams of a batch."""
    B = len(batch.keys)
    if len(rows) == B:
        return batch
    index = torch.tensor(rows)
    chosen = {
        # The reader has a row for every component of every stream, the clock one for all.
        path: leaf.unflatten(0, (B, -1))[index].flatten(0, 1) if leaf.ndim else leaf
        for path, leaf in leaves(batch.state)
    }
    return _Batch(tuple(batch.keys[row] for row in rows), from_leaves(chosen))


def _joined(batches: Sequence[_Batch[Key]]) -> _Batch[Key]:
    if len(batches) == 1:
        return batches[0]
    joined = {}
    for same in zip(*(leaves(batch.state) for batch in batches), strict=True):
        tensors = [leaf for _, leaf in same]
        # Only the place in a patch is read from the clock.
        joined[same[0][0]] = torch.cat(tensors) if tensors[0].ndim else max(tensors)
    return _Batch(tuple(key for batch in batches for key in batch.keys), from_leaves(joined))
