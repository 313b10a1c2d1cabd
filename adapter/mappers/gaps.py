"""What could not be read must not look like what is not there.

Silence counts as absence only where everything was fetched (``Coverage``). A resource that arrived and could
not be read is as good as not fetched: its type is marked incomplete for the patients it names, or for
everyone if it does not say whose it is. A line that says neither whose nor what it is may not be a record at
all: it costs silence, but one stray line does not leave every reading of a hospital open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from adapter.mappers.people.identity import Merges
from adapter.model.coverage import Coverage

UNREAD = frozenset(
    {"DUPLICATE_KEY", "IMPLICIT_RULES", "MALFORMED_JSON", "MODIFIER_EXTENSION", "TOO_DEEP", "WRONG_TYPE"}
)
_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]{1,64})"')
_PATIENT = re.compile(rb"Patient\\?/([A-Za-z0-9\-.]{1,64})")
_URN = re.compile(rb"urn:uuid:([A-Za-z0-9\-]{1,64})")


class Unread(NamedTuple):
    """The bytes of a resource that became no facts, and the issue code that says why."""

    line: bytes
    code: str


def gaps(
    unread: Iterable[Unread], types: Collection[str], people: Collection[str], merges: Merges
) -> Iterator[Coverage]:
    """Coverage rows for what was lost; ``types`` are those that silence can be about."""
    found = {
        (name, patient, one.code, not patient and not _TYPE.search(one.line))
        for one in unread
        if one.code in UNREAD
        for name in _types(one.line, types)
        for patient in _owners(one.line, people, merges)
    }
    for name, patient, code, limited in sorted(found):
        yield Coverage(name, False, patient, reason=f"unreadable: {code}", limited=limited)


def _types(line: bytes, types: Collection[str]) -> set[str]:
    """The types a line names, contained ones included; all if it names none."""
    named = {name.decode() for name in _TYPE.findall(line)}
    return named & set(types) if named else set(types)


def _owners(line: bytes, people: Collection[str], merges: Merges) -> set[str]:
    named = {merges.survivor(name.decode()) for name in _PATIENT.findall(line)}
    named |= {merges.survivor(name.decode()) for name in _URN.findall(line)} & set(people)
    return named or {""}
