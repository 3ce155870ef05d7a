"""Time the paths of the operator: ``python -m rimer_forecaster.kernels.benchmark``.

On a CPU every path is timed against the step loop, on a GPU against flash-linear-attention's
``chunk_rwkv7`` (if it is installed) and a device copy. A path is timed only after it agreed with
the definition in float64, on the lengths and head sizes that are timed and, on a GPU, on all
lengths, modes, head sizes and precisions. Paths take turns within a repeat, and medians are
compared, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import csv
import functools
import importlib.util
import itertools
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .loop import LOG_DECAY_BOUND
from .verification import LENGTHS, MODES, failure, inputs, state_like
from .wkv7 import wkv7

__all__ = ["main"]

Run = Callable[[], Any]
Row = dict[str, object]


class Case(NamedTuple):
    """A shape to time, and the ratios to the reference that it should reach."""

    sequences: int
    steps: int
    heads: int
    head_size: int
    forward: float | None = None
    both: float | None = None
    memory: float | None = None


CPU_CASES = (
    Case(224, 6, 2, 64, 5, 10),
    Case(224, 12, 2, 64, 5, 10),
    Case(224, 24, 2, 64, 5, 10),
    Case(8, 512, 4, 64, None, 8),
    Case(1, 8192, 4, 64, None, 40, 1 / 3),
    *(
        Case(224, steps, 128 // head_size, head_size, None, 4)
        for head_size, steps in itertools.product((16, 32), (6, 12, 48))
    ),
)

GPU_CASES = (
    Case(2048, 12, 2, 64, None, 6, 0.6),
    Case(16384, 12, 4, 64, None, None, 0.6),
    Case(16383, 12, 4, 64, None, 4, 0.6),
    Case(256, 128, 4, 64, None, 3, 0.6),
    Case(8, 4096, 16, 64, None, 1.5, 0.6),
    Case(1, 16384, 4, 64),
)


def draw(case: Case, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Leaves for a case, (sequences, steps, heads, head_size)."""
    shape = (case.sequences, case.steps, case.heads, case.head_size)
    generator = torch.Generator(device).manual_seed(0)
    r, w, k, v, a, b = (
        torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
        for _ in range(6)
    )
    kappa = torch.nn.functional.normalize(a, dim=-1)
    tensors = (r, LOG_DECAY_BOUND * w.sigmoid(), k, v, -kappa, kappa * b.sigmoid())
    return [x.to(dtype).requires_grad_() for x in tensors]


def output_of(scan: Callable[..., Any], leaves: list[Tensor]) -> Run:
    """One pass without gradients."""

    def once() -> Any:
        with torch.no_grad():
            return scan(*leaves)

    return once


def gradients_of(scan: Callable[..., Any], leaves: list[Tensor]) -> Run:
    """One pass and all six gradients."""
    d_o = torch.randn_like(leaves[3])

    def once() -> Any:
        return torch.autograd.grad(scan(*leaves)[0], leaves, d_o)

    return once


def cpu_seconds(run: Run) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def gpu_seconds(run: Run) -> float:
    """Device time of one run, in a queue of ten, as a training loop sees it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(10):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e4


def medians(
    runs: dict[str, Run], repeats: int, seconds: Callable[[Run], float]
) -> dict[str, float]:
    """Median time of each run; the runs take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            measured = seconds(run)
            if repeat > 0:  # the first one compiles, allocates and fills caches
                times[name].append(measured)
    return {name: statistics.median(values) for name, values in times.items()}


def refuse(message: str) -> None:
    """End: what is wrong is not timed."""
    sys.exit(f"not timed, because the check failed: {message}")


def rows_of(
    case: Case, pass_name: str, times: dict[str, float], reference: str, target: float | None
) -> Iterator[Row]:
    """Times and how many times faster than the reference."""
    for path, measured in times.items():
        ratio = times[reference] / measured if reference in times else None
        judged = target is not None and path in ("auto", "triton") and ratio is not None
        yield {
            **case_columns(case),
            "pass": pass_name,
            "path": path,
            "ms": f"{measured * 1e3:.4g}",
            "times faster": "" if ratio is None else f"{ratio:.2f}",
            "target": target if judged else "",
            "reached": ("yes" if (ratio or 0) >= (target or 0) else "no") if judged else "",
        }


def case_columns(case: Case) -> Row:
    """Name a case."""
    return {
        "sequences": case.sequences,
        "steps": case.steps,
        "heads": case.heads,
        "head size": case.head_size,
    }


def cpu_paths() -> dict[str, Callable[..., Any]]:
    """Return the paths that run here; `loop` is the reference."""
    names = ["loop", "chunked", "auto"]
    if importlib.util.find_spec("numba") is not None:
        names.insert(2, "numba")
    return {
        name: functools.partial(wkv7, backend=name, lowest_log_decay=LOG_DECAY_BOUND)
        for name in names
    }


