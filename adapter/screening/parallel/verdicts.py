"""What a batch of units came to, as a file: rows to be merged, and units to be taken again if unchanged.

People are listed in the order of their ids and issues stand in theirs, so that files are merged by reading
each once. The account at the end names each unit by a fingerprint of everything its result depends on.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from adapter.model.coverage import Coverage
from adapter.model.facts import Account
from adapter.model.funnel import Funnel, together
from adapter.model.issue import Issue
from adapter.screening.judge import Judged, PersonRows, accounts_of, gathered, issue_order
from adapter.screening.parallel.parts import at_the_end, end_with

Span = tuple[int, int]
_SIZE = struct.Struct("<Q")
_PERSON = msgspec.msgpack.Decoder(PersonRows)
_ENTRY = msgspec.msgpack.Decoder(tuple[str, Span])
_ISSUE = msgspec.msgpack.Decoder(Issue)
_encode = msgspec.msgpack.encode


class Rest(msgspec.Struct, frozen=True, array_like=True):
    """A unit's result but for its people."""

    issues: tuple[Issue, ...]
    accounts: tuple[Account, ...]
    lost: tuple[Coverage, ...]
    funnel: Funnel


class Total(msgspec.Struct, frozen=True, array_like=True):
    """What all units of a file come to together."""

    accounts: tuple[Account, ...]
    lost: tuple[Coverage, ...]
    funnel: Funnel


class JudgedUnit(msgspec.Struct, frozen=True, array_like=True):
    """Where a unit's result lies. ``source`` is a hash of the parts that its lines come from and
    ``fingerprint`` of the lines, both with all else that the result depends on but coverage; ``covered`` is a
    digest of the coverage rows of its ``subjects``."""

    slot: int
    source: bytes
    fingerprint: bytes
    subjects: tuple[str, ...]
    covered: bytes
    people: tuple[Span, ...]
    rest: Span


class Outline(msgspec.Struct, frozen=True, array_like=True):
    """Where the list of people (id, span) and the issues lie, and what all comes to."""

    people: Span
    issues: Span
    total: Total


class Contents(Outline, frozen=True, array_like=True):
    """With the units one by one."""

    units: tuple[JudgedUnit, ...]


class VerdictWriter:
    """Writes units as they come; in memory are their issues, and of people the ids."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.partial-{os.getpid()}")
        self._out = self._draft.open("wb")
        self._people: list[tuple[str, Span]] = []
        self._issues: set[Issue] = set()
        self._units: list[JudgedUnit] = []
        self._rests: list[Rest] = []

    def add(self, slot: int, source: bytes, fingerprint: bytes, covered: bytes, judged: Judged) -> None:
        people = tuple(self._put(_encode(person)) for person in judged.people)
        self._people += zip((person.subject for person in judged.people), people, strict=True)
        self._issues.update(judged.issues)
        rest = Rest(judged.issues, judged.accounts, judged.lost, judged.funnel)
        self._rests.append(msgspec.structs.replace(rest, issues=()))
        span = self._put(_encode(rest))
        subjects = tuple(person.subject for person in judged.people)
        self._units.append(JudgedUnit(slot, source, fingerprint, subjects, covered, people, span))

    def finish(self) -> int:
        """Make the file appear; returns how many units are in it."""
        start = self._out.tell()
        for entry in sorted(self._people):
            self._put(_encode(entry))
        middle = self._out.tell()
        for issue in sorted(self._issues, key=issue_order):
            self._put(_encode(issue))
        end = self._out.tell()
        total = Total(
            accounts_of(rest.accounts for rest in self._rests),
            gathered(row for rest in self._rests for row in rest.lost),
            together(0, (rest.funnel for rest in self._rests)),
        )
        end_with(self._out, Contents((start, middle), (middle, end), total, tuple(self._units)))
        self._out.close()
        self._draft.replace(self._path)
        return len(self._units)

    def _put(self, data: bytes) -> Span:
        self._out.write(_SIZE.pack(len(data)))
        start = self._out.tell()
        self._out.write(data)
        return start, len(data)


def contents_of(path: Path) -> Contents:
    return at_the_end(path, Contents)


def judged_of(path: Path, unit: JudgedUnit) -> Judged:
    """A unit's result as it was kept; everybody in it counts as judged before."""
    with path.open("rb") as file:
        people = tuple(_PERSON.decode(_at(file, span)) for span in unit.people)
        rest = msgspec.msgpack.decode(_at(file, unit.rest), type=Rest)
    return Judged(people, rest.issues, rest.accounts, rest.lost, rest.funnel, len(people))


def total_of(path: Path) -> Total:
    return at_the_end(path, Outline).total


def people_of(path: Path) -> Iterator[tuple[str, Path, Span]]:
    """Everybody in a file, by id, and where their rows lie in it."""
    for data in _frames(path, at_the_end(path, Outline).people):
        subject, span = _ENTRY.decode(data)
        yield subject, path, span


def person_at(file: BinaryIO, span: Span) -> PersonRows:
    return _PERSON.decode(_at(file, span))


def issues_of(path: Path) -> Iterator[Issue]:
    yield from (_ISSUE.decode(data) for data in _frames(path, at_the_end(path, Outline).issues))


def _frames(path: Path, span: Span) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(span[0])
        while file.tell() < span[1]:
            (size,) = _SIZE.unpack(file.read(_SIZE.size))
            yield file.read(size)


def _at(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])
