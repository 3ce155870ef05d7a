"""Comparisons of forecasting models on one series, with the same windows and budget for all."""

from .. import missing_package

try:
    from .comparison import Comparison, compare, versions
    from .csv_file import read_csv
    from .layer_table import layer_table
    from .runs import peak_memory
    from .task import Task, make_task
except ModuleNotFoundError as error:
    raise missing_package(error, __name__, "benchmark") from error

__all__ = [
    "Comparison",
    "Task",
    "compare",
    "layer_table",
    "make_task",
    "peak_memory",
    "read_csv",
    "versions",
]