def cpu_rows(cases: tuple[Case, ...], repeats: int) -> Iterator[Row]:
    """Check and time all paths, float32."""
    paths = cpu_paths()
    for case in cases:
        print(f"{case} ...", file=sys.stderr, flush=True)
        tensors = inputs(case.steps, B=1, H=1, K=case.head_size, V=case.head_size)
        for path, scan in paths.items():
            wrong = failure(scan, tensors, None, torch.float32)
            if wrong is not None:
                refuse(f"{path}, {case}: {wrong}")
        leaves = draw(case, torch.float32, "cpu")
        # The loop of a long sequence takes seconds, which a moment of other load does not distort.
        turns = 3 if case.steps > 1000 else repeats
        for name, make, target in (
            ("forward", output_of, case.forward),
            ("forward+backward", gradients_of, case.both),
        ):
            runs = {path: make(scan, leaves) for path, scan in paths.items()}
            yield from rows_of(case, name, medians(runs, turns, cpu_seconds), "loop", target)
        if case.memory is not None and sys.platform == "linux":
            yield from memory_rows(
                case, {path: cpu_peak_bytes(path, case) for path in paths}, "loop"
            )


def memory_rows(case: Case, peaks: dict[str, int], reference: str) -> Iterator[Row]:
    """Peak memory of forward and backward, and its share of the reference's."""
    for path, peak in peaks.items():
        share = peak / peaks[reference] if reference in peaks else None
        judged = share is not None and path in ("auto", "triton")
        yield {
            **case_columns(case),
            "pass": "forward+backward",
            "path": path,
            "peak MiB": f"{peak / 2**20:.1f}",
            "share of peak": "" if share is None else f"{share:.2f}",
            "target": f"{case.memory:.2f}" if judged else "",
            "reached": ("yes" if (share or 0) <= (case.memory or 0) else "no") if judged else "",
        }


def cpu_peak_bytes(path: str, case: Case) -> int:
    """Memory that forward and backward add at their peak, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peak, args=(sender, path, case))
    process.start()
    peak = receiver.recv()
    process.join()
    return int(peak)


def _send_peak(sender: Any, path: str, case: Case) -> None:
    def peak() -> int:
        # Not getrusage: its high-water mark is inherited from the parent process.
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

    scan = cpu_paths()[path]
    gradients_of(scan, draw(case._replace(steps=40), torch.float32, "cpu"))()
    run = gradients_of(scan, draw(case, torch.float32, "cpu"))
    before = peak()
    run()
    sender.send(peak() - before)


def gpu_checks(device: str = "cuda") -> Iterator[tuple[str, str | None]]:
    """Hold the GPU path against the definition: every length, mode, head size and precision."""
    scan = functools.partial(wkv7, backend="triton")
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    for N, dtype, T in itertools.product((16, 32, 64, 128), dtypes, LENGTHS):
        for mode in MODES:
            tensors = inputs(T, mode, K=N, V=N)
            for state in (None, state_like(tensors)):
                name = f"N={N} {dtype} T={T} {mode}, {'no ' if state is None else ''}state"
                yield name, failure(scan, tensors, state, dtype, device=device)
    for T in (1000, 8192):
        tensors = inputs(T, B=1, K=64, V=64)
        for dtype in dtypes:
            yield f"N=64 {dtype} T={T}", failure(scan, tensors, None, dtype, device=device)
    r, w, k, v, a, b = inputs(33, K=64, V=64)
    strong = (r, 60 * w, k, v, a, b)  # far below the bound: step by step
    wrong = failure(scan, strong, None, torch.float32, device=device)
    yield "N=64 float32 decay exp(-30)", wrong
    many = draw(Case(65540, 2, 1, 16), torch.float32, device)
    whole, _ = scan(*many)
    part, _ = scan(*(x[-4:] for x in many))
    same = torch.equal(whole[-4:], part)
    yield "65,540 sequences", None if same else "the last ones differ when computed alone"
    leaves = draw(Case(64, 300, 2, 64), torch.bfloat16, device)
    gradients = gradients_of(scan, leaves)
    same = all(torch.equal(x, y) for x, y in zip(gradients(), gradients(), strict=True))
    yield "two runs", None if same else "are not bit-equal"


def gpu_rows(cases: tuple[Case, ...], repeats: int) -> Iterator[Row]:
    """Check, then time against flash-linear-attention and a copy, bfloat16."""
    checked = 0
    for name, wrong in gpu_checks():
        if wrong is not None:
            refuse(f"{name}: {wrong}")
        checked += 1
    print(f"{checked} checks passed on {torch.cuda.get_device_name()}", flush=True)

    ours = functools.partial(wkv7, lowest_log_decay=LOG_DECAY_BOUND)
    scans: dict[str, Callable[..., Any]] = {
        "triton": functools.partial(ours, backend="triton"),
        "chunked": functools.partial(ours, backend="chunked"),
    }
    only_forward: dict[str, Callable[..., Any]] = {}
    if importlib.util.find_spec("fla") is not None:
        from fla.ops.rwkv7 import chunk_rwkv7, fused_mul_recurrent_rwkv7

        scans["fla chunk_rwkv7"] = chunk_rwkv7
        only_forward["fla fused_mul_recurrent_rwkv7"] = _fused_mul(fused_mul_recurrent_rwkv7)
    else:
        print("flash-linear-attention is not installed: no comparison with it", flush=True)
    bandwidth = copy_bandwidth(repeats)
    for case in cases:
        print(f"{case} ...", file=sys.stderr, flush=True)
        leaves = draw(case, torch.bfloat16, "cuda")
        runs = {path: output_of(scan, leaves) for path, scan in {**scans, **only_forward}.items()}
        times = medians(runs, repeats, gpu_seconds)
        target = 1.5 if case.steps <= 64 else None
        reference = "fla fused_mul_recurrent_rwkv7"
        for row in rows_of(case, "forward", times, reference, target):
            yield {**row, "share of copy": _share(case, times[str(row["path"])], 7, bandwidth)}
        runs = {path: gradients_of(scan, leaves) for path, scan in scans.items()}
        both = medians(runs, repeats, gpu_seconds)
        for row in rows_of(case, "forward+backward", both, "fla chunk_rwkv7", case.both):
            path = str(row["path"])
            backward = both[path] - times[path]
            yield {**row, "share of copy": _share(case, backward, 13, bandwidth)}
        if case.memory is not None:
            peaks = {path: gpu_peak_bytes(run) for path, run in runs.items()}
            yield from memory_rows(case, peaks, "fla chunk_rwkv7")


def _fused_mul(scan: Callable[..., Any]) -> Callable[..., Any]:
    """Give it the removal key and the learning rate that `a` and `b` are made of."""

    def with_own_arguments(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Any:
        return scan(r, w, k, v, -a, b)  # the values differ, the work does not

    return with_own_arguments


def _share(case: Case, seconds: float, tensors: int, bandwidth: float) -> str:
    """Share of the copy's bandwidth, of `tensors` bfloat16 tensors read or written once."""
    elements = case.sequences * case.steps * case.heads * case.head_size
    return f"{2 * elements * tensors / seconds / bandwidth:.2f}"


