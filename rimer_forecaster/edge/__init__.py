"""Forecasts of a trained network where there is no torch: by NumPy and safetensors alone."""

from .forecaster import EdgeForecaster

__all__ = ["EdgeForecaster"]
