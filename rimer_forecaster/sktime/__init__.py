"""RimerForecaster: the network as an sktime forecaster, and its pretrained weights."""

from .forecaster import RimerForecaster
from .pretrained import Pretrained

__all__ = ["Pretrained", "RimerForecaster"]