def copy_bandwidth(repeats: int) -> float:
    """Bytes a second that a device copy reads and writes."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = medians({"copy": lambda: target.copy_(source)}, repeats, gpu_seconds)["copy"]
    return 2 * source.numel() / seconds


def gpu_peak_bytes(run: Run) -> int:
    """Memory that a run adds at its peak."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def machine(device: str) -> Row:
    """What the figures were measured on."""

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    if device == "cuda":
        card = torch.cuda.get_device_name()
        runtime = torch.version.cuda or torch.version.hip
        return {
            "machine": card,
            "driver": driver(),
            "runtime": runtime,
            **{name: installed(name) for name in ("torch", "triton", "flash-linear-attention")},
        }
    return {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        **{name: installed(name) for name in ("torch", "numba")},
        "python": platform.python_version(),
    }


def driver() -> str:
    """Version of the graphics driver, where the system tells."""
    path = "/sys/module/nvidia/version"
    if os.path.exists(path):
        with open(path) as file:
            return file.read().strip()
    return "unknown"


def markdown(rows: list[Row]) -> str:
    """Rows as a table."""
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row.get(column, "")) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, print a table and write it as CSV where asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m rimer_forecaster.kernels.benchmark", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's number if not given")
    parser.add_argument("--repeats", type=int, default=9, help="runs to take the median of")
    parser.add_argument("--only", help="sequences x steps x heads x head size, such as 8x512x4x64")
    parser.add_argument("--csv", metavar="FILE", help="write the rows here too")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no such device")
    cases = CPU_CASES if device == "cpu" else GPU_CASES
    if options.only is not None:
        cases = tuple(case for case in cases if options.only == "x".join(map(str, case[:4])))
        if not cases:
            parser.error(f"--only {options.only}: no such case")
    about = machine(device)
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    measure = cpu_rows if device == "cpu" else gpu_rows
    rows = list(measure(cases, options.repeats))
    print(markdown(rows))
    if options.csv is not None:
        columns = list(dict.fromkeys(itertools.chain(*rows, about)))
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({**row, **about} for row in rows)


if __name__ == "__main__":
    main()
