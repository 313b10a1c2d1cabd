"""This machine: room on its disk, and the database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import text

from adapter.doctor.finding import Finding
from adapter.store.database import open_database, reading
from adapter.trial import Workspace

_LITTLE, _FULL = 5 * 2**30, 2**30  # bytes; a landing of 10,000 patients is a few GB


def disk(workspace: Workspace) -> list[Finding]:
    """Free space where the workspace is or will be."""
    place = _existing(workspace.root.resolve())
    free = shutil.disk_usage(place).free
    seen = f"{free / 2**30:.1f} GB are free for the workspace"
    if not os.access(place, os.W_OK):
        return [Finding("disk", "fail", f"{place} cannot be written to", "choose another --workspace")]
    if free < _FULL:
        return [Finding("disk", "fail", seen, "make room, or choose another --workspace")]
    return [Finding("disk", "warn" if free < _LITTLE else "ok", seen, "make room" if free < _LITTLE else "")]


def database(workspace: Workspace) -> list[Finding]:
    """Whether the database answers; a file that is not there yet is not made. Raises what opening raises."""
    where = workspace.database
    if isinstance(where, Path) and not where.exists():
        return [Finding("database", "ok", "a SQLite file, made at first use")]
    engine = open_database(where)
    try:
        with reading(engine) as connection:
            connection.execute(text("SELECT 1"))
        return [Finding("database", "ok", f"{engine.dialect.name} answers, its tables are of this version")]
    finally:
        engine.dispose()


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())
