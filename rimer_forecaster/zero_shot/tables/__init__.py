"""Series in files: CSV and parquet, wide or long, and the .tsf of the Monash archive.

What is not said is found: the column of times, the columns that name a series, the columns of
values, and the step. What was taken for what is told. What cannot be read, or could be read in two
ways, is refused with the reason and the columns that were seen.
"""

from .columns import read_series
from .files import is_readable, name_without_ending
from .times import SeriesTable, TableError, times_after, usual_season

__all__ = [
    "SeriesTable",
    "TableError",
    "is_readable",
    "name_without_ending",
    "read_series",
    "times_after",
    "usual_season",
]
