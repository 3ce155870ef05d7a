"""The life of a trained network: another network, or its states, out of one that was trained."""

from .compress import Compression, compress

__all__ = ["Compression", "compress"]
