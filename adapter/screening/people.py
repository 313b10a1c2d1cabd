"""The facts of some of the people, read from what a screening left without reading or holding the others.

The tables are in order of subject, so people next to each other lie next to each other in every file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from adapter.errors import ConfigError
from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject
from adapter.screening.judge import enrolment_days
from adapter.screening.results import Summary
from adapter.trial import Workspace

_SUBJECTS = "subjects"
_ROWS: Mapping[str, type] = {
    _SUBJECTS: Subject,
    "findings": Finding,
    "events": Event,
    "interventions": Intervention,
}
_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {name: wire.decoder(row) for name, row in _ROWS.items()}
_OWNED, _NAMED = b'{"subject":"', b'{"id":"'


class Stretch(NamedTuple):
    """Some people, and for each table the first byte and the number of bytes that hold all their rows.

    ``coverage`` are the rows that bear on them; those about everyone are among them.
    """

    folder: Path
    subjects: tuple[str, ...]
    places: tuple[tuple[str, int, int], ...]
    coverage: tuple[Coverage, ...]


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


def stretches(workspace: Workspace, wanted: Collection[str], size: int) -> tuple[Stretch, ...]:
    """The wanted people in order, ``size`` of them at a time."""
    folder, names = workspace.screening, sorted(wanted)
    parts = [tuple(names[first : first + size]) for first in range(0, len(names), size)]
    places = {table: _places(folder, table, parts) for table in _ROWS}
    coverage = tuple(wire.read_rows(folder / "facts" / "coverage.ndjson", Coverage))
    return tuple(
        Stretch(
            folder,
            part,
            tuple((table, *found[number]) for table, found in places.items()),
            tuple(row for row in coverage if not row.subject or part[0] <= row.subject <= part[-1]),
        )
        for number, part in enumerate(parts)
    )


def read(stretch: Stretch) -> Iterator[Facts]:
    """The facts of each of the people, in order; without issues and accounts, which no rule reads."""
    rows: dict[str, dict[str, list[Any]]] = {name: {} for name in stretch.subjects}
    for table, first, length in stretch.places:
        decoder = _DECODERS[table]
        with _opened(stretch.folder, table) as file:
            file.seek(first)
            for line in file.read(length).splitlines():
                own = rows.get(_subject(line, table))
                if own is not None:
                    own.setdefault(table, []).append(decoder.decode(line))
    for name, tables in rows.items():
        coverage = tuple(row for row in stretch.coverage if row.subject in ("", name))
        yield Facts(**{table: tuple(found) for table, found in tables.items()}, coverage=coverage)


def _places(folder: Path, table: str, parts: list[tuple[str, ...]]) -> list[tuple[int, int]]:
    """For each part the first byte and the number of bytes of the table that hold its rows."""
    found = [(0, 0)] * len(parts)
    number, position, before = 0, 0, ""
    with _opened(folder, table) as lines:
        for line in lines:
            name = _subject(line, table)
            if name < before:
                raise _unreadable(folder)
            before = name
            while number < len(parts) and name > parts[number][-1]:
                number += 1
            if number == len(parts):
                break
            if name >= parts[number][0]:
                first = found[number][0] if found[number][1] else position
                found[number] = first, position + len(line) - first
            position += len(line)
    return found


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
        return (folder / "facts" / f"{table}.ndjson").open("rb")
    except FileNotFoundError as fault:
        raise _unreadable(folder) from fault


def _unreadable(folder: Path) -> ConfigError:
    return ConfigError("no screening here", where=str(folder), fix="run adapter screen first")
