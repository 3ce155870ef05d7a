"""Random cases: how many of them, and files with damage in a random place."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator


def cases(default: int) -> int:
    """How many cases a test tries: RIMER_CASES of the environment, or what every run affords."""
    return int(os.environ.get("RIMER_CASES", default))


def damaged(data: bytes, kind: str, count: int) -> Iterator[bytes]:
    """The content of a file with one of its bits flipped, or cut off."""
    chance = random.Random(0)
    for _ in range(count):
        if kind == "flips":
            changed = bytearray(data)
            changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            yield bytes(changed)
        else:
            yield data[: chance.randrange(len(data))]
