"""Comparisons of forecasting models on one series, with the same windows and budget for all."""

from .comparison import Comparison, compare, versions
from .task import Task, make_task, read_csv

__all__ = ["Comparison", "Task", "compare", "make_task", "read_csv", "versions"]
