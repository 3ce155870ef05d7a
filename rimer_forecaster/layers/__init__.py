"""Layers whose state is their interface; see `protocol`."""

from .attention import Attention
from .block import Block, Stack
from .channel_mix import ChannelMix, FeedForward, LinearChannelMix
from .dropout import Dropout, RandomModule
from .equilibrium import Equilibrium, NotConverged
from .fixed_point import SolverReport, solve_fixed_point
from .initial_state import InitialState
from .protocol import LayerPosition, Mixer, State, from_leaves, leaves
from .recurrent import Recurrent
from .registry import LAYERS, build_layers, check_layers
from .rwkv7 import RWKV7TimeMix

__all__ = [
    "LAYERS",
    "Attention",
    "Block",
    "ChannelMix",
    "Dropout",
    "Equilibrium",
    "FeedForward",
    "InitialState",
    "LayerPosition",
    "LinearChannelMix",
    "Mixer",
    "NotConverged",
    "RWKV7TimeMix",
    "RandomModule",
    "Recurrent",
    "SolverReport",
    "Stack",
    "State",
    "build_layers",
    "check_layers",
    "from_leaves",
    "leaves",
    "solve_fixed_point",
]
