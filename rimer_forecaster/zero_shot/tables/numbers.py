"""Numbers as people and programs write them: decimal commas, thousands, currencies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .series import TableError

__all__ = [
    "Marks",
    "counts_rows",
    "holds_numbers",
    "holds_words",
    "is_empty",
    "is_number",
    "marks_of",
    "numbers_of",
]

_MISSING = {
    "", "-", "--", "?", "*", ".", "..", "...", "na", "n/a", "n.a.", "nan", "<na>", "nat", "nil",
    "none", "null", "missing", "#n/a", "#na", "#value!", "#ref!", "#div/0!", "#null!", "#num!",
}  # fmt: skip
_TRIMMED = re.compile(r"^[$€£¥]\s*|\s*[%$€£¥]$|(?<=\d)['\u2019\s](?=\d{3}(?!\d))")
_NUMBER = re.compile(r"(?:\d+(?:[.,]\d+)*[.,]?|[.,]\d+)(?:[eE][+-]?\d+)?")


_PLAIN_DECIMAL = re.compile(r"^-?\d+\.(?:\d{1,2}|\d{4,})$|^-?0\.\d+$")
_SAMPLED = 2000
"""Cells by which the kind of a column is told."""


@dataclass(frozen=True)
class Marks:
    """What a file writes before decimals, and between thousands if anything."""

    decimal: str = "."
    thousands: str = ""


def is_number(text: str) -> bool:
    """Whether a text is a number as Python writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def numbers_of(column: pd.Series, marks: Marks) -> tuple[pd.Series, pd.Series]:
    """Return the numbers of a column, NaN where missing, and where it holds something else."""
    if column.dtype != object:
        if not pd.api.types.is_numeric_dtype(column):
            return pd.Series(np.nan, column.index), pd.Series(True, column.index)
        return column.astype("float64"), pd.Series(False, column.index)
    if marks == Marks():
        plain = pd.to_numeric(column, errors="coerce").astype("float64")  # takes no 1_000 or 0x1
    else:
        plain = pd.Series(np.nan, column.index)
    left = column[plain.isna()]
    left = left[[x.lower() not in _MISSING for x in left]]
    if len(left):
        written = {text: _plain(text, marks) for text in left.unique()}
        plain[left.index] = np.array([written[x] for x in left])
    other = pd.Series(False, column.index)
    other[left.index] = plain[left.index].isna()
    return plain, other


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column holds numbers, but perhaps for some of its rows."""
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column)
    known = [x for x in column if x.lower() not in _MISSING]
    some = known[:: max(1, len(known) // _SAMPLED)]
    return bool(some) and 2 * sum(map(_is_like_number, some)) >= len(some)


def holds_words(column: pd.Series) -> bool:
    """Whether a column of text holds something besides numbers."""
    if column.dtype != object:
        return False
    return any(x.lower() not in _MISSING and not _is_like_number(x) for x in column)


def _is_like_number(text: str) -> bool:
    return is_number(text) or _NUMBER.fullmatch(_bare(text)[1]) is not None


def is_empty(column: pd.Series) -> bool:
    """Whether a column holds nothing but words for nothing."""
    if column.dtype != object:
        return bool(column.isna().all())
    return all(x.lower() in _MISSING for x in column)


def counts_rows(column: pd.Series) -> bool:
    """Whether a column numbers the rows, anew for each part of a table that was joined."""
    numbers, other = numbers_of(column, Marks())
    if other.any() or numbers.isna().any() or numbers.iloc[0] not in (0, 1):
        return False
    x = numbers.to_numpy()
    return bool(((np.diff(x) == 1) | (x[1:] == x[0])).all())


def _is_infinite(text: str) -> bool:
    return text.lower().lstrip("+-") in ("inf", "infinity")


def _bare(text: str) -> tuple[str, str]:
    """Sign and digits of what may be a number."""
    text = text.replace("\u2212", "-")
    sign = ""
    if len(text) > 2 and text[0] == "(" and text[-1] == ")":  # as accountants write it
        sign, text = "-", text[1:-1]
    elif text[:1] in ("+", "-"):
        sign, text = text[0], text[1:].strip()
    text = _TRIMMED.sub("", _TRIMMED.sub("", text))
    if not sign and text[:1] in ("+", "-"):
        sign, text = text[0], text[1:]
    return sign, text


def _plain(text: str, marks: Marks) -> float:
    """Return a number; NaN if it is none."""
    sign, text = _bare(text)
    if _is_infinite(text):
        return float(f"{sign}inf")
    if not _NUMBER.fullmatch(text):
        return np.nan
    whole, _, rest = text.partition(marks.decimal)
    if marks.thousands and marks.thousands in whole:
        if not re.fullmatch(rf"\d{{1,3}}(?:{re.escape(marks.thousands)}\d{{3}})+", whole):
            return np.nan
        whole = whole.replace(marks.thousands, "")
    plain = f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"
    return float(plain) if is_number(plain) else np.nan


def marks_of(columns: Iterable[pd.Series], separator: str | None, row: str) -> Marks:
    """Find what a file writes before decimals and between thousands.

    Parameters
    ----------
    columns
        Of text; others say nothing.
    separator
        Between the cells of a line: with semicolons a comma is more probably one of decimals.
    row
        What the index of the columns counts.

    Raises
    ------
    TableError
        If the file does not write all of its numbers alike, or could be read in two ways.
    """
    decimal: dict[str, str] = {}  # mark: where it is certainly one of decimals
    grouping: dict[str, str] = {}  # mark: where it is certainly one of thousands
    unclear: dict[str, str] = {}  # mark: where it may be either
    small = large = False  # whole numbers without a mark, below 1,000 and above
    for column in columns:
        if column.dtype != object:
            continue
        if not any("," in x or x.count(".") > 1 for x in column):
            plain = next((x for x in column.items() if _PLAIN_DECIMAL.search(x[1])), None)
            if plain is not None:
                where = f"{plain[1]!r} in {row} {plain[0]} of {column.name!r}"
                decimal.setdefault(".", where)
                continue
        for line, text in column.drop_duplicates().items():
            digits = _bare(text)[1]
            if not _NUMBER.fullmatch(digits):
                continue
            where = f"{text!r} in {row} {line} of {column.name!r}"
            marks = re.findall(r"[.,]", digits)
            if not marks:
                small, large = small or len(digits) < 4, large or len(digits) > 3
            elif len(set(marks)) == 2:
                decimal.setdefault(marks[-1], where)
                grouping.setdefault(marks[0], where)
            elif len(marks) > 1:
                grouping.setdefault(marks[0], where)
            elif re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", digits):
                unclear.setdefault(marks[0], where)
            else:
                decimal.setdefault(marks[0], where)
    for mark in set(decimal) & set(grouping):
        raise TableError(
            f"{decimal[mark]} has {mark!r} before decimals, and {grouping[mark]} between thousands."
        )
    if len(decimal) == 2:
        raise TableError(f"numbers are written in two ways: {decimal['.']}, and {decimal[',']}.")
    if len(grouping) == 2:
        raise TableError(f"numbers are written in two ways: {grouping['.']}, and {grouping[',']}.")
    if decimal or grouping:
        mark = next(iter(decimal), None) or {",": ".", ".": ","}[next(iter(grouping))]
        other = {",": ".", ".": ","}[mark]
        if other in grouping or other in unclear:
            return Marks(mark, other)
        return Marks(mark)
    if len(unclear) == 2:
        raise TableError(f"{unclear['.']}, and {unclear[',']}: which mark is one of decimals?")
    if not unclear:
        return Marks()
    return _of_unclear(*next(iter(unclear.items())), separator, small=small, large=large)


def _of_unclear(mark: str, where: str, separator: str | None, *, small: bool, large: bool) -> Marks:
    """Decide on a mark that three digits follow wherever it stands."""
    as_decimal = Marks(mark)
    as_grouping = Marks({",": ".", ".": ","}[mark], mark)
    if large:  # 1234 beside 1,234: nobody marks thousands now and then
        return as_decimal
    if mark == ".":
        return as_grouping if separator == ";" and small else as_decimal
    if separator == ",":
        return as_grouping
    if separator == ";" and not small:
        return as_decimal
    raise TableError(
        f"{where} may be {where[1:].partition(mark)[0]} and three decimals, or thousands. Write "
        "decimals after a point, and thousands without a mark."
    )
