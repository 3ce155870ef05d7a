"""Which path is chosen for which tensors, what the records of paths say, and what is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import dispatch, epilogue, wkv7, wkv7_step
from rimer_forecaster.kernels.dispatch import CHUNKED, LOOP, choose_path
from rimer_forecaster.kernels.loop import loop_scan
from rimer_forecaster.kernels.verification import failure, inputs, relative_errors, state_like

EPS = torch.finfo(torch.float32).eps


def path(name: str) -> dispatch.Path:
    """Return a path by its backend, or "steps", that of the GPU beyond its chunks."""
    if name in ("triton", "steps"):
        pytest.importorskip("triton", reason="the GPU kernels need triton")
        chunks = dispatch.triton_path()
        steps = chunks.beyond
        assert steps is not None
        return chunks if name == "triton" else steps
    if name == "numba":
        pytest.importorskip("numba", reason="this path needs numba")
        return dispatch.numba_path()
    return CHUNKED if name == "chunked" else LOOP


PATHS = ["loop", "chunked", "numba", "triton", "steps"]
_LOADED = ("numba_path", "triton_path", "numba_time_mix", "triton_time_mix")


def forget_imports() -> None:
    for name in _LOADED:
        getattr(dispatch, name).cache_clear()
    dispatch._warn_of_slow_path.cache_clear()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Make a package one that is not installed."""

    def hide(package: str) -> None:
        forget_imports()
        monkeypatch.setitem(sys.modules, package, None)
        for module in list(sys.modules):
            if module.startswith(f"rimer_forecaster.kernels.{package}."):
                monkeypatch.delitem(sys.modules, module)

    yield hide
    forget_imports()


class OnAGpu(NamedTuple):
    """What the choice of path asks of a tensor; there is no GPU here."""

    shape: tuple[int, ...] = (2, 30, 2, 16)
    dtype: torch.dtype = torch.float32
    is_cuda: bool = True
    device: torch.device = torch.device("cuda")


class SaysCuda(Tensor):
    """A tensor of the CPU that says it is on a GPU."""

    is_cuda = True  # type: ignore[assignment]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_masks_and_accumulates_as_its_record_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator trusts `masks_itself`: the wrong one loses the lengths, or the precision."""
    monkeypatch.setattr(sys.modules[wkv7.__module__], "choose_path", lambda *_: path(name))
    lengths = [20, 7, 0]
    tensors = tuple(x.bfloat16() for x in inputs(20, B=3, K=16, V=16))
    padded = tuple(x.clone() for x in tensors)
    for x in padded:
        for i, length in enumerate(lengths):
            x[i, length:] = float("nan")
    state = state_like(tensors).float()
    o, end = wkv7(
        *padded, initial_state=state, output_final_state=True, lengths=torch.tensor(lengths)
    )
    assert o.dtype == torch.bfloat16
    assert end is not None
    assert end.dtype == torch.float32
    assert torch.equal(end[2], state[2])
    for i, length in enumerate(lengths):
        assert torch.equal(o[i, length:], torch.zeros_like(o[i, length:]))
        if length:
            exact_o, exact_end = loop_scan(
                *(x[i : i + 1, :length].double() for x in tensors),
                initial_state=state[i : i + 1].double(),
                output_final_state=True,
            )
            assert exact_end is not None
            o_error, end_error = relative_errors(
                [o[i : i + 1, :length].double(), end[i : i + 1].double()], [exact_o, exact_end]
            )
            assert o_error < torch.finfo(torch.bfloat16).eps  # one rounding, at the end
            assert end_error < 20 * EPS  # 20 steps, each rounded in float32


@pytest.mark.parametrize(
    ("name", "lowest"), [("chunked", -80 / 64), ("triton", -80 / 16)], ids=["chunked", "triton"]
)
def test_chunks_hold_the_decays_that_their_record_allows_and_no_stronger(
    name: str, lowest: float
) -> None:
    """A record with shorter chunks lets exponents overflow, with longer ones wastes the path."""
    chunks = path(name)
    r, w, k, v, a, b = inputs(128, B=1, H=1, K=16, V=16)
    tensors = (r, torch.full_like(w, 0.999 * lowest), k, v, a, b)
    weak, strong = tensors[1].float(), 1.002 * tensors[1].float()
    assert choose_path(name, r.float(), weak, v.float(), None) is chunks
    assert dispatch._for_decay(chunks, strong, None) is chunks.beyond
    options: dict[str, Any] = {"lengths": None} if chunks.masks_itself else {}

    def scan(*tensors: Tensor, **states: Any) -> tuple[Tensor, Tensor | None]:
        return chunks.scan(*tensors, **states, **options)

    assert failure(scan, tensors, state_like(tensors), torch.float32) is None


def test_a_decay_too_strong_for_a_chunk_takes_a_path_step_by_step(
    without: Callable[[str], None],
) -> None:
    r, w, k, v, a, b = inputs(64)
    w = 40 * w  # exp(-24) a step, far below the bound
    expected, _ = wkv7(r, w, k, v, a, b, backend="loop")
    o, _ = wkv7(r, w, k, v, a, b)
    torch.testing.assert_close(o, expected, rtol=0, atol=1e-12)
    with pytest.raises(
        ValueError,
        match=r"'chunked' cannot run here: it cannot hold a log decay of -2.*, which must be at "
        r"least -1\.25 here\. Use backend='auto'",
    ):
        wkv7(r, w, k, v, a, b, backend="chunked")
    without("numba")
    o, _ = wkv7(r, w, k, v, a, b)
    assert torch.equal(o, expected)


