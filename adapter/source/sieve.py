"""Drops, before parsing, the lines that cannot concern a candidate.

A trial wants two hundred of a million patients, and parsing is the cost. A line is dropped only on proof
that it belongs to someone else: it names at least one patient, none of them a candidate, and its own subject
is spelled out as one of those. Everything else stays: lines that name a candidate in any position (absolute
and versioned references included), lines without a subject (Medication, ResearchStudy, Organization ...),
logical references, ``urn:uuid:``, Bundles, escapes that spell a name, lines that do not parse.

The proof is tried for all lines of a block at once (:mod:`adapter.source.owners`); the lines it leaves in
doubt are read one by one. Which lines stay is the same either way, whatever block they come in.

:func:`sieve` takes a batch (one block of bytes, or a list of lines) and gives a batch, and knows nothing of
files: a process pool over byte ranges or Spark's ``mapInArrow`` calls the same function.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec
from ahocorasick_rs import BytesAhoCorasick, MatchKind

from adapter.source import owners

# An id ends where a URL or a JSON string goes on; servers use more than FHIR's [A-Za-z0-9-.]{1,64}.
_ID_ENDS = frozenset(b'"/?#|\\ \t\r\n')
_ALWAYS_KEPT = (b"urn:uuid:", b'Bundle"', b'Parameters"')
_LITERAL = re.compile(r"(?:^|/)Patient/([^/?#|\s]+)(?:/_history/[^/\s]+)?$")


class Kept(NamedTuple):
    """One surviving line: its 0-based position within the batch and its bytes, stripped."""

    position: int
    line: bytes


class _Reference(msgspec.Struct):
    reference: str = ""
    type: str = ""


class _Own(msgspec.Struct):
    """The elements by which R4 and R5 resources say whose they are."""

    resourceType: str = ""
    id: str = ""
    subject: msgspec.Raw = msgspec.Raw()
    patient: msgspec.Raw = msgspec.Raw()
    individual: msgspec.Raw = msgspec.Raw()
    beneficiary: msgspec.Raw = msgspec.Raw()
    contained: list[_Own] = []

    def subjects(self) -> list[msgspec.Raw]:
        return [raw for raw in (self.subject, self.patient, self.individual, self.beneficiary) if bytes(raw)]


_OWN = msgspec.json.Decoder(_Own)
_REFERENCE = msgspec.json.Decoder(_Reference)


class Sieve:
    """The patterns of one set of candidates, compiled once."""

    def __init__(self, candidates: frozenset[str]) -> None:
        self._wanted = frozenset(name.encode() for name in candidates)
        self._owners = owners.Candidates(self._wanted)
        names = sorted(prefix + name for name in self._wanted for prefix in (b"Patient/", b"Patient\\/"))
        self._names = BytesAhoCorasick(names, matchkind=MatchKind.LeftmostLongest)

    def __call__(self, block: bytes) -> list[Kept]:
        """The lines of a block that may concern a candidate, in order; blank lines are not kept."""
        proven = self._owners.prove(block)
        if proven is None:
            return self._read(block.split(b"\n"))
        doubtful, lines = proven.doubtful.tolist(), proven.lines(block, proven.doubtful)
        kept = [Kept(doubtful[at], line) for at, line in self._read(lines)]
        theirs = zip(proven.theirs.tolist(), proven.lines(block, proven.theirs), strict=True)
        kept += [Kept(position, line.strip()) for position, line in theirs]
        kept.sort()
        return kept

    def _read(self, lines: list[bytes]) -> list[Kept]:
        """Of lines whose owner is in doubt, those that may concern a candidate."""
        block = b"\n".join(lines)
        named = self._named_at(block)
        named.append(len(block) + 1)
        kept: list[Kept] = []
        at_name = end = 0
        for position, line in enumerate(lines):
            end += len(line)
            is_named = named[at_name] < end
            while named[at_name] < end:
                at_name += 1
            end += 1
            line = line.strip()
            if line and (is_named or not self._is_someone_elses(line)):
                kept.append(Kept(position, line))
        return kept

    def _named_at(self, block: bytes) -> list[int]:
        """Where candidates are named: a match counts only if the id ends where the pattern does."""
        matches = self._names.find_matches_as_indexes(block)
        return [start for _, start, end in matches if end == len(block) or block[end] in _ID_ENDS]

    def _is_someone_elses(self, line: bytes) -> bool:
        """Proof by reading the few elements that say whose a resource is; no candidate is named literally."""
        try:
            if b"\\u00" in line:
                line = msgspec.json.encode(msgspec.json.decode(line))
                if self._named_at(line):
                    return False
            if b"Patient" not in line or any(mark in line for mark in _ALWAYS_KEPT):
                return False
            return _owner_is_other(_OWN.decode(line), self._wanted)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return False


_compiled = lru_cache(maxsize=4)(Sieve)


def sieve(batch: bytes | Iterable[bytes], candidates: frozenset[str]) -> list[Kept]:
    """The lines of a batch that may concern a candidate.

    ``batch`` is a block of whole lines or an iterable of lines; ``candidates`` are Patient ids.

    >>> lines = [b'{"subject":{"reference":"Patient/1"}}', b'{"subject":{"reference":"Patient/12"}}']
    >>> [kept.position for kept in sieve(lines, frozenset({"12"}))]
    [1]
    """
    return _compiled(candidates)(batch if isinstance(batch, bytes) else b"\n".join(batch))


def _owner_is_other(own: _Own, wanted: frozenset[bytes]) -> bool:
    if own.resourceType == "Patient":
        return bool(own.id) and own.id.encode() not in wanted
    # A contained resource belongs to its container unless it says otherwise.
    inner = [raw for resource in own.contained for raw in resource.subjects()]
    return bool(own.subjects()) and all(_names_other(raw, wanted) for raw in (*own.subjects(), *inner))


def _names_other(raw: msgspec.Raw, wanted: frozenset[bytes]) -> bool:
    try:
        reference = _REFERENCE.decode(raw).reference
    except msgspec.DecodeError:
        return False
    literal = _LITERAL.search(reference)
    return literal is not None and literal[1].encode() not in wanted
