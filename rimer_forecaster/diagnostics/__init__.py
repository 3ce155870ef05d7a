"""What the state of a network does on a history, and what percentage errors are worth."""

from .percentages import mape_remark
from .report import Diagnostics, StateGrows, diagnose

__all__ = ["Diagnostics", "StateGrows", "diagnose", "mape_remark"]
