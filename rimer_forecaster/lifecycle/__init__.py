"""The life of a state: a trained network in, states or other networks out."""

from .adapt import adapt
from .adapted_state import AdaptedState
from .compress import Compression, compress
from .distill import Distillation, distill
from .grow import grow
from .half_life import half_life

__all__ = [
    "AdaptedState",
    "Compression",
    "Distillation",
    "adapt",
    "compress",
    "distill",
    "grow",
    "half_life",
]
