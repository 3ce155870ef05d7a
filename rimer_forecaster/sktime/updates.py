"""Updates of an sktime forecaster that happen whole or not at all."""

from __future__ import annotations

from typing import Any, Self

from sktime.forecasting.base import BaseForecaster

__all__ = ["AllOrNothing"]


class AllOrNothing(BaseForecaster):
    """A forecaster whose public updates are made on a copy, which it then becomes.

    What a subclass learns stands in one attribute, `_fitted`, that ``_update`` replaces and never
    changes in place.
    """

    def update(self, y: Any, X: Any = None, update_params: bool = True) -> Self:
        """Read new time points, and train on them if wanted; all of it, or nothing.

        An exception or an interrupt leaves the forecaster as it was, its cutoff included. See
        sktime.
        """
        return self._all_or_nothing("update", y=y, X=X, update_params=update_params)

    def update_predict_single(
        self, y: Any = None, fh: Any = None, X: Any = None, update_params: bool = True
    ) -> Any:
        """Update and forecast; all of it, or nothing. See sktime."""
        arguments = {"y": y, "fh": fh, "X": X, "update_params": update_params}
        return self._all_or_nothing("update_predict_single", **arguments)

    def update_predict(
        self,
        y: Any,
        cv: Any = None,
        X: Any = None,
        update_params: bool = True,
        reset_forecaster: bool = True,
    ) -> Any:
        """Update and forecast again and again; all of it, or nothing. See sktime."""
        arguments = {"y": y, "cv": cv, "X": X, "update_params": update_params}
        arguments["reset_forecaster"] = reset_forecaster
        return self._all_or_nothing("update_predict", **arguments)

    def _all_or_nothing(self, method: str, **arguments: Any) -> Any:
        """Call a method of sktime on a copy, and become it when the method has succeeded.

        sktime moves the cutoff first and updates then.
        """
        fitted, other = getattr(self, "_fitted", None), self._twin()
        result = getattr(super(AllOrNothing, other), method)(**arguments)
        if getattr(self, "_fitted", None) is not fitted:
            raise RuntimeError(
                f"another thread has fitted or updated this forecaster while {method} was at work, "
                "whose result is lost. Let one thread at a time do so."
            )
        self.__dict__ = other.__dict__  # one assignment, which no interrupt can halve
        return self if result is other else result

    def _twin(self) -> Self:
        """Return a copy that shares everything, of which sktime changes one thing in place."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._converter_store_y = dict(self._converter_store_y)
        return other

    def _check_fh(self, fh: Any, pred_int: bool = False) -> Any:
        """Check a horizon, and return it: sktime returns the one that was checked last.

        Another thread may have checked its own in between.
        """
        other = self._twin()
        checked = super(AllOrNothing, other)._check_fh(fh, pred_int)
        self._fh: Any = other._fh
        return checked
