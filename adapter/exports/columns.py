"""Rows a batch at a time and turned into columns: what every file writer reads.

A batch is all that a writer holds of a dataset, so a million rows need no more room than some thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from adapter.exports.dataset import Cell, Row

BATCH = 4096
_T = TypeVar("_T")


class Remembered(dict[Cell, _T]):
    """What a function makes of each value, made once: units, names and readings come again and again.

    Values that are equal are the same to it: 1, Decimal("1.0") and Fraction(1) have one text. It forgets all
    when it is full, so that a column of ever new values needs no more room than any other.
    """

    def __init__(self, make: Callable[[Cell], _T], most: int = 16_384) -> None:
        super().__init__()
        self._make, self._most = make, most

    def __missing__(self, cell: Cell) -> _T:
        if len(self) >= self._most:
            self.clear()
        made = self[cell] = self._make(cell)
        return made

    def of(self, column: Sequence[Cell]) -> list[_T]:
        return list(map(self.__getitem__, column))


def batches(rows: Iterable[Row], size: int = BATCH) -> Iterator[list[Row]]:
    """The rows in order, ``size`` at a time."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def columns_of(rows: Iterable[Row]) -> Iterator[tuple[tuple[Cell, ...], ...]]:
    """Batch after batch as one tuple of cells a column; rows are of one width."""
    return (tuple(zip(*batch, strict=True)) for batch in batches(rows))
