"""Rows in key order, however many there are: few are held, many lie in sorted runs in a file without a name.

The file is the operating system's temporary one: nobody else can open it, and it is gone with the process.
What is read back are the very cells that were put in, exact numbers included.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from heapq import merge
from itertools import accumulate
from typing import IO, Any, NamedTuple, overload

import msgspec

from adapter.exports.columns import BATCH, batches
from adapter.exports.dataset import Column, Row, row_order, sorted_rows

HELD = 50_000
_FRACTION, _DECIMAL = 1, 2
_ENCODER = msgspec.msgpack.Encoder()


class _Place(NamedTuple):
    """Where a batch lies in the file, and how many rows it has."""

    offset: int
    size: int
    rows: int


class StoredRows(Sequence[Row]):
    """Rows in a file, read a batch at a time; may be read by several at once."""

    def __init__(self, file: IO[bytes], places: Sequence[_Place]) -> None:
        self._file, self._places = file, tuple(places)
        *self._starts, self._count = accumulate((place.rows for place in self._places), initial=0)
        self._last: tuple[int, list[Row]] = (-1, [])

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        for place in self._places:
            yield from self._read(place)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(self._count)))
        wanted = index + self._count if index < 0 else index
        if not 0 <= wanted < self._count:
            raise IndexError(index)
        number = bisect_right(self._starts, wanted) - 1
        if self._last[0] != number:
            self._last = number, self._read(self._places[number])
        return self._last[1][wanted - self._starts[number]]

    def _read(self, place: _Place) -> list[Row]:
        return _DECODER.decode(os.pread(self._file.fileno(), place.size, place.offset))


class SortedRows:
    """Takes rows in any order, some at a time, and gives them in the order of the columns' keys.

    Up to ``held`` rows are kept in memory, as are all rows of a dataset that has no more.
    """

    def __init__(self, columns: Sequence[Column], held: int = HELD) -> None:
        self._columns, self._held_most = columns, held
        self._numeric = [place for place, column in enumerate(columns) if column.is_numeric]
        self._order = row_order(columns)
        self._held: list[Row] = []
        self._runs: list[list[_Place]] = []
        self._in_order = True
        self._highest: Any = None
        self._file: IO[bytes] | None = None

    def add(self, rows: Iterable[Row]) -> None:
        self._held += rows
        if len(self._held) > self._held_most:
            self._store()

    def finished(self) -> Sequence[Row]:
        """All rows, sorted; nothing may be added afterwards."""
        if self._file is None:
            return sorted_rows(self._columns, self._held)
        if self._held:
            self._store()
        places = [place for run in self._runs for place in run]
        if self._in_order:
            return StoredRows(self._file, places)
        runs = [StoredRows(self._file, run) for run in self._runs]
        merged = self._write(merge(*runs, key=self._order))
        return StoredRows(self._file, merged)

    def _store(self) -> None:
        rows = sorted_rows(self._columns, self._held)
        lowest = self._order(rows[0])
        self._in_order &= self._highest is None or self._highest <= lowest
        self._highest = self._order(rows[-1])
        self._runs.append(self._write(rows))
        self._held = []

    def _write(self, rows: Iterable[Row]) -> list[_Place]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="adapter-rows-")  # noqa: SIM115 - lives as the rows do
        places = []
        for batch in batches(rows, BATCH):
            data = _ENCODER.encode([self._packed(row) for row in batch])
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(data)
            places.append(_Place(offset, len(data), len(batch)))
        self._file.flush()
        return places

    def _packed(self, row: Row) -> list[Any]:
        """msgpack knows neither Fraction nor, as a number, Decimal."""
        cells: list[Any] = list(row)
        for place in self._numeric:
            cell = cells[place]
            if isinstance(cell, Fraction):
                cells[place] = msgspec.msgpack.Ext(_FRACTION, str(cell).encode())
            elif isinstance(cell, Decimal):
                cells[place] = msgspec.msgpack.Ext(_DECIMAL, str(cell).encode())
        return cells


@lru_cache(65_536)
def _number(kind: int, text: bytes) -> Fraction | Decimal:
    return Fraction(text.decode()) if kind == _FRACTION else Decimal(text.decode())


def _unpacked(kind: int, data: memoryview) -> Fraction | Decimal:
    return _number(kind, bytes(data))


_DECODER = msgspec.msgpack.Decoder(list[tuple[Any, ...]], ext_hook=_unpacked)
