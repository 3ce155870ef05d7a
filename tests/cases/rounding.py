"""Equal up to what rounding can do on any processor, in units of the numbers' own precision."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same_but_for_rounding(
    actual: Any, expected: Any, *, roundings: int = 500, dtype: Any = np.float32
) -> None:
    """Hold two results of the same computation, in another order, against each other.

    Sums in another order, fused multiplications and other libraries' exponentials each move a
    result by a few units in its last place. A forecast is some hundred of these away from its
    input, and errors of one value are of the size of the largest that it was computed with.
    """
    actual, expected = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    unit = np.finfo(dtype).eps * size
    np.testing.assert_allclose(actual, expected, rtol=0, atol=roundings * unit)
