"""Layers from a short string, such as ``"rwkv7*2"`` or ``"(rwkv7, attention(window=64))*2"``.

    layers  := item ("," item)*
    item    := (call | "(" layers ")") ("*" count)?
    call    := name ("(" (layers (";" options)? | options) ")")?
    options := name "=" value ("," name "=" value)*
    value   := (number | name) ("+" (number | name))*

Repeats and groups unfold into a plain sequence. Layers inside the parentheses of a name are for a
combinator, which makes one layer of them: ``"equilibrium(rwkv7; max_iter=80)"``. A value is a
number or a word, or several of them joined by plus signs: ``"perspectives(rwkv7; lags=1+7)"``. A
string, and not objects, because grid searches vary it and saved models store it. As it may come
from a file, it is refused before anything is built if it is longer than `MOST_CHARACTERS`, has
brackets deeper than `MOST_BRACKETS`, or unfolds to more than `MOST_LAYERS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

__all__ = [
    "MOST_BRACKETS",
    "MOST_CHARACTERS",
    "MOST_LAYERS",
    "LayerCall",
    "Value",
    "read_layers",
    "write_layers",
]

MOST_CHARACTERS = 10_000
MOST_BRACKETS = 20
MOST_LAYERS = 500
"""Those inside of combinators count."""

Value: TypeAlias = int | float | str
"""A number or a word."""

_SHOWN = 200
"""Most characters of a string in a message."""

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>\d+(\.\d*)?([eE][-+]?\d+)?)|(?P<sign>[(),*;=+])"
    r"|(?P<bad>\S))"
)


@dataclass(frozen=True)
class LayerCall:
    """One layer as the string names it.

    Attributes
    ----------
    name
        Of the layer.
    inner
        Layers that a combinator is made of; empty for others.
    options
        Numbers and words by name; several of them as a tuple.
    """

    name: str
    inner: tuple[LayerCall, ...] = ()
    options: dict[str, Value | tuple[Value, ...]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of layers that it is made of, itself among them."""
        return 1 + sum(call.size for call in self.inner)


def read_layers(layers: str, known: Mapping[str, bool]) -> list[LayerCall]:
    """Return the layers that a string names, repeats and groups unfolded.

    Parameters
    ----------
    layers
        See the head of this file.
    known
        Names, and whether a layer of this name is made of others.

    Raises
    ------
    ValueError
        Shows the string and the place where it cannot be read.
    """
    reader = _Reader(layers, known)
    calls = reader.sequence()
    if reader.next.text:
        raise reader.error("expected ',', '*' or the end")
    reader.check_count(calls, 1)
    return calls


def write_layers(calls: Sequence[LayerCall]) -> str:
    """Return the string that `read_layers` reads as these layers."""
    runs = [(own, len(list(same))) for own, same in groupby(map(_written, calls))]
    return ", ".join(own if count == 1 else f"{own}*{count}" for own, count in runs)


def _written(call: LayerCall) -> str:
    values = {x: y if isinstance(y, tuple) else (y,) for x, y in call.options.items()}
    options = ", ".join(f"{name}={'+'.join(map(str, y))}" for name, y in values.items())
    parts = [part for part in (write_layers(call.inner), options) if part]
    return f"{call.name}({'; '.join(parts)})" if parts else call.name


@dataclass(frozen=True)
class _Token:
    kind: str  # "name", "number", "sign", "bad" or "end"
    text: str
    place: int


class _Reader:
    """Reads a layer string token by token."""

    def __init__(self, string: str, known: Mapping[str, bool]) -> None:
        if not isinstance(string, str):
            raise ValueError(
                f"layers must be a string such as 'rwkv7*2', got {string!r} "
                f"of type {type(string).__name__}."
            )
        if len(string) > MOST_CHARACTERS:
            raise ValueError(
                f"layers={string[:40]!r}... has {len(string):,} characters; it can have "
                f"{MOST_CHARACTERS:,} at most."
            )
        self.string, self.known, self.depth = string, known, 0
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

    def after_next(self) -> str:
        return self._token_at(self.next.place + len(self.next.text)).text

    def error(self, problem: str) -> ValueError:
        place = self.next.place
        shown, pointer = self.string, " " * place + "^"
        if len(shown) > _SHOWN:
            first = max(0, place - _SHOWN // 2)
            shown, pointer = shown[first : first + _SHOWN], " " * (place - first) + "^"
        return ValueError(
            f"layers={shown!r} cannot be read at character {place + 1}: {problem}."
            f"\n    {shown}\n    {pointer}\n"
            f"Write for example 'rwkv7*2'; known layers: {', '.join(sorted(self.known))}."
        )

    def close(self, what: str) -> None:
        if self.next.text != ")":
            raise self.error(f"expected ')' to close {what}")
        self.depth -= 1
        self.take()

    def open(self) -> None:
        if self.depth == MOST_BRACKETS:
            raise self.error(f"brackets can lie {MOST_BRACKETS} deep at most")
        self.depth += 1
        self.take()

    def sequence(self) -> list[LayerCall]:
        calls = self.item()
        while self.next.text == ",":
            self.take()
            calls += self.item()
            self.check_count(calls, 1)
        return calls

    def check_count(self, calls: list[LayerCall], repeats: float) -> None:
        count = repeats * sum(call.size for call in calls)
        if count > MOST_LAYERS:
            raise self.error(f"these are {count:,g} layers; there can be {MOST_LAYERS} at most")

    def item(self) -> list[LayerCall]:
        if self.next.text == "(":
            self.open()
            calls = self.sequence()
            self.close("a group")
        elif self.next.kind == "name":
            calls = [self.call()]
        else:
            raise self.error("expected the name of a layer or '('")
        if self.next.text == "*":
            self.take()
            if not self.next.text.isdigit() or not (repeats := _number(self.next.text)):
                raise self.error("expected a whole number of repeats, at least 1")
            self.check_count(calls, repeats)
            self.take()
            calls = calls * int(repeats)
        return calls

    def call(self) -> LayerCall:
        if self.next.text not in self.known:
            raise self.error(f"unknown layer {self.next.text!r}")
        name = self.take().text
        inner: list[LayerCall] = []
        options: dict[str, Value | tuple[Value, ...]] = {}
        if self.next.text == "(":
            self.open()
            if self.known[name]:
                inner = self.sequence()
                if self.next.text == ";":
                    self.take()
                    options = self.options()
            else:
                options = self.options()
            self.close(f"the arguments of {name}")
        elif self.known[name]:
            raise self.error(f"{name} is made of other layers, as in '{name}(rwkv7)': expected '('")
        return LayerCall(name, tuple(inner), options)

    def options(self) -> dict[str, Value | tuple[Value, ...]]:
        options: dict[str, Value | tuple[Value, ...]] = {}
        while True:
            if self.next.kind != "name" or self.after_next() != "=":
                raise self.error("expected an option, such as 'name=value'")
            if self.next.text in options:
                raise self.error(f"option {self.next.text!r} is given twice")
            name = self.take().text
            self.take()
            values = [self.value()]
            while self.next.text == "+":
                self.take()
                values.append(self.value())
            options[name] = values[0] if len(values) == 1 else tuple(values)
            if self.next.text != ",":
                return options
            self.take()

    def value(self) -> Value:
        if self.next.kind not in ("number", "name"):
            raise self.error("expected a number or a word")
        value = self.take()
        return value.text if value.kind == "name" else _number(value.text)


def _number(text: str) -> int | float:
    # Of thousands of digits, int would raise an error of its own.
    return int(text) if text.isdigit() and len(text) < 20 else float(text)
