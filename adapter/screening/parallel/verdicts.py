"""What a batch of units came to, as a file: rows to be merged, and units to be taken again if unchanged.

People stand in the order of their ids and issues in theirs, so that files are merged by reading each once.
The account at the end names each unit by a fingerprint of everything its result depends on.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.facts import Account
from adapter.model.funnel import Funnel
from adapter.model.issue import Issue
from adapter.screening.judge import Judged, PersonRows, issue_order

_SIZE = struct.Struct("<Q")
_PERSON = msgspec.msgpack.Decoder(PersonRows)
_ISSUE = msgspec.msgpack.Decoder(Issue)
_encode = msgspec.msgpack.encode
Span = tuple[int, int]


class Rest(msgspec.Struct, frozen=True, array_like=True):
    """A unit's result but for its people."""

    issues: tuple[Issue, ...]
    accounts: tuple[Account, ...]
    lost: tuple[Coverage, ...]
    funnel: Funnel
    reused: int


class JudgedUnit(msgspec.Struct, frozen=True, array_like=True):
    """Where a unit's result lies. ``covered`` is a digest of the coverage rows of its ``subjects``."""

    slot: int
    fingerprint: bytes
    subjects: tuple[str, ...]
    covered: bytes
    people: tuple[Span, ...]
    rest: Span


class Contents(msgspec.Struct, frozen=True, array_like=True):
    people: Span
    issues: Span
    units: tuple[JudgedUnit, ...]


class Fresh(msgspec.Struct, frozen=True, array_like=True):
    """A unit and its result, on the way to the file."""

    slot: int
    fingerprint: bytes
    subjects: tuple[str, ...]
    covered: bytes
    judged: Judged


def write_verdicts(path: Path, units: Iterable[Fresh]) -> None:
    units = sorted(units, key=lambda one: one.slot)
    draft = path.with_name(f"{path.name}.partial-{os.getpid()}")
    people = sorted(
        (person.subject, number, person) for number, one in enumerate(units) for person in one.judged.people
    )
    spans: dict[int, list[Span]] = {}
    with draft.open("wb") as out:

        def put(data: bytes) -> Span:
            out.write(_SIZE.pack(len(data)))
            start = out.tell()
            out.write(data)
            return start, len(data)

        for _, number, person in people:
            spans.setdefault(number, []).append(put(_encode(person)))
        middle = out.tell()
        for issue in sorted({one for unit in units for one in unit.judged.issues}, key=issue_order):
            put(_encode(issue))
        end = out.tell()
        found = tuple(
            JudgedUnit(
                one.slot,
                one.fingerprint,
                one.subjects,
                one.covered,
                tuple(spans.get(number, ())),
                put(_encode(_rest(one.judged))),
            )
            for number, one in enumerate(units)
        )
        start = out.tell()
        out.write(_encode(Contents((0, middle), (middle, end), found)))
        out.write(_SIZE.pack(start))
    draft.replace(path)


def _rest(judged: Judged) -> Rest:
    return Rest(judged.issues, judged.accounts, judged.lost, judged.funnel, judged.reused)


def contents_of(path: Path) -> Contents:
    with path.open("rb") as file:
        file.seek(-_SIZE.size, os.SEEK_END)
        tail = file.tell()
        (start,) = _SIZE.unpack(file.read())
        file.seek(start)
        return msgspec.msgpack.decode(file.read(tail - start), type=Contents)


def judged_of(path: Path, unit: JudgedUnit) -> Judged:
    """A unit's result as it was kept; everybody in it counts as judged before."""
    with path.open("rb") as file:
        people = tuple(_PERSON.decode(_at(file, span)) for span in unit.people)
        rest = msgspec.msgpack.decode(_at(file, unit.rest), type=Rest)
    return Judged(people, rest.issues, rest.accounts, rest.lost, rest.funnel, len(people))


def rests_of(path: Path) -> Iterator[Rest]:
    with path.open("rb") as file:
        for unit in contents_of(path).units:
            yield msgspec.msgpack.decode(_at(file, unit.rest), type=Rest)


def people_of(path: Path) -> Iterator[PersonRows]:
    yield from (_PERSON.decode(data) for data in _frames(path, contents_of(path).people))


def issues_of(path: Path) -> Iterator[Issue]:
    yield from (_ISSUE.decode(data) for data in _frames(path, contents_of(path).issues))


def _frames(path: Path, span: Span) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(span[0])
        while file.tell() < span[1]:
            (size,) = _SIZE.unpack(file.read(_SIZE.size))
            yield file.read(size)


def _at(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])
