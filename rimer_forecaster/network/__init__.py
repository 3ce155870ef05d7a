"""The forecasting network: tensors in, tensors out."""

from .config import NetworkConfig, default_patch_length
from .network import RimerNetwork
from .weights import load_network, save_weights

__all__ = ["NetworkConfig", "RimerNetwork", "default_patch_length", "load_network", "save_weights"]
