"""The state operators of RWKV-7 and RWKV-4 on tensors; installed as `rimer_forecaster.kernels`."""

from .loop import LOG_DECAY_BOUND
from .time_mix import epilogue, prologue
from .wkv4 import EMPTY, wkv4
from .wkv7 import wkv7, wkv7_step

__all__ = ["EMPTY", "LOG_DECAY_BOUND", "epilogue", "prologue", "wkv4", "wkv7", "wkv7_step"]
