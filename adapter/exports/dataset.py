"""A dataset: columns with everything a file format needs to know, and rows of exact values.

The builder makes it, the writers (:mod:`xpt`, :mod:`dataset_json`) take it, and neither knows the
other. A cell is text, an integer, an exact number or None; "" and None both mean missing text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from types import NoneType
from typing import Literal, TypeAlias

import msgspec

from adapter.errors import ExportError

Cell: TypeAlias = str | int | Decimal | Fraction | None
Row: TypeAlias = tuple[Cell, ...]
Kind = Literal["text", "integer", "float", "date", "datetime"]

DAY_FORMATS = {
    "E8601DA.": ("E8601DA", 10),
    "DATE9.": ("DATE", 9),
    "YYMMDD10.": ("YYMMDD", 10),
    "MMDDYY10.": ("MMDDYY", 10),
    "DDMMYY10.": ("DDMMYY", 10),
}
"""SAS formats that show an integer as a day: name and width. This program writes the first."""
_DAY_0 = date(1960, 1, 1)  # of SAS
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,7}")
ISO_8601 = re.compile(
    r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01])"
    r"(?:T(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?)?)?)?"
)
_MAX_LABEL = 40
_MAX_CHAR = 200
_BATCH = 4096


class Column(msgspec.Struct, frozen=True):
    """One variable. ``length`` is bytes for character columns; numeric columns are always 8 bytes.

    ``key`` is the position in the dataset's natural key, from 1; 0 is not a key. ``format`` is the SAS
    display format: with one of ``DAY_FORMATS`` an integer is a day, counted from 1960-01-01.
    """

    name: str
    label: str
    kind: Kind
    length: int = 8
    key: int = 0
    format: str = ""

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("integer", "float")

    @property
    def is_day(self) -> bool:
        return self.format in DAY_FORMATS


class Dataset(msgspec.Struct, frozen=True):
    """A named table; every row has one cell per column. The rows may lie on disk: read them in order."""

    name: str
    label: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]

    @property
    def domain(self) -> str:
        """The domain it belongs to: SUPPLB to LB, as Define-XML and ODM have it."""
        return self.name.removeprefix("SUPP") or self.name

    def each(self) -> Iterator[dict[str, Cell]]:
        """The rows as dictionaries, one at a time."""
        names = [column.name for column in self.columns]
        return (dict(zip(names, row, strict=True)) for row in self.rows)

    def records(self) -> list[dict[str, Cell]]:
        """The rows as dictionaries, all of them."""
        return list(self.each())


def check(dataset: Dataset) -> None:
    """Refuse what a version 5 transport file cannot carry unchanged.

    Limits: SAS TS-140 and the FDA Study Data Technical Conformance Guide (names of 8, labels of 40,
    text of 200 bytes, ASCII). Nothing is cut, folded or guessed here. Raises :class:`ExportError`.
    """
    if not _NAME.fullmatch(dataset.name):
        raise _refusal(dataset.name, "the dataset name must be 1 to 8 upper-case letters and digits")
    _check_label(dataset.name, dataset.label)
    seen: set[str] = set()
    for column in dataset.columns:
        place = f"{dataset.name}.{column.name}"
        if not _NAME.fullmatch(column.name) or column.name in seen:
            raise _refusal(place, "the variable name must be unique, 1 to 8 upper-case letters and digits")
        seen.add(column.name)
        _check_label(place, column.label)
        if not column.is_numeric and not 1 <= column.length <= _MAX_CHAR:
            raise _refusal(place, f"the length must be 1 to {_MAX_CHAR} bytes, not {column.length}")
    checks = [_cells_check(dataset.name, column) for column in dataset.columns]
    rows = iter(dataset.rows)
    while batch := list(islice(rows, _BATCH)):
        for width in {len(row) for row in batch} - {len(checks)}:
            raise _refusal(dataset.name, f"a row has {width} cells for {len(checks)} variables")
        for check_cells, cells in zip(checks, zip(*batch, strict=True), strict=True):
            check_cells(cells)


def day_number(day: date) -> int:
    """A numeric date as SAS counts it."""
    return (day - _DAY_0).days


def day_text(number: int) -> str:
    """The ISO 8601 text of a numeric date."""
    return (_DAY_0 + timedelta(days=number)).isoformat()


def sort_key(cell: Cell) -> tuple[int, Fraction | int, str]:
    """A total order for cells of one column: missing first, then numbers, then text."""
    if cell is None or cell == "":
        return (0, 0, "")
    if isinstance(cell, str):
        return (2, 0, cell)
    return (1, cell if isinstance(cell, int) else Fraction(cell), "")


def row_order(columns: Sequence[Column]) -> Callable[[Row], tuple[tuple[int, Fraction | int, str], ...]]:
    """What rows are sorted by: the key variables, then all others, so that input order never shows."""
    keyed = sorted((column.key, index) for index, column in enumerate(columns) if column.key)
    order = [index for _, index in keyed] + [i for i, column in enumerate(columns) if not column.key]
    return lambda row: tuple(sort_key(row[index]) for index in order)


def sorted_rows(columns: Sequence[Column], rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows in the order of :func:`row_order`."""
    return tuple(sorted(rows, key=row_order(columns)))


def _check_label(place: str, label: str) -> None:
    if not label.isascii() or not 1 <= len(label) <= _MAX_LABEL:
        raise _refusal(place, f"the label must be 1 to {_MAX_LABEL} ASCII characters")


def _cells_check(dataset: str, column: Column) -> Callable[[Sequence[Cell]], None]:
    """Each text of a batch once; numbers one by one only where their types do not settle it."""
    one = _cell_check(dataset, column)
    settled: set[type] = {int, NoneType} if column.kind == "integer" else {int, NoneType, Fraction, Decimal}

    def check_cells(cells: Sequence[Cell]) -> None:
        if column.is_numeric and settled.issuperset(map(type, cells)):
            return
        for cell in cells if column.is_numeric else set(cells):
            one(cell)

    return check_cells


def _cell_check(dataset: str, column: Column) -> Callable[[Cell], None]:
    place = f"{dataset}.{column.name}"

    def numeric(cell: Cell) -> None:
        if isinstance(cell, str | bool):
            raise _refusal(place, "text in a numeric variable")
        if column.kind == "integer" and not (cell is None or isinstance(cell, int) or cell == int(cell)):
            raise _refusal(place, "a fraction in an integer variable")

    def text(cell: Cell) -> None:
        if cell is None:
            return
        if not isinstance(cell, str):
            raise _refusal(place, "a number in a character variable")
        if not cell.isascii() or not cell.isprintable():
            raise _refusal(place, "text that is not printable ASCII", "map it to a coded term")
        if len(cell) > column.length:
            raise _refusal(
                place,
                f"{len(cell)} bytes in a variable of length {column.length}",
                "raise the length in the dataset's specification (at most 200) or shorten the term",
            )
        if column.kind in ("date", "datetime") and cell and not ISO_8601.fullmatch(cell):
            raise _refusal(place, "not an ISO 8601 date or a truncation of one")

    return numeric if column.is_numeric else text


def _refusal(place: str, message: str, fix: str = "") -> ExportError:
    return ExportError(message, where=place, fix=fix)
