"""The package as it is installed and imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

import rimer_forecaster
from rimer_forecaster.edge.export import export
from rimer_forecaster.zero_shot import zero_shot_network

ROOT = Path(__file__).parents[2]


def python(code: str, **arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        **arguments,  # type: ignore[call-overload]
    )


def test_importing_the_package_imports_no_library_it_may_do_without() -> None:
    code = """
import sys
import rimer_forecaster
print(sorted({"torch", "triton", "darts", "sktime", "pytorch_lightning"} & set(sys.modules)))
"""
    assert python(code).stdout.strip() == "[]"


def test_the_network_needs_neither_door() -> None:
    code = """
import sys, torch
from rimer_forecaster import RimerNetwork
RimerNetwork(8, 4)(torch.zeros(1, 8, 1))
print(sorted({"triton", "darts", "sktime", "pytorch_lightning"} & set(sys.modules)))
"""
    assert python(code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("RimerModel", "darts", "darts"),
        ("RimerForecaster", "sktime", "sktime"),
        ("RimerForecaster", "pytorch_lightning", "sktime"),
        ("rimer_forecaster.benchmark", "darts", "benchmark"),
        ("rimer_forecaster.benchmark", "sktime", "benchmark"),
    ],
)
def test_a_missing_extra_is_named(name: str, package: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
try:
    from rimer_forecaster import {name.rpartition(".")[2]}
except ImportError as error:
    print(type(error).__name__, error)
"""
    printed = python(code).stdout
    assert printed.startswith(f"ImportError {name} needs the package {package!r}")
    assert f"pip install 'rimer-forecaster[{extra}]'" in printed


def test_a_checkout_that_is_not_installed_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rimer_forecaster", tmp_path / "rimer_forecaster")
    code = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
try:
    from rimer_forecaster import RimerNetwork
except ImportError as error:
    print(error)
"""
    assert (
        "Install the checkout with: python -m pip install -e ." in python(code, cwd=tmp_path).stdout
    )


def test_names_are_those_of_the_public_list() -> None:
    for name in rimer_forecaster.__all__:
        assert getattr(rimer_forecaster, name) is not None
    assert set(rimer_forecaster.__all__) == set(dir(rimer_forecaster))
    with pytest.raises(AttributeError, match="has no attribute 'RimerModle'"):
        _ = rimer_forecaster.RimerModle  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    leftovers = shutil.ignore_patterns("build", "*.egg-info", ".*", "__pycache__", "tests")
    source = shutil.copytree(ROOT, folder / "source", ignore=leftovers)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_is_pure_python_and_whole(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [
        *(path.relative_to(ROOT) for path in (ROOT / "rimer_forecaster").rglob("*.py")),
        *(
            Path("rimer_forecaster") / path.relative_to(ROOT)
            for path in (ROOT / "kernels").rglob("*.py")
        ),
        Path("rimer_forecaster/py.typed"),
        *(
            Path("rimer_forecaster/zero_shot/weights") / f"rimer-zero-1{suffix}"
            for suffix in (".safetensors", ".json")
        ),
    ]
    assert {path.as_posix() for path in sources} <= names
    assert {name.partition("/")[0] for name in names} == {
        "rimer_forecaster",
        f"rimer_forecaster-{rimer_forecaster.__version__}.dist-info",
    }
    installed = {Path(name) for name in names if name.startswith("rimer_forecaster/")}
    assert {path.suffix or path.name for path in installed} == {
        ".py",
        ".typed",
        ".safetensors",
        ".json",
    }
    assert wheel.stat().st_size < 8e6


def test_the_sdist_holds_what_its_tests_read(tmp_path: Path) -> None:
    leftovers = shutil.ignore_patterns("build", "dist", "*.egg-info", ".git", ".*_cache", ".venv")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=leftovers)
    code = f"import setuptools.build_meta as b; b.build_sdist({str(tmp_path)!r})"
    built = python(code, cwd=source)
    assert built.returncode == 0, built.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("tests", "docs", "examples"):
        files = {path for path in (ROOT / folder).rglob("*") if path.is_file()}
        expected = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
        assert expected <= names
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "SECURITY.md", ".ci/run"} <= names
    assert not any(name.endswith(".pyc") for name in names)


def test_every_dependency_of_a_user_has_a_floor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    users = (
        project["dependencies"],
        *(extras[x] for x in ("darts", "sktime", "triton", "onnx", "parquet")),
    )
    assert [name for group in users for name in group if ">=" not in name] == []


def site_of(python: Path) -> Path:
    """The folder that an interpreter takes packages from."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(python), "-I", "-c", code]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


@pytest.mark.slow
def test_a_device_installs_the_wheel_beside_numpy_and_safetensors_alone(
    wheel: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "edge.safetensors"
    export(zero_shot_network(), weights)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True
    )
    device = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    site = site_of(device)
    for name in ("numpy", "safetensors"):  # as they are here: the test needs no index
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), site / file)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True)
    code = f"""
from importlib.metadata import distributions
from rimer_forecaster.edge import EdgeForecaster
edge = EdgeForecaster({str(weights)!r})
print(edge.forecast(edge.observe(range(99)), 70).shape)
print(sorted(one.name for one in distributions()))
"""
    run = subprocess.run(
        [str(device), "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    shape, installed = run.stdout.splitlines()
    assert shape == "(70, 1, 9)"
    assert installed == "['numpy', 'rimer-forecaster', 'safetensors']"


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed outside the checkout; what it depends on is that of the tests."""
    site = tmp_path_factory.mktemp("installed") / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True)
    return site


def test_an_installed_wheel_forecasts_a_table(site: Path, tmp_path: Path) -> None:
    rows = [f"2024-01-{day:02},{day % 7}" for day in range(1, 32)]
    (tmp_path / "sales.csv").write_text("\n".join(["date,sold", *rows]), encoding="utf-8")
    (script,) = (site / "bin", site / "Scripts")[sys.platform == "win32"].glob("rimer-forecast*")
    code = f"""
import runpy, sys
sys.path.insert(0, {str(site)!r})
import rimer_forecaster
assert rimer_forecaster.__file__.startswith({str(site)!r})
sys.argv = ["rimer-forecast", "sales.csv", "--horizon", "7"]
runpy.run_module("rimer_forecaster", run_name="__main__")
"""
    run = python(code, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    forecasts = (tmp_path / "sales.forecast.csv").read_text(encoding="utf-8").splitlines()
    assert len(forecasts) == 8
    assert forecasts[1].startswith("sold,2024-02-01,")
    assert "rimer_forecaster.__main__" in script.read_bytes().decode("latin-1")


def test_an_installed_wheel_gives_no_package_called_kernels(site: Path, tmp_path: Path) -> None:
    code = f"""
import importlib.util, sys
sys.path.insert(0, {str(site)!r})
import rimer_forecaster.kernels
print(rimer_forecaster.kernels.__file__.startswith({str(site)!r}))
print(importlib.util.find_spec("kernels"))
"""
    printed = python(code, cwd=tmp_path).stdout.split()
    assert printed == ["True", "None"]


def test_the_editable_install_gives_no_package_called_kernels(tmp_path: Path) -> None:
    code = "import importlib.util; print(importlib.util.find_spec('kernels'))"
    assert python(code, cwd=tmp_path).stdout.strip() == "None"
