"""NDJSON tables read person by person: where each person's rows lie is found once, rows are read when asked.

A screening of ten thousand candidates leaves gigabytes of evidence; a page shows one person's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from adapter.model import wire

Row = TypeVar("Row")
# Rows of these tables begin with their subject, because that is the first field of their structs.
_SUBJECT = re.compile(rb'\{"(?:subject|id)":"((?:[^"\\]|\\.)*)"')


class Lines(Generic[Row]):
    """One table, opened: it stays readable after another run has put a new one in its place."""

    def __init__(self, path: Path, row: type[Row], mark: re.Pattern[bytes] | None = None) -> None:
        """``marked`` will be those who have a row in which the pattern is found."""
        self._row = row
        marked: set[str] = set()
        self._descriptor = os.open(path, os.O_RDONLY)
        self._spans: dict[str, list[tuple[int, int]]] = {}
        with path.open("rb") as lines:
            if os.fstat(lines.fileno()).st_ino != os.fstat(self._descriptor).st_ino:
                raise FileNotFoundError(path)  # swapped in between: the caller reads again
            at = 0
            for line in lines:
                found = _SUBJECT.match(line)
                subject = msgspec.json.decode(b'"' + found[1] + b'"', type=str) if found else ""
                if mark is not None and mark.search(line):
                    marked.add(subject)
                spans = self._spans.setdefault(subject, [])
                if spans and sum(spans[-1]) == at:
                    spans[-1] = (spans[-1][0], spans[-1][1] + len(line))
                else:
                    spans.append((at, len(line)))
                at += len(line)
        self.marked = frozenset(marked)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def of(self, subject: str) -> tuple[Row, ...]:
        """The rows of one person, in file order."""
        return tuple(self._decoded(self._spans.get(subject, ())))

    def _decoded(self, spans: Iterator[tuple[int, int]] | list[tuple[int, int]] | tuple[()]) -> Iterator[Row]:
        for start, length in spans:
            for line in os.pread(self._descriptor, length, start).splitlines():
                yield wire.decode(line, self._row)
