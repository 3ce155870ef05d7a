"""Settings for all tests."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # networks this small only wait for each other's threads
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TRITON_INTERPRET"] = "1"  # GPU kernels run on the CPU; read when triton is imported

import torch

torch.set_num_threads(1)
