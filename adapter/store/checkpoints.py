"""Where the audit stood, written down outside the database: one JSON line per checkpoint, only ever added.

A line is on disk before the command that wrote it ends. Put the file where those who can change the database
cannot change it (another disk, another account), or copy its lines there: it is what reveals that rows at the
end are gone or that history was written anew.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

import msgspec

from adapter.errors import ConfigError
from adapter.store.chain import Checkpoint

# A line cut short by a power failure; the next one starts afresh. Anything else unreadable is not our doing.
_TORN = re.compile(rb"\{[^}]*")


class CheckpointFile:
    """The checkpoints of one database. Raises :class:`ConfigError` where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, oldest first; none if there is no file yet."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ()
        except OSError as fault:
            raise self._unusable(fault) from fault
        found = []
        for number, line in enumerate(lines, 1):
            if not line or _TORN.fullmatch(line):
                continue
            try:
                found.append(msgspec.json.decode(line, type=Checkpoint))
            except msgspec.MsgspecError as fault:
                raise ConfigError(
                    "this line is no checkpoint: the file was changed by other hands",
                    where=f"{self.path}:{number}",
                    fix="compare it with a copy; keep the changed file for the inquiry",
                ) from fault
        return tuple(found)

    def prepare(self) -> None:
        """Find out now, not after the work, that nothing can be written here."""
        os.close(self._open())

    def add(self, number: int, digest: str, at: datetime) -> bool:
        """Note where the chain stands, unless the last line says so already."""
        before = self.read()
        if before and (before[-1].number, before[-1].hash) == (number, digest):
            return False
        line = msgspec.json.encode(Checkpoint(number, digest, at.isoformat())) + b"\n"
        file = self._open()
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(file, line)
            os.fsync(file)
        except OSError as fault:
            raise self._unusable(fault) from fault
        finally:
            os.close(file)
        self._sync_folder()
        return True

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as fault:
            raise self._unusable(fault) from fault

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unusable(self, fault: OSError) -> ConfigError:
        return ConfigError(
            f"the audit's checkpoints cannot be read or written ({fault.strerror})",
            where=str(self.path),
            fix="name a file this user may write to in ADAPTER_AUDIT_CHECKPOINTS",
        )