def test_a_promise_about_the_decay_saves_reading_it() -> None:
    r, w, k, v, a, b = inputs(64)
    w = 40 * w
    with pytest.raises(ValueError, match="cannot hold"):
        wkv7(r, w, k, v, a, b, backend="chunked")
    wkv7(r, w, k, v, a, b, backend="chunked", lowest_log_decay=-0.6)  # believed


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("T", "with_numba", "without_numba"),
    [(1, "loop", "loop"), (2, "numba", "chunked"), (65, "numba", "chunked")],
)
def test_auto_chooses_by_length(
    T: int, with_numba: str, without_numba: str, training: bool, without: Callable[[str], None]
) -> None:
    tensors = [x.requires_grad_(training) for x in inputs(T)]
    o, _ = wkv7(*tensors)
    assert torch.equal(o, wkv7(*tensors, backend=with_numba)[0])
    without("numba")
    o, _ = wkv7(*tensors)
    assert torch.equal(o, wkv7(*tensors, backend=without_numba)[0])


def test_a_gpu_takes_the_kernels_by_the_strength_of_the_decay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chunks, steps = path("triton"), path("steps")
    able = chunks._replace(unsupported=lambda r, v: None)
    monkeypatch.setattr(dispatch, "triton_path", lambda: able)
    x: Any = OnAGpu()
    double: Any = OnAGpu(dtype=torch.float64)
    for backend in ("auto", "triton"):
        assert choose_path(backend, x, x, x, -0.6).scan is chunks.scan
        assert choose_path(backend, x, x, x, -30.0).scan is steps.scan
    assert choose_path("auto", double, double, double, -0.6) is CHUNKED
    assert dispatch.choose_in_place_step(x, x, x).__name__ == "triton_step"  # type: ignore[union-attr]
    assert dispatch.choose_in_place_step(x, x, double) is None


def test_a_gpu_without_triton_warns_once_and_goes_on(without: Callable[[str], None]) -> None:
    x: Any = OnAGpu()
    without("triton")
    with pytest.warns(UserWarning, match="its GPU kernels: triton cannot be .*pip install triton"):
        assert choose_path("auto", x, x, x, -0.6) is CHUNKED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_path("auto", x, x, x, -0.6) is CHUNKED
    with pytest.raises(ValueError, match=r"'triton' cannot run here: triton cannot be .*pip inst"):
        choose_path("triton", x, x, x, -0.6)


def test_the_warning_points_at_the_line_that_calls(without: Callable[[str], None]) -> None:
    without("triton")
    tensors = [x.float().as_subclass(SaysCuda) for x in inputs(3, K=16, V=16)]
    state = state_like(tuple(tensors))
    with pytest.warns(UserWarning, match="without its GPU kernels") as of_wkv7:
        wkv7(*tensors)
    dispatch._warn_of_slow_path.cache_clear()
    with pytest.warns(UserWarning, match="without its GPU kernels") as of_step:
        wkv7_step(*(x[:, 0] for x in tensors), state, in_place=True)
    assert [x.filename for x in (*of_wkv7, *of_step)] == [__file__, __file__]


def test_a_missing_package_is_named_when_it_is_forced(without: Callable[[str], None]) -> None:
    without("numba")
    tensors = inputs(65)
    message = r"backend='numba' cannot run here: numba cannot be imported .*pip install numba\. Use"
    with pytest.raises(ValueError, match=message):
        wkv7(*tensors, backend="numba")
    r = tensors[0]
    weights = {name: torch.ones(2, 8) for name in ("bonus", "weight", "bias")}
    with pytest.raises(ValueError, match=message):
        epilogue(r, r, r, r, r, **weights, eps=1e-5, backend="numba")


def test_the_time_mix_is_plain_where_nothing_is_installed(without: Callable[[str], None]) -> None:
    x: Any = OnAGpu()
    assert dispatch.choose_time_mix("auto", *2 * [torch.zeros(1, 1, 1, 16)]).name == "numba"
    without("numba")
    without("triton")
    assert dispatch.choose_time_mix("auto", *2 * [torch.zeros(1, 1, 1, 16)]) is dispatch.PLAIN
    assert dispatch.choose_time_mix("auto", x, x) is dispatch.PLAIN


@pytest.mark.filterwarnings("ignore")
def test_a_traced_graph_takes_the_plain_path() -> None:
    tensors = inputs(20)
    traced = torch.jit.trace(lambda *xs: wkv7(*xs)[0], tensors)
    other = inputs(20, seed=5)
    torch.testing.assert_close(traced(*other), wkv7(*other)[0], rtol=0, atol=1e-12)

    weights = {name: torch.ones(2, 8).double() for name in ("bonus", "weight", "bias")}
    traced = torch.jit.trace(lambda x: epilogue(x, x, x, x, x, **weights, eps=1e-5), tensors[0])
    expected = epilogue(*5 * other[:1], **weights, eps=1e-5)
    torch.testing.assert_close(traced(other[0]), expected, rtol=0, atol=1e-12)


def test_compiled_code_is_imported_when_it_is_first_needed() -> None:
    code = """
import sys
import torch
import rimer_forecaster
import rimer_forecaster.kernels
compilers = lambda: sorted({"triton", "numba"} & set(sys.modules))
print(compilers())
x = torch.zeros(1, 2, 1, 16)
rimer_forecaster.kernels.wkv7(x, x, x, x, x, x, backend="chunked")
print(compilers())
rimer_forecaster.kernels.wkv7(x, x, x, x, x, x)
print(compilers())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
    assert "triton" not in done.stdout


def test_triton_and_numba_are_imported_in_their_folders_alone() -> None:
    assert dispatch.__file__ is not None
    for source in Path(dispatch.__file__).parent.rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).partition(".")[0])
        home = {source.parent.name} | ({"triton"} if source.stem == "compile_report" else set())
        assert {"numba", "triton"} & imported <= home, source
