"""What a monitoring leaves under ``monitoring/``, how it takes the place of the one before, and reading it.

``monitoring.ndjson`` holds a row for each person on the study, in order of subject; ``results.json`` the
outcomes by arm; ``basis.ndjson`` for each row what it was worked out from, by hash, so that whoever nothing
changed for is not judged again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from adapter.errors import ConfigError
from adapter.model import wire
from adapter.model.monitoring import Monitoring
from adapter.model.results import ResultsTable
from adapter.source.generations import abandoned, take_place
from adapter.trial import Workspace

ROWS, RESULTS, BASIS = "monitoring.ndjson", "results.json", "basis.ndjson"
_LOOKS = 10  # a folder that is exchanged under a reader is found at the next look
T = TypeVar("T")


class Basis(msgspec.Struct, frozen=True):
    """Of one row: SHA-256 of all that it was worked out from, SHA-256 of its bytes, and how many they are."""

    subject: str
    of: str
    row: str
    size: int


class Known(NamedTuple):
    """A row that was worked out before, and where it lies."""

    basis: Basis
    path: Path
    start: int

    def read(self, of: str) -> bytes | None:
        """Its bytes, if it was worked out from this and is what was written."""
        if self.basis.of != of:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                found = file.read(self.basis.size)
        except FileNotFoundError:  # another monitoring took its place
            return None
        return found if hashlib.sha256(found).hexdigest() == self.basis.row else None


class MonitoringReport:
    """Everyone on the study as of a day, and the outcomes by arm.

    The rows of a monitoring that has just run stay on disk until they are asked for: by ``rows`` all of them,
    by :meth:`each` one at a time.
    """

    def __init__(
        self, rows: tuple[Monitoring, ...] | Path, results: ResultsTable, people: int | None = None
    ) -> None:
        self._rows = rows
        self.results = results
        self._people = people

    @property
    def people(self) -> int:
        """How many rows there are."""
        return len(self.rows) if self._people is None else self._people

    @property
    def rows(self) -> tuple[Monitoring, ...]:
        if isinstance(self._rows, Path):
            self._rows = tuple(wire.read_rows(self._rows, Monitoring))
        return self._rows

    def each(self, kind: type[T]) -> Iterator[T]:
        """The rows as a struct with some of their fields; what is left out is not decoded."""
        if isinstance(self._rows, Path):
            yield from wire.read_rows(self._rows, kind)
        else:
            decoder = wire.decoder(kind)
            yield from (decoder.decode(wire.encode(row)) for row in self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MonitoringReport) and (self.rows, self.results) == (
            other.rows,
            other.results,
        )

    __hash__ = None  # type: ignore[assignment]


def read_monitoring(workspace: Workspace) -> MonitoringReport | None:
    """What the last monitoring left, all of it of one and the same; None if there was none."""
    folder = workspace.monitoring
    for left in reversed(range(_LOOKS)):
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        try:
            with _opened(ROWS, place) as lines, _opened(RESULTS, place) as table:
                decoder = wire.decoder(Monitoring)
                rows = tuple(decoder.decode(line) for line in lines)
                return MonitoringReport(rows, wire.decode(table.read(), ResultsTable))
        except (FileNotFoundError, msgspec.MsgspecError) as fault:
            if not left or _stands(folder, place):
                raise ConfigError(
                    "the monitoring here cannot be read", where=str(folder), fix="run adapter monitor again"
                ) from fault
        finally:
            os.close(place)
    raise AssertionError("the last look returns or raises")


def is_kept(workspace: Workspace) -> bool:
    """Whether there is a monitoring to be read."""
    return (workspace.monitoring / ROWS).exists()


def _opened(name: str, place: int) -> BinaryIO:
    """A file of the folder that was opened, wherever that folder is by now."""
    return open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=place))


def _stands(folder: Path, place: int) -> bool:
    try:
        now, then = folder.stat(), os.fstat(place)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino)


def known_in(workspace: Workspace) -> dict[str, tuple[Known, ...]]:
    """The rows of a monitoring that was interrupted and of the last one, by subject."""
    found: dict[str, tuple[Known, ...]] = {}
    for folder in (*abandoned(workspace.monitoring), workspace.monitoring):
        for subject, known in _known(folder).items():
            found[subject] = (*found.get(subject, ()), known)
    return found


def _known(folder: Path) -> dict[str, Known]:
    found: dict[str, Known] = {}
    decoder, start = msgspec.json.Decoder(Basis), 0
    try:
        with (folder / BASIS).open("rb") as lines:
            for line in lines:
                row = decoder.decode(line)
                found[row.subject] = Known(row, folder / ROWS, start)
                start += row.size + 1
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError:
        pass  # the last line of a file that a killed process was at
    return found


class Draft:
    """A monitoring that is being written, row by row in order of subject."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = (folder / ROWS).open("wb")
        self._basis = (folder / BASIS).open("wb")

    def add(self, rows: bytes, basis: Sequence[Basis]) -> None:
        """Some rows, whole lines; what they were worked out from is written after them."""
        self._rows.write(rows)
        self._rows.flush()
        self._basis.write(b"".join(wire.encode(one) + b"\n" for one in basis))
        self._basis.flush()

    def finish(self, results: ResultsTable) -> None:
        self.close()
        (self._folder / RESULTS).write_bytes(wire.encode(results))

    def close(self) -> None:
        self._rows.close()
        self._basis.close()


@contextmanager
def drafted(workspace: Workspace) -> Iterator[Draft]:
    """A draft that takes the place of the monitoring before if the block ends well; else it stays beside it,
    for the next run to go on with."""
    target = workspace.monitoring
    folder = target.with_name(f".{target.name}.partial-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draft = Draft(folder)
    try:
        yield draft
    except BaseException:
        draft.close()
        raise
    take_place(folder, target)
    for left in abandoned(target):
        shutil.rmtree(left, ignore_errors=True)
