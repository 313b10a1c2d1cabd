"""Lent lines on disk: written once by the process that leads, looked up by all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from adapter.model.resource import RawResource
from adapter.screening.deal import Node
from adapter.screening.parallel.parts import Lent

_TABLES = (
    "CREATE TABLE lines (number INTEGER PRIMARY KEY, node BLOB, place TEXT, line BLOB)",
    "CREATE TABLE keys (key BLOB, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID",
)


def write_shelf(path: Path, lent: Iterable[tuple[str, Lent]]) -> None:
    """``lent`` are lines with ``file:line``; the file appears whole or not at all."""
    draft = path.with_name(f"{path.name}.partial-{os.getpid()}")
    draft.unlink(missing_ok=True)
    with sqlite3.connect(draft) as shelf:
        for table in _TABLES:
            shelf.execute(table)
        for number, (place, one) in enumerate(lent):
            shelf.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", (number, one.node, place, one.line))
            shelf.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", ((key, number) for key in one.keys))
    shelf.close()
    draft.replace(path)


class DiskShelf:
    """The lent lines of a screening, as :class:`adapter.screening.deal.Shelf`."""

    def __init__(self, path: Path) -> None:
        self._shelf = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)

    def under(self, key: bytes) -> Iterable[int]:
        return [row[0] for row in self._shelf.execute("SELECT number FROM keys WHERE key = ?", (key,))]

    def line(self, number: int) -> bytes:
        return bytes(self._row(number)[2])

    def resource(self, number: int) -> tuple[Node, RawResource]:
        node, place, line = self._row(number)
        return bytes(node), RawResource(bytes(line), place)

    def _row(self, number: int) -> tuple[bytes, str, bytes]:
        row = self._shelf.execute(
            "SELECT node, place, line FROM lines WHERE number = ?", (number,)
        ).fetchone()
        return row[0], row[1], row[2]

    def close(self) -> None:
        self._shelf.close()
