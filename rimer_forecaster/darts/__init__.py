"""RimerModel: the network as a darts model, and its live feeds."""

from .model import RimerModel
from .stream import RimerStream

__all__ = ["RimerModel", "RimerStream"]
