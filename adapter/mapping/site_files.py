"""The files of ``mappings/sites/<site>`` as text: a row added, a file replaced whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from adapter.errors import ConfigError, MappingError
from adapter.mappers.terminology.site import SITE_CODE, SITE_UNIT

COLUMNS: Mapping[str, tuple[str, ...]] = {"codes.csv": SITE_CODE, "units.csv": SITE_UNIT}


def with_row(content: bytes, file: str, cells: Mapping[str, str]) -> bytes:
    """The file with one row more at its end; what is there stays byte for byte.

    Raises :class:`MappingError` for a file or column that is none, and for text a CSV row cannot hold.
    """
    columns = COLUMNS.get(file)
    if columns is None:
        raise MappingError(f"no file {file!r}", where="mapping", fix=f"one of {', '.join(COLUMNS)}")
    if unknown := sorted(cells.keys() - set(columns)):
        raise MappingError(f"no column {unknown[0]!r}", where=file, fix=f"one of {', '.join(columns)}")
    row = [cells.get(column, "").strip() for column in columns]
    if any(character in cell for cell in row for character in "\r\n\0"):
        raise MappingError("a cell with a line break", where=file, fix="write it in one line")
    start = content or (",".join(columns) + "\n").encode()
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return start + (b"" if start.endswith(b"\n") else b"\n") + line.getvalue().encode()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` in place of the file, so that a reader sees the old or the new one whole.

    Raises :class:`ConfigError` where the folder cannot be written.
    """
    try:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft, path.stat().st_mode & 0o777 if path.exists() else 0o644)
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as fault:
        raise ConfigError(
            f"the site's mappings cannot be written ({fault.strerror})",
            where=f"mappings/sites/{path.parent.name}/{path.name}",
            fix="keep mappings/ in a folder that the adapter may write to, and name it in ADAPTER_MAPPINGS",
        ) from fault
