"""RimerForecaster under the suite of sktime, and among its forecasters."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from rimer_forecaster import RimerForecaster


@pytest.mark.conformity
@parametrize_with_checks(
    [RimerForecaster, RimerForecaster(n_epochs=1, random_state=0)], check_varname="check"
)
def test_conforms_to_sktime(obj: Any, check: str) -> None:
    """With its settings for tests, streams among them, and with its defaults but for the epochs."""
    results = check_estimator(obj, tests_to_run=check, raise_exceptions=False, verbose=False)
    assert results
    assert not {name: result for name, result in results.items() if result != "PASSED"}


def test_no_check_of_sktime_is_skipped_by_name() -> None:
    assert not RimerForecaster.get_class_tag("tests:skip_by_name")


@pytest.mark.parametrize("absent", [(), ("darts", "triton", "numba")])
def test_is_found_among_the_forecasters_of_the_package(absent: tuple[str, ...]) -> None:
    """The look-up imports whatever it is not told to leave out."""
    ignored: tuple[str, ...] = ("darts", "benchmark", "kernels")
    if not absent and all(map(find_spec, ("darts", "triton", "numba", "matplotlib"))):
        ignored = ()
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
from skbase.lookup import all_objects
from sktime.forecasting.base import BaseForecaster
found = all_objects(
    package_name="rimer_forecaster", object_types=BaseForecaster, modules_to_ignore={ignored}
)
assert [name for name, _ in found] == ["RimerForecaster"], found
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_darts_is_not_imported() -> None:
    code = """
import sys
from rimer_forecaster import RimerForecaster
from rimer_forecaster.layers import leaves
from sktime.datasets import load_airline
RimerForecaster(input_chunk_length=12, n_epochs=1).fit(load_airline(), fh=[1]).predict()
assert "darts" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
