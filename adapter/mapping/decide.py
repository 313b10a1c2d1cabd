"""From a proposed row to the site's file: a second person approves, every version stays, any can come back.

The file and the log change together: the file is replaced last, before the transaction is committed. If a
crash falls between the two, the log lacks what the file has; the next decision sees a file it does not know,
and keeps it as a version of its own, as it does after somebody edited the file by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from adapter.errors import ConfigError
from adapter.mapping.impact import checked
from adapter.mapping.site_files import replace, sha256_of, with_row
from adapter.store.mapping_log import (
    MappingLog,
    Proposal,
    Version,
    add_version,
    alone,
    decide,
    last_version,
)
from adapter.trial import Trial, open_trial

Signed = Mapping[str, Any] | None


def propose(
    trial: Trial, engine: Engine, file: str, cells: Mapping[str, str], *, by: str, reason: str, now: datetime
) -> Proposal:
    """Keep a proposal; its row names ``by`` as who answers for it, and the day.

    Raises :class:`MappingError`, with the line, for a row that the tables refuse.
    """
    _said(reason)
    row = owned(cells, by, now)
    checked(trial, file, row)
    return MappingLog(engine).propose(trial.site.site_id, file, row, by=by, reason=reason.strip(), now=now)


def owned(cells: Mapping[str, str], by: str, now: datetime) -> dict[str, str]:
    """The row with who answers for it and since when."""
    return {**cells, "owner": by, "date": now.date().isoformat()}


def approve(
    trial: Trial,
    engine: Engine,
    number: int,
    *,
    by: str,
    why: str,
    now: datetime,
    signed: Signed = None,
) -> tuple[Proposal, Trial]:
    """Write a proposal into the site's file; gives the trial as it is now. ``signed`` is a signature's detail
    for the audit, here and below.

    Raises :class:`ConfigError` if ``by`` proposed it, it was decided before, or the file cannot be written,
    and :class:`MappingError` if the tables have changed so that they refuse it now.
    """
    _said(why)
    site = trial.site.site_id
    with engine.begin() as connection:
        alone(connection, site)
        done = decide(connection, number, "approved", by=by, why=why.strip(), now=now, signed=signed)
        _of_this_site(done, site)
        path = _path(trial, done.file)
        before = path.read_bytes() if path.exists() else b""
        _remember(connection, site, done.file, before, now)
        checked(trial, done.file, done.cells)
        after = with_row(before, done.file, done.cells)
        _put(connection, path, site, done.file, after, by, f"proposal {number}: {why.strip()}", now)
    return done, open_trial(trial.folder, site, trial.mappings)


def reject(
    trial: Trial,
    engine: Engine,
    number: int,
    *,
    by: str,
    why: str,
    now: datetime,
    signed: Signed = None,
) -> Proposal:
    """Whoever proposed it may take it back the same way."""
    _said(why)
    with engine.begin() as connection:
        alone(connection, trial.site.site_id)
        done = decide(connection, number, "rejected", by=by, why=why.strip(), now=now, signed=signed)
        _of_this_site(done, trial.site.site_id)
    return done


def roll_back(
    trial: Trial,
    engine: Engine,
    number: int,
    *,
    by: str,
    why: str,
    now: datetime,
    signed: Signed = None,
) -> tuple[Version, Trial]:
    """Put the file back as it was in version ``number``, as a new version."""
    _said(why)
    site = trial.site.site_id
    wanted = MappingLog(engine).version(number)
    if wanted.site != site:
        raise ConfigError(f"version {number} is of {wanted.site}", where="mapping", fix="name that site")
    with engine.begin() as connection:
        alone(connection, site)
        path = _path(trial, wanted.file)
        _remember(connection, site, wanted.file, path.read_bytes() if path.exists() else b"", now)
        reason = f"back to version {number}: {why.strip()}"
        _put(connection, path, site, wanted.file, wanted.content.encode(), by, reason, now, signed)
    return wanted, open_trial(trial.folder, site, trial.mappings)


def _put(
    connection: Connection,
    path: Path,
    site: str,
    file: str,
    content: bytes,
    by: str,
    why: str,
    now: datetime,
    signed: Signed = None,
) -> None:
    version = Version(0, site, file, sha256_of(content), now.isoformat(), by, why, content.decode())
    add_version(connection, version, now, signed=signed)
    replace(path, content)


def _remember(connection: Connection, site: str, file: str, content: bytes, now: datetime) -> None:
    """Keep the file as found, if the log does not know it: so that it can come back."""
    last = last_version(connection, site, file)
    digest = sha256_of(content)
    if last is None or last.sha256 != digest:
        why = "as it was found" if last is None else "changed outside of the adapter"
        found = Version(0, site, file, digest, now.isoformat(), "", why, content.decode())
        add_version(connection, found, now, on_record=False)


def _path(trial: Trial, file: str) -> Path:
    return trial.mappings / "sites" / trial.site.site_id / file


def _said(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("a mapping needs a reason", where="reason", fix="say why, and where it is written")


def _of_this_site(done: Proposal, site: str) -> None:
    if done.site != site:
        raise ConfigError(f"the proposal is of {done.site}", where="mapping", fix="name that site")
