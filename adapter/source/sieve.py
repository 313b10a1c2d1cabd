"""Drops, before parsing, the lines that cannot concern a candidate.

A trial wants two hundred of a million patients, and parsing is the cost. A line is dropped only on proof
that it belongs to someone else: it names at least one patient, none of them a candidate, and its own subject
is spelled out as one of those. Everything else stays: lines that name a candidate in any position (absolute
and versioned references included), lines without a subject (Medication, ResearchStudy, Organization ...),
logical references, ``urn:uuid:``, Bundles, escapes that could spell an id, lines that do not parse.

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

# An id ends where a URL or a JSON string goes on; servers use more than FHIR's [A-Za-z0-9-.]{1,64}.
_ID_ENDS = frozenset(b'"/?#|\\ \t\r\n')
# \u escapes of ASCII characters that "Patient/", an id or "urn:uuid:" may consist of: - . / 0-9 : A-Z _ a-z
_SPELLING = re.compile(rb"\\u00(?:2[dDeEfF]|3[0-9aA]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])")
_ALWAYS_KEPT = (b"urn:uuid:", b'Bundle"', b'Parameters"')
_LITERAL = re.compile(r"(?:^|/)Patient/([^/?#|\s]+)(?:/_history/[^/\s]+)?$")

# A line is dropped unread if exactly one of these occurs in it and that one is a form: the resource's only
# subject, spelled out. Any other mark, or a second one, has the line read. The patterns leave out the quote
# before a key: it is so frequent that searching for it would halve the speed.
_QUOTE = ord('"')
_KEYS = (b'subject"', b'patient"', b'individual"', b'beneficiary"')
_FORMS = tuple(
    key + rest
    for key in _KEYS
    for rest in (b':{"reference":"Patient/', b': {"reference": "Patient/', b' : { "reference" : "Patient/')
)
_MARKS = BytesAhoCorasick(
    [*_FORMS, *_KEYS, *_ALWAYS_KEPT, b"\\u00", b'contained"'], matchkind=MatchKind.LeftmostLongest
)


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
        names = sorted(prefix + name for name in self._wanted for prefix in (b"Patient/", b"Patient\\/"))
        self._names = BytesAhoCorasick(names, matchkind=MatchKind.LeftmostLongest)

    def __call__(self, block: bytes) -> list[Kept]:
        """The lines of a block that may concern a candidate, in order; blank lines are not kept."""
        named = self._named_at(block)
        marks = _MARKS.find_matches_as_indexes(block)
        find, forms, end_of_block = block.find, len(_FORMS), len(block)
        named.append(end_of_block)
        marks.append((forms, end_of_block, end_of_block))
        kept: list[Kept] = []
        at_name = at_mark = position = start = 0
        while start < end_of_block:
            end = find(b"\n", start)
            end = end_of_block if end < 0 else end
            first_mark = at_mark
            while marks[at_mark][1] < end:
                at_mark += 1
            is_named = named[at_name] < end
            while named[at_name] < end:
                at_name += 1
            form, form_at, _ = marks[first_mark]
            if is_named or at_mark - first_mark != 1 or form >= forms or block[form_at - 1] != _QUOTE:
                line = block[start:end].strip()
                if line and (is_named or not self._is_someone_elses(line)):
                    kept.append(Kept(position, line))
            start = end + 1
            position += 1
        return kept

    def _named_at(self, block: bytes) -> list[int]:
        """Where candidates are named: a match counts only if the id ends where the pattern does."""
        matches = self._names.find_matches_as_indexes(block)
        return [start for _, start, end in matches if end == len(block) or block[end] in _ID_ENDS]

    def _is_someone_elses(self, line: bytes) -> bool:
        """Proof by reading the few elements that say whose a resource is; no candidate is named literally."""
        if b"Patient" not in line or any(mark in line for mark in _ALWAYS_KEPT) or _SPELLING.search(line):
            return False
        try:
            return _owner_is_other(_OWN.decode(line), self._wanted)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
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
