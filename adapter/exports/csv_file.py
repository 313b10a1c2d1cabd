"""CSV as RFC 4180 has it: a header line, CRLF, quotes where needed, UTF-8, no byte order mark.

Numbers are exact text (:func:`adapter.exports.exact.exact_text`), never rounded to a double. Missing is
empty. A text that a spreadsheet would take for a formula (it begins with ``= + - @`` and is no number) gets
an apostrophe in front, and so does one that begins with an apostrophe, so that the mark can be taken off
again without doubt. Sources: RFC 4180; OWASP, *CSV Injection*.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from adapter.errors import ExportError
from adapter.exports.columns import Remembered, columns_of
from adapter.exports.dataset import Dataset, check
from adapter.exports.exact import exact_text

MARK = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", MARK)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def write_csv(dataset: Dataset, path: Path) -> None:
    """Write one dataset; raises :class:`ExportError` for rows that break their own columns."""
    check(dataset)
    write_checked(dataset, path)


def write_checked(dataset: Dataset, path: Path) -> None:
    """:func:`write_csv` of a dataset that has passed :func:`check`."""
    texts = [Remembered(lambda cell: marked(exact_text(cell))) for _ in dataset.columns]
    with path.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, lineterminator="\r\n")
        lines.writerow([column.name for column in dataset.columns])
        for columns in columns_of(dataset.rows):
            cells = [one.of(column) for one, column in zip(texts, columns, strict=True)]
            lines.writerows(zip(*cells, strict=True))


def read_csv(path: Path) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The names and the rows of a file of ours, as text without the marks.

    Raises :class:`ExportError` for a row of another width.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        names, *rows = csv.reader(stream, strict=True)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ExportError(f"row {number} has {len(row)} of {len(names)} cells", where=str(path))
    return tuple(names), tuple(tuple(unmarked(cell) for cell in row) for row in rows)


def marked(text: str) -> str:
    """The text as a spreadsheet may open it."""
    return f"{MARK}{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def unmarked(text: str) -> str:
    return text.removeprefix(MARK)
