"""The layer ``rwkv7``: time mix and channel mix in one block, and the options that change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..block import Block
from ..protocol import Mixer
from ..registry import Site, Variant, register
from .channel_mix import ChannelMix, LinearChannelMix
from .mediums import Mediums
from .rwkv7_time_mix import RWKV7TimeMix


@register(
    "rwkv7",
    Variant("rwkv7", "Peng et al. 2025, 2503.14456", "T"),
    Variant("rwkv7(icl_rate_max=2)", "Grazzi et al. 2024, 2411.12537", "T"),
    Variant("rwkv7(sse=on)", "Xiao 2025, 2504.08247", "T"),
    Variant("rwkv7(retrospect=8)", "Wang 2023, 2306.05176", "T * mediums"),
)
def _rwkv7(
    site: Site,
    *,
    time_mix: str = "on",
    channel_mix: str = "relu2",
    icl_rate_max: float = 1.0,
    sse: str = "off",
    retrospect: int | str = "off",
    mediums: int = 32,
    heads: int | None = None,
    key_size: int | None = None,
) -> Block:
    for name, value in (("time_mix", time_mix), ("sse", sse)):
        if value not in ("on", "off"):
            raise ValueError(f"{name}={value} of rwkv7 must be on or off.")
    looks_back = retrospect != "off"
    shift: dict[str, Any] = {
        "position": site.position,
        "perspectives": site.perspectives,
        "reads_medium": looks_back,
    }
    mixers: dict[str, Callable[[], Mixer | None]] = {
        "relu2": lambda: ChannelMix(site.width, **shift),
        "linear": lambda: LinearChannelMix(site.width),
        "off": lambda: None,
    }
    if channel_mix not in mixers:
        raise ValueError(f"channel_mix={channel_mix} of rwkv7 must be one of {', '.join(mixers)}.")
    if time_mix == channel_mix == "off":
        raise ValueError(
            "time_mix=off and channel_mix=off leave nothing of rwkv7; use layers=None for the "
            "linear skip alone."
        )
    if time_mix == "off" and (sse == "on" or (looks_back and channel_mix == "linear")):
        raise ValueError(
            "time_mix=off leaves rwkv7 no state for sse=on to read, and with channel_mix=linear no "
            "token shift for retrospect to add to; leave these out."
        )
    if time_mix == "off" and (heads, key_size) != (None, None):
        raise ValueError("time_mix=off leaves rwkv7 no heads; leave out heads and key_size.")
    mixer = RWKV7TimeMix(
        site.width,
        head_size=site.head_size,
        heads=heads,
        key_size=key_size,
        icl_rate_max=icl_rate_max,
        second_read=sse == "on",
        **shift,
    )
    return Block(
        mixer if time_mix == "on" else None,
        mixers[channel_mix](),
        width=site.width,
        dropout=site.dropout,
        mediums=Mediums(site.width, segment=retrospect, capacity=mediums) if looks_back else None,
    )
