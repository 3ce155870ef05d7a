"""How the network is trained: by Lightning, from here on."""

from .recipe import Recipe

__all__ = ["Recipe"]
