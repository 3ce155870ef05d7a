"""Random cases: how many of them, and files with damage in a random place."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator


def cases(default: int) -> int:
    """How many cases a test tries: RIMER_CASES of the environment, or what every run affords."""
    return int(os.environ.get("RIMER_CASES", default))


def damaged(data: bytes, kind: str, count: int) -> Iterator[bytes]:
    """The content of a file with a bit flipped, a block of 64 bytes set to zero, or cut off."""
    chance = random.Random(0)
    for _ in range(count):
        changed, place = bytearray(data), chance.randrange(len(data))
        if kind == "flips":
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == "zeroed blocks":
            changed[place : place + 64] = bytes(len(changed[place : place + 64]))
        else:
            del changed[place:]
        yield bytes(changed)
