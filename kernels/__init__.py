"""The RWKV-7 state operator on tensors; installed as `rimer_forecaster.kernels`."""

from .loop import LOG_DECAY_BOUND
from .time_mix import epilogue, prologue
from .wkv7 import wkv7, wkv7_step

__all__ = ["LOG_DECAY_BOUND", "epilogue", "prologue", "wkv7", "wkv7_step"]
