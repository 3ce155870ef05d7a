"""Layers from a short string, such as ``"rwkv7*2"`` or ``"(rwkv7*1, rwkv7*1)*2"``.

    layers := item ("," item)*
    item   := (name | "(" layers ")") ("*" count)?

Names are those of `MIXERS`; repeats and groups unfold into a plain sequence. A string, and not
objects, because grid searches vary it and saved models store it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .block import Block, Stack
from .channel_mix import ChannelMix
from .protocol import LayerPosition, Mixer
from .rwkv7 import RWKV7TimeMix

__all__ = ["MIXERS", "build_layers", "check_layers", "parse_layers"]

MIXERS: dict[str, type[Mixer]] = {"rwkv7": RWKV7TimeMix}
"""Token mixers by the name that a layer string uses."""

_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<count>\d+)|(?P<sign>[(),*])|(?P<bad>\S))")


def build_layers(layers: str, *, width: int, head_size: int, dropout: float = 0.0) -> Stack:
    """Build the stack that a layer string describes.

    Parameters
    ----------
    layers
        See the head of this file.
    width, head_size, dropout
        D, N and the dropout probability of every block.

    Raises
    ------
    ValueError
        See `check_layers`.
    """
    check_layers(layers, width=width, head_size=head_size)
    names = parse_layers(layers)
    blocks = []
    for index, name in enumerate(names):
        position = LayerPosition(index, len(names), first_of_kind=name not in names[:index])
        token_mixer = MIXERS[name](width, head_size=head_size, position=position)
        channel_mixer = ChannelMix(width, position=position)
        blocks.append(Block(token_mixer, channel_mixer, width=width, dropout=dropout))
    return Stack(blocks)


def check_layers(layers: str, *, width: int, head_size: int) -> None:
    """Check what `build_layers` needs, without building anything.

    Raises
    ------
    ValueError
        If the string cannot be read, or the head size does not divide the width.
    """
    parse_layers(layers)
    if width % head_size:
        raise ValueError(
            f"width={width} is not a multiple of head_size={head_size}: a layer has "
            "width / head_size heads. Change one of the two."
        )


def parse_layers(layers: str) -> list[str]:
    """Return the mixer names of a layer string, repeats and groups unfolded.

    Raises
    ------
    ValueError
        Shows the string and the place where it cannot be read.
    """
    reader = _Reader(layers)
    names = reader.sequence()
    if reader.next.text:
        raise reader.error("expected ',', '*' or the end")
    return names


@dataclass(frozen=True)
class _Token:
    kind: str  # "name", "count", "sign", "bad" or "end"
    text: str
    place: int


class _Reader:
    """Reads a layer string token by token."""

    def __init__(self, string: str) -> None:
        if not isinstance(string, str):
            raise ValueError(
                f"layers must be a string such as 'rwkv7*2', got {string!r} "
                f"of type {type(string).__name__}."
            )
        self.string = string
        self.next = self._token_at(0)

    def _token_at(self, start: int) -> _Token:
        match = _TOKEN.match(self.string, start)
        if match is None or match.lastgroup is None:
            return _Token("end", "", len(self.string))
        return _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))

    def take(self) -> _Token:
        token = self.next
        self.next = self._token_at(token.place + len(token.text))
        return token

    def error(self, problem: str) -> ValueError:
        pointer = " " * self.next.place + "^"
        return ValueError(
            f"layers={self.string!r} cannot be read at character {self.next.place + 1}: {problem}."
            f"\n    {self.string}\n    {pointer}\n"
            f"Write for example 'rwkv7*2'; known layers: {', '.join(sorted(MIXERS))}."
        )

    def sequence(self) -> list[str]:
        names = self.item()
        while self.next.text == ",":
            self.take()
            names += self.item()
        return names

    def item(self) -> list[str]:
        if self.next.text == "(":
            self.take()
            names = self.sequence()
            if self.next.text != ")":
                raise self.error("expected ')' to close a group")
            self.take()
        elif self.next.kind == "name":
            if self.next.text not in MIXERS:
                raise self.error(f"unknown layer {self.next.text!r}")
            names = [self.take().text]
        else:
            raise self.error("expected the name of a layer or '('")
        if self.next.text == "*":
            self.take()
            if self.next.kind != "count" or int(self.next.text) == 0:
                raise self.error("expected a whole number of repeats, at least 1")
            names = names * int(self.take().text)
        return names
