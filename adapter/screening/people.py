"""The facts of some of the people, read from what a screening left without reading or holding the others.

The tables are in order of subject, so people next to each other lie next to each other in every file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from adapter.errors import ConfigError
from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject
from adapter.screening.judge import enrolment_days
from adapter.screening.results import Summary
from adapter.trial import Workspace

_SUBJECTS, DECISIONS = "subjects", "decisions"
_ROWS: Mapping[str, type] = {
    _SUBJECTS: Subject,
    "findings": Finding,
    "events": Event,
    "interventions": Intervention,
}
_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {name: wire.decoder(row) for name, row in _ROWS.items()}
_DECISION = wire.decoder(Decision)
_OWNED, _NAMED = b'{"subject":"', b'{"id":"'


class Stretch(NamedTuple):
    """Some people, and for each table the bytes, from and to, that hold all their rows and those of whoever
    stands between them. The stretches of a screening hold every byte of it, each once.

    ``until`` is the first of the next stretch, "" at the end. ``coverage`` are the rows that bear on the
    people; those about everyone are among them.
    """

    folder: Path
    subjects: tuple[str, ...]
    until: str
    places: tuple[tuple[str, int, int], ...]
    coverage: tuple[Coverage, ...]


class Person(NamedTuple):
    """The rows of one person, as they lie on disk."""

    subject: str
    lines: Mapping[str, Sequence[bytes]]
    coverage: tuple[Coverage, ...]

    def digest(self, settings: bytes) -> str:
        """SHA-256 of the settings and of every row."""
        found = hashlib.sha256(settings)
        for table in (*_ROWS, DECISIONS):
            lines = self.lines.get(table, ())
            found.update(f"\n{table} {len(lines)}\n".encode())
            found.update(b"".join(lines))
        found.update(wire.encode(self.coverage))
        return found.hexdigest()

    def facts(self) -> Facts:
        """Without issues and accounts, which no rule reads."""
        rows = {table: tuple(map(_DECODERS[table].decode, self.lines.get(table, ()))) for table in _ROWS}
        return Facts(**rows, coverage=self.coverage)

    def decision(self) -> Decision | None:
        """What the screening decided, if that was asked for and the person was a candidate."""
        return next(map(_DECISION.decode, self.lines.get(DECISIONS, ())), None)


def read_summary(workspace: Workspace) -> Summary:
    """What the last screening was of; raises :class:`ConfigError` if there is nothing."""
    try:
        return wire.decode((workspace.screening / "screening.json").read_bytes(), Summary)
    except (FileNotFoundError, msgspec.MsgspecError) as fault:
        raise _unreadable(workspace.screening) from fault


def enrolled(workspace: Workspace, study: str, as_of: date) -> dict[str, date]:
    """Day of entry of everyone who is, or was, on this study by ``as_of``; see :func:`enrolment_days`."""
    decoder = _DECODERS["events"]
    with _opened(workspace.screening, "events") as lines:
        events = tuple(decoder.decode(line) for line in lines if b'"research_subject"' in line)
    return enrolment_days(Facts(events=events), study, as_of)


def stretches(
    workspace: Workspace, wanted: Collection[str], size: int, *, decisions: bool = False
) -> tuple[Stretch, ...]:
    """The wanted people in order, ``size`` of them at a time; with what was decided of them, or without."""
    folder, names = workspace.screening, sorted(wanted)
    parts = [tuple(names[first : first + size]) for first in range(0, len(names), size)]
    untils = [part[0] for part in parts[1:]] + [""]
    tables = (*_ROWS, DECISIONS) if decisions else (*_ROWS,)
    ends = {table: _ends(folder, table, untils) for table in tables}
    coverage = tuple(wire.read_rows(folder / "facts" / "coverage.ndjson", Coverage))
    return tuple(
        Stretch(
            folder,
            part,
            untils[number],
            tuple(
                (table, found[number - 1] if number else 0, found[number]) for table, found in ends.items()
            ),
            tuple(row for row in coverage if not row.subject or part[0] <= row.subject <= part[-1]),
        )
        for number, part in enumerate(parts)
    )


def read(stretch: Stretch) -> Iterator[Facts]:
    """The facts of each of the people, in order."""
    return (person.facts() for person in persons(stretch))


def persons(stretch: Stretch) -> Iterator[Person]:
    """Each of the people, in order. Raises :class:`ConfigError` if rows are not in order of subject: between
    them all, stretches look at every row."""
    rows: dict[str, dict[str, list[bytes]]] = {name: {} for name in stretch.subjects}
    for table, start, end in stretch.places:
        before = stretch.subjects[0] if start else ""
        with _opened(stretch.folder, table) as file:
            file.seek(start)
            for line in _within(file, end - start):
                name = _subject(line, table)
                if name < before or (stretch.until and name >= stretch.until):
                    raise _unreadable(stretch.folder)
                before = name
                own = rows.get(name)
                if own is not None:
                    own.setdefault(table, []).append(line)
    for name, tables in rows.items():
        yield Person(name, tables, tuple(row for row in stretch.coverage if row.subject in ("", name)))


def _within(lines: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Lines of so many bytes together."""
    for line in lines if size else ():
        yield line
        size -= len(line)
        if size <= 0:
            return


def _ends(folder: Path, table: str, untils: list[str]) -> list[int]:
    """Where the first row lies that belongs to each of these people or to somebody after them; "" is the end.

    By halving, as in a file that is in order; :func:`persons` finds out if it is not.
    """
    with _opened(folder, table) as file:
        size = file.seek(0, os.SEEK_END)
        return [_first_from(file, table, name, size) if name else size for name in untils]


def _first_from(file: BinaryIO, table: str, name: str, size: int) -> int:
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        file.seek(max(0, middle - 1))
        if middle:
            file.readline()  # to the beginning of a row
        start = file.tell()
        line = file.readline() if start < high else b""
        if not line or _subject(line, table) >= name:
            high = middle
        else:
            low = start + len(line)
    return low


def _subject(line: bytes, table: str) -> str:
    """Whose row it is, by its first field."""
    head = _NAMED if table == _SUBJECTS else _OWNED
    end = line.find(b'"', len(head))
    if line.startswith(head) and end > 0 and b"\\" not in line[:end]:
        return line[len(head) : end].decode()
    row = msgspec.json.decode(line)
    return str(row["id" if table == _SUBJECTS else "subject"])


def _opened(folder: Path, table: str) -> BinaryIO:
    try:
        return (folder / ("" if table == DECISIONS else "facts") / f"{table}.ndjson").open("rb")
    except FileNotFoundError as fault:
        raise _unreadable(folder) from fault


def _unreadable(folder: Path) -> ConfigError:
    return ConfigError("no screening here", where=str(folder), fix="run adapter screen first")
