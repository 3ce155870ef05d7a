"""What the state of a network does on a history."""

from .report import Diagnostics, StateGrows, diagnose, mape_remark

__all__ = ["Diagnostics", "StateGrows", "diagnose", "mape_remark"]
