"""Comparisons of forecasting models on one series, with the same windows and budget for all."""

from .. import missing_package

try:
    from .comparison import Comparison, compare, versions
    from .csv_file import read_csv
    from .layer_table import layer_table
    from .panel import Panel, make_panel
    from .panel_comparison import PanelComparison, compare_panel
    from .runs import peak_memory
    from .task import Task, make_task
except ModuleNotFoundError as error:
    raise missing_package(error, __name__, "benchmark") from error

__all__ = [
    "Comparison",
    "Panel",
    "PanelComparison",
    "Task",
    "compare",
    "compare_panel",
    "layer_table",
    "make_panel",
    "make_task",
    "peak_memory",
    "read_csv",
    "versions",
]
