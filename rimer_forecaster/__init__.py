"""RWKV-7 forecasting models for darts and sktime.

Names are imported on first use: importing the package imports neither darts, sktime, Lightning
nor Triton, and `RimerForecaster` never imports darts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .darts import RimerModel, RimerZeroModel
    from .network import RimerNetwork
    from .sktime import RimerForecaster

__all__ = ["RimerForecaster", "RimerModel", "RimerNetwork", "RimerZeroModel", "__version__"]

# name: (module, the extra that brings what the module imports)
_ROOMS = {
    "RimerForecaster": ("sktime", "sktime"),
    "RimerModel": ("darts", "darts"),
    "RimerNetwork": ("network", None),
    "RimerZeroModel": ("darts", "darts"),
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _ROOMS[name]
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if extra is None and (error.name or "").partition(".")[0] != __name__:
            raise
        raise missing_package(error, name, extra) from error


def missing_package(error: ModuleNotFoundError, name: str, extra: str | None) -> ImportError:
    """Return an error that says what to install for a name."""
    missing = (error.name or "").partition(".")[0]
    if missing == __name__:
        return ImportError(
            f"{error.name} is not here: this is a checkout, where it lies in another folder. "
            "Install the checkout with: python -m pip install -e ."
        )
    return ImportError(
        f"{name} needs the package {missing!r}, which is not installed. "
        f"Install it with: pip install 'rimer-forecaster[{extra}]'"
    )


def __dir__() -> list[str]:
    return sorted(__all__)
