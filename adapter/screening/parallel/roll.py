"""The roll of a range: for each line whom it names and where it is, so that candidates who come later are
found without reading the range again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapter.screening.parallel.parts import at_the_end, end_with
from adapter.source.ndjson import Block, line_ends, numbered_lines, type_of
from adapter.source.patients import Candidates, named_in
from adapter.source.places import Hashes

# A hash of :func:`adapter.source.patients.named_in`, the bounds of the line in the file as it is without
# compression, and its number in the range, from 1.
_ROW = np.dtype([("name", "<u8"), ("start", "<u8"), ("size", "<u4"), ("number", "<u4")])
_AT_ONCE = 2**16


class Account(msgspec.Struct, frozen=True, array_like=True):
    """How many rows follow one another from the beginning; how many line ends the range has, and Patients or
    lines that cannot be read, where these are counted."""

    rows: int
    lines: int
    patients: int


class Line(NamedTuple):
    number: int
    start: int
    size: int


class RollWriter:
    """Writes the roll of the blocks that pass; it stands whole or not at all."""

    def __init__(self, path: Path, *, count_patients: bool) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.partial-{os.getpid()}")
        self._count_patients = count_patients
        self._rows = self._lines = self._patients = 0

    def __enter__(self) -> RollWriter:
        self._out = self._draft.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        with self._out:
            if kind is None:
                end_with(self._out, Account(self._rows, self._lines, self._patients))
        if kind is None:
            self._draft.replace(self._path)
        else:
            self._draft.unlink()

    def passing(self, blocks: Iterable[tuple[str, Block]]) -> Iterator[tuple[str, Block]]:
        for name, block in blocks:
            self._add(block)
            yield name, block

    def _add(self, block: Block) -> None:
        self._lines += line_ends(block.data)
        if self._count_patients:
            self._patients += sum(type_of(line) in ("Patient", "") for _, line in numbered_lines(block))
        named = named_in(block.data)
        rows = np.empty(len(named.names), _ROW)
        rows["name"] = named.names
        rows["start"] = named.starts + block.start
        rows["size"] = named.ends - named.starts
        rows["number"] = named.numbers + block.first_line
        self._rows += len(rows)
        self._out.write(rows.data)


def account_of(path: Path) -> Account:
    return at_the_end(path, Account)


def names_any(path: Path, patients: Hashes) -> bool:
    """Whether a line of a range names one of some patients."""
    return len(patients) > 0 and any(np.isin(rows["name"], patients).any() for rows in _rows(path))


def lines_for(path: Path, candidates: Candidates) -> Iterator[Line]:
    """The lines of a range that may concern one of some candidates, in order."""
    last = 0
    for some in _rows(path):
        rows = some[candidates.among(some["name"])]
        for number, start, size in zip(*(rows[one].tolist() for one in Line._fields), strict=True):
            if number > last:
                yield Line(number, start, size)
                last = number


def _rows(path: Path) -> Iterator[NDArray[np.void]]:
    left = account_of(path).rows
    with path.open("rb") as file:
        while left:
            rows = np.fromfile(file, _ROW, min(left, _AT_ONCE))
            left -= len(rows)
            yield rows
