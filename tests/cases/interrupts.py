"""Interrupts at any place in the code: Ctrl-C, or a thread that is stopped."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType
from typing import Any


class Interrupt(BaseException):
    """Like KeyboardInterrupt, of which Lightning makes a SystemExit."""


class Interrupted:
    """Calls functions, and counts the instructions that they take in some files.

    Parameters
    ----------
    parts
        Of the names of the files that are interrupted.
    """

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def instructions(self, act: Callable[[], Any]) -> int:
        """How many instructions a call takes."""
        return self._run(act, 0)[0]

    def at(self, instruction: int, act: Callable[[], Any]) -> bool:
        """Call, and raise `Interrupt` before an instruction, from 1; whether it came to that."""
        return self._run(act, instruction)[1]

    def _run(self, act: Callable[[], Any], last: int) -> tuple[int, bool]:
        count = 0

        def instruction(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal count
            if event == "opcode" and frame.f_lasti not in _uninterrupted(frame.f_code):
                count += 1
                if count == last:
                    raise Interrupt
            return instruction

        def call(frame: FrameType, event: str, argument: Any) -> Any:
            if not any(part in frame.f_code.co_filename for part in self._parts):
                return None
            frame.f_trace_opcodes = True
            return instruction

        before = sys.gettrace()
        sys.settrace(call)
        try:
            act()
        except Interrupt:
            return count, True
        finally:
            sys.settrace(before)
        return count, False


@cache
def _uninterrupted(code: CodeType) -> frozenset[int]:
    """Offsets between the end of a ``with`` and its exit, where Python looks for no interrupt."""
    instructions = list(dis.get_instructions(code))
    found = set()
    for i in range(len(instructions)):
        nones, calls = instructions[i : i + 3], instructions[i + 3 : i + 5]
        if [(x.opname, x.argval) for x in nones] == 3 * [("LOAD_CONST", None)]:
            found |= {x.offset for x in nones}
            found |= {x.offset for x in calls if x.opname in ("PRECALL", "CALL")}
    return frozenset(found)
