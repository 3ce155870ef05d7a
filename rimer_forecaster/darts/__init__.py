"""The network as darts models, and their live feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import RimerModel
from .stream import RimerStream

if TYPE_CHECKING:
    from .zero import RimerZeroModel

__all__ = ["RimerModel", "RimerStream", "RimerZeroModel"]


def __getattr__(name: str) -> Any:
    # darts' foundation models import huggingface_hub, which the others do without.
    if name != "RimerZeroModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .zero import RimerZeroModel

    return RimerZeroModel
