"""Compile every Triton kernel that dispatch can choose, with no GPU, and report what it costs.

    python -m rimer_forecaster.kernels.compile_report [--targets sm_90,gfx942] [--check]

A kernel that spills registers runs several times slower and says nothing, and one that asks for
too much shared memory fails on its first launch. The variants come from the launch settings that
dispatch itself reads; with ``--check`` the exit status is 1 when one of them spills or asks for
too much.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .triton import recurrent, scan_kernels, scan_launch, time_mix

__all__ = ["Cost", "Variant", "measure", "report", "variants"]

SHARED_MEMORY = {
    "sm_80": 99 * 1024,  # what an sm_86 or sm_89 card has; an A100 has 163 KB
    "sm_90": 227 * 1024,
    "sm_100": 99 * 1024,  # what an sm_120 card has; a B200 has 227 KB
    "gfx90a": 64 * 1024,
    "gfx942": 64 * 1024,
    "gfx1100": 64 * 1024,
}
"""Bytes that one program may ask for on any card that takes the settings of a target."""

_STATES = {
    *("p_start", "p_end", "p_states", "p_state", "p_d_start", "p_d_end"),
    *("p_first", "p_map", "p_add", "p_out", "p_scratch"),
}
_WEIGHTS = {"p_removal", "p_replacement", "p_bonus", "p_weight", "p_bias", "p_d_weights"}

_SHARES = {"p_d_r", "p_d_w", "p_d_k", "p_d_a", "p_d_b"}
"""Gradients in float32 where several programs hold a head's rows."""

_TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
"""What kernels see: float16 is turned into float32 before."""

_SCAN = {
    "forward": scan_kernels.scan_forward,
    "forward one chunk": scan_kernels.scan_forward,
    "backward": scan_kernels.scan_backward,
    "backward one chunk": scan_kernels.scan_backward,
    "segment_map": scan_kernels.segment_map,
    "segment_gradient": scan_kernels.segment_gradient,
    "carry": scan_kernels.carry_state,
    "carry, reverse": scan_kernels.carry_state,
    "recurrent_forward": recurrent.recurrent_forward,
    "recurrent_backward": recurrent.recurrent_backward,
    "step": recurrent.replace_state,
}
_TIME_MIX = {
    "prologue_forward": time_mix.prologue_forward,
    "prologue_backward": time_mix.prologue_backward,
    "epilogue_forward": time_mix.epilogue_forward,
    "epilogue_backward": time_mix.epilogue_backward,
}


class Variant(NamedTuple):
    """One kernel as dispatch launches it."""

    target: str
    label: str
    dtype: str
    constants: dict[str, Any]
    options: dict[str, Any]


class Cost(NamedTuple):
    """What the compiler made of a variant."""

    variant: Variant
    registers: int
    spill: int
    """Bytes of stack or spilled registers, 0 when all fits."""
    shared: int

    @property
    def fits(self) -> bool:
        """Whether nothing spills and the shared memory is there on every card of the target."""
        return self.spill == 0 and self.shared <= SHARED_MEMORY[self.variant.target]


def variants(target: str) -> Iterator[Variant]:
    """Every kernel that dispatch can choose on a target."""
    for label, launches in scan_launch.SETTINGS[target].items():
        for dtype, dtype_name in _TYPES.items():
            for N in launches:
                options = scan_launch.scan_options(target, label, N, dtype)
                capitals = [option for option in options if option.isupper()]
                constants = {option: options.pop(option) for option in capitals}
                if "CARRIED" in _SCAN[label].arg_names:
                    constants["CARRIED"] = label in ("forward", "backward")
                yield Variant(target, label, dtype_name, constants, options)
    if scan_launch.SETTINGS[target]:
        _, solve = scan_launch.precisions(target, "carry", torch.float32)
        for N, carry_launch in scan_launch.CARRY.items():
            for reverse in (False, True):
                constants = {"N": N, "REVERSE": reverse, "SOLVE": solve}
                label = "carry, reverse" if reverse else "carry"
                yield Variant(target, label, "fp32", constants, carry_launch._asdict())
    for label, by_size in recurrent.SETTINGS.items():
        for dtype_name in _TYPES.values():
            for N, step_launch in by_size.items():
                options = step_launch._asdict()
                constants = {"N": N}
                if label == "recurrent_backward":
                    constants["HELD"] = recurrent.held(N)
                yield Variant(target, label, dtype_name, constants, options)
    for label in _TIME_MIX:
        for dtype_name in _TYPES.values():
            for N in time_mix.LAUNCHES:
                options = time_mix.time_mix_options(N)
                constants = {key: options.pop(key) for key in ("STEPS", "N")}
                yield Variant(target, label, dtype_name, constants, options)


