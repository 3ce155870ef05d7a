"""Layers whose state is their interface; see `protocol`."""

from .block import Block, Stack
from .channel_mix import ChannelMix
from .dropout import Dropout
from .layer_string import MIXERS, build_layers, check_layers, parse_layers
from .protocol import LayerPosition, Mixer, State
from .rwkv7 import RWKV7TimeMix

__all__ = [
    "MIXERS",
    "Block",
    "ChannelMix",
    "Dropout",
    "LayerPosition",
    "Mixer",
    "RWKV7TimeMix",
    "Stack",
    "State",
    "build_layers",
    "check_layers",
    "parse_layers",
]
