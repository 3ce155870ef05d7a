"""Layers whose state is their interface; see `protocol`."""

from . import combinators, mixers  # every file there registers its layers
from .block import Block, Stack
from .combinators.equilibrium import Equilibrium, NotConverged
from .combinators.parallel import Parallel
from .combinators.perspectives import Perspectives
from .mixers.attention import Attention
from .mixers.channel_mix import ChannelMix, FeedForward, LinearChannelMix
from .mixers.mediums import Mediums
from .mixers.recurrent import Recurrent
from .mixers.rwkv4 import RWKV4ChannelMix, RWKV4TimeMix
from .mixers.rwkv7_time_mix import RWKV7TimeMix
from .mixers.sparse_attention import SparseAttention
from .mixers.taylor import Taylor
from .parts.dropout import Dropout, RandomModule
from .parts.fixed_point import SolverReport, solve_fixed_point
from .protocol import (
    LayerPosition,
    Mixer,
    Pass,
    State,
    fresh_memory,
    from_leaves,
    leaves,
    rows_of,
)
from .registry import LAYERS, Site, Variant, build_layers, check_layers, register, state_size

__all__ = [
    "LAYERS",
    "Attention",
    "Block",
    "ChannelMix",
    "Dropout",
    "Equilibrium",
    "FeedForward",
    "LayerPosition",
    "LinearChannelMix",
    "Mediums",
    "Mixer",
    "NotConverged",
    "Parallel",
    "Pass",
    "Perspectives",
    "RWKV4ChannelMix",
    "RWKV4TimeMix",
    "RWKV7TimeMix",
    "RandomModule",
    "Recurrent",
    "Site",
    "SolverReport",
    "SparseAttention",
    "Stack",
    "State",
    "Taylor",
    "Variant",
    "build_layers",
    "check_layers",
    "combinators",
    "fresh_memory",
    "from_leaves",
    "leaves",
    "mixers",
    "register",
    "rows_of",
    "solve_fixed_point",
    "state_size",
]
