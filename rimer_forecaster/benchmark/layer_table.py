"""The layers that a layer string can name, as a table: whose, how large a state, at what cost."""

from __future__ import annotations

import pandas as pd

from ..layers import LAYERS, Variant, state_size

__all__ = ["layer_table"]


def layer_table(*, width: int = 32, head_size: int = 16) -> pd.DataFrame:
    """Return what is known of every registered layer, one row per way to use it.

    Parameters
    ----------
    width, head_size
        D and N of the layers, on which the bytes depend; those of `RimerModel` by default.

    Returns
    -------
    pandas.DataFrame
        By layer string: paper; bytes of the state of one stream, in float32; the bytes that each
        token adds to it; cost in T tokens; and whether a stream costs the same for ever.

    Examples
    --------
    >>> from rimer_forecaster.benchmark import layer_table
    >>> int(layer_table().loc["rwkv4", "state, bytes"])
    640
    """
    rows = {}
    for name, kind in sorted(LAYERS.items()):
        plain = f"{name}(rwkv7)" if kind.made_of_layers else name
        for variant in kind.variants or (Variant(plain, "", ""),):
            fixed, per_token = state_size(variant.layers, width=width, head_size=head_size)
            rows[variant.layers] = {
                "paper": variant.paper,
                "state, bytes": fixed,
                "per token": per_token,
                "cost": variant.cost,
                "streams": "grows" if per_token else "yes",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")
