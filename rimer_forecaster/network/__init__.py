"""The forecasting network: tensors in, tensors out."""

from .network import RimerNetwork, default_patch_length
from .weights import load_network, save_weights

__all__ = ["RimerNetwork", "default_patch_length", "load_network", "save_weights"]