def measure(variant: Variant) -> Cost:
    """Compile a variant and read what it takes."""
    if variant.label in _TIME_MIX:
        function, floats = _TIME_MIX[variant.label], _WEIGHTS
    else:
        function, floats = _SCAN[variant.label], _STATES
    if variant.constants.get("HELD", variant.constants["N"]) < variant.constants["N"]:
        floats = floats | _SHARES
    kinds = {"p_lengths": "*i32", "p_mask": "*u8", "eps": "fp32", **dict.fromkeys(floats, "*fp32")}
    signature, attributes = {}, {}
    for i, name in enumerate(function.arg_names):
        if name in variant.constants:
            signature[name] = "constexpr"
        elif name.startswith("p_"):
            signature[name] = kinds.get(name, f"*{variant.dtype}")
            attributes[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = kinds.get(name, "i32")
    compiled = triton.compile(
        ASTSource(function, signature, variant.constants, attributes),
        target=_gpu(variant.target),
        options=variant.options,
    )
    read = _read_cubin if "cubin" in compiled.asm else _read_amdgcn
    registers, spill = read(compiled.asm)
    return Cost(variant, registers, spill, compiled.metadata.shared)


def _gpu(target: str) -> GPUTarget:
    if target.startswith("sm_"):
        return GPUTarget("cuda", int(target[3:]), 32)
    return GPUTarget("hip", target, 64 if target.startswith("gfx9") else 32)


def _read_cubin(asm: Any) -> tuple[int, int]:
    """Return registers a thread and bytes of stack."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [tool, "--dump-resource-usage", file.name], check=True, capture_output=True, text=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    return int(found[1]), int(found[2])


def _read_amdgcn(asm: Any) -> tuple[int, int]:
    """Return vector registers a thread and bytes of private memory."""
    counts = dict(
        re.findall(
            r"\.(vgpr_count|vgpr_spill_count|private_segment_fixed_size):\s*(\d+)", asm["amdgcn"]
        )
    )
    spill = max(4 * int(counts["vgpr_spill_count"]), int(counts["private_segment_fixed_size"]))
    return int(counts["vgpr_count"]), spill


def report(costs: Sequence[Cost]) -> str:
    """Return a Markdown table."""
    lines = [
        "| target | kernel | dtype | N | warps | registers | spill, bytes | shared memory, bytes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant, registers, spill, shared in costs:
        lines.append(
            f"| {variant.target} | {variant.label} | {variant.dtype} | {variant.constants['N']} "
            f"| {variant.options['num_warps']} | {registers} | {spill} | {shared} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when asked to check and a variant does not fit."""
    parser = argparse.ArgumentParser(description="Registers, spills and shared memory.")
    parser.add_argument("--targets", default=",".join(SHARED_MEMORY), help="comma-separated")
    parser.add_argument("--check", action="store_true", help="fail when a variant does not fit")
    options = parser.parse_args(arguments)
    unknown = set(options.targets.split(",")) - set(SHARED_MEMORY)
    if unknown:
        parser.error(f"unknown targets {sorted(unknown)}; choose from {', '.join(SHARED_MEMORY)}")
    wanted = [v for target in options.targets.split(",") for v in variants(target)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        costs = list(pool.map(measure, wanted))
    print(report(costs))
    bad = [cost for cost in costs if not cost.fits]
    for cost in bad:
        print(f"does not fit: {cost}", file=sys.stderr)
    return int(options.check and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
