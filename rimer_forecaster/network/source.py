"""Components that see each other: each writes a state which the others read.

Source: the cross-variable scans of S-Mamba, Wang and others (2024), arXiv:2403.11144, by RWKV-7;
that one writes the state and another reads it is CrossWKV, Xiao, Li and Lin (2025),
arXiv:2504.14260.

Letters: B windows, C target components, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import Pass, build_layers
from .config import NetworkConfig

__all__ = ["CrossComponents", "places_of"]


class CrossComponents(nn.Module):
    """Lets the head token of every component read those of all others.

    A layer of RWKV-7 goes through the components from the first to the last, and from the last to
    the first: what one has written, those after it read. Before it, a vector is added to a token
    that says which component it is of, and which way the layer goes. What the layer adds both ways
    is added to the token; that is zero at the start, bit for bit. Time grows in proportion to C.

    Parameters
    ----------
    config
        Of the network; it has at least two components and layers.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.vectors = nn.Parameter(torch.empty(2, len(config.target_components), width))
        self.layers = build_layers(
            "rwkv7", width=width, head_size=config.head_size, dropout=config.dropout
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the layer starts as one that adds nothing."""
        bound = self.vectors.shape[-1] ** -0.5
        nn.init.uniform_(self.vectors, -bound, bound, generator=generator)
        self.layers.reset_parameters(generator)

    def forward(self, last: Tensor, mask: Tensor | None, places: Tensor | None) -> Tensor:
        """Add to head tokens what the others say.

        Parameters
        ----------
        last
            What the layers made of the last token of each component, (B, C, D).
        mask
            False where a component has no value in its window, (B, C); None if all have one. It is
            as if such a component were not there: no other reads it, and its own token stays as it
            is.
        places
            Which of the fitted components each is, (B, C), every one once; None where they are in
            that order, in which they are read.

        Returns
        -------
        Tensor
            (B, C, D).
        """
        if places is None:
            return last + self._update(last, mask)
        order = places.argsort(1)  # of the component at each place
        mask = None if mask is None else mask.gather(1, order)
        update = self._update(last.gather(1, order[..., None].expand_as(last)), mask)
        return last + update.gather(1, places[..., None].expand_as(last))

    def _update(self, last: Tensor, mask: Tensor | None) -> Tensor:
        """What others say to each component, in the order of fitting, (B, C, D)."""
        tokens = torch.cat((last + self.vectors[0], (last + self.vectors[1]).flip(1)))  # (2B, C, D)
        both = None if mask is None else torch.cat((mask, mask.flip(1)))
        y, _ = self.layers(tokens, None, Pass(both))
        onward, back = (y - tokens).chunk(2)
        update = onward + back.flip(1)
        return update if mask is None else update.where(mask[..., None], 0.0)


def places_of(known: Sequence[str], given: Sequence[Sequence[str]]) -> Tensor | None:
    """Return which of the fitted components those of each series are, (B, C).

    Parameters
    ----------
    known
        Names of the components that a network was fitted with, in its order.
    given
        Those of each series.

    Returns
    -------
    Tensor or None
        None where all are in the order of fitting, or there is one component alone, whatever it is
        called.

    Raises
    ------
    ValueError
        If the components of a series are others.
    """
    names = tuple(known)
    alone = all(len(one) == 1 for one in (names, *given))
    if alone or all(tuple(one) == names for one in given):
        return None
    place = {name: i for i, name in enumerate(names)}
    for i, one in enumerate(given):
        if sorted(one) != sorted(names):
            raise ValueError(
                f"series {i} has components {list(one)}, but with components='cross' they are "
                f"matched by name, and the model was fitted with {list(names)}. Give the same ones "
                "in any order, NaN where one is missing, or fit with components='independent'."
            )
    return torch.tensor([[place[name] for name in one] for one in given])
