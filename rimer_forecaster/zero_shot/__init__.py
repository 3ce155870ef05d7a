"""Weights that forecast series never seen, and how they are trained and judged."""

from .catalogue import describe, names, zero_shot_network
from .forecast import forecast

__all__ = ["describe", "forecast", "names", "zero_shot_network"]
