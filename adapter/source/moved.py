"""Resources of which several versions came that are not the same patient's.

A correction may move a result from one record to another. Whoever reads both versions sets the older aside;
the sieve, looking at one line at a time, would keep the older for a candidate and drop the newer as somebody
else's. So a landing notes whom such a resource ties together, and who is tied to a candidate is read as well.

Every resource leaves a hash of its type and id, eight bytes in a temporary file. Only of those that occur
twice the lines are looked at again; an export holds one version of each, and then there are none.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import stringzilla as sz
from numpy.typing import NDArray

from adapter.source.ndjson import NdjsonFile
from adapter.source.nominate import Identifier, linked_in, subjects_of
from adapter.source.owners import BEGINNING, begin_alike
from adapter.source.places import (
    NO_HASH,
    Hashes,
    Places,
    hashes,
    hashes_of,
    line_bounds,
    only_of_its_line,
    places,
    texts_at,
)

_ANYWHERE = re.compile(rb'Patient/([^"/?#|\s\\]+)')
_BLOCK = np.dtype([("start", "<u8"), ("size", "<u4"), ("hashes", "<u4")])
_AT_ONCE = 2**23
Pairs = tuple[tuple[str, str], ...]


class _Head(msgspec.Struct):
    resourceType: str = ""
    id: str = ""


class _Type(msgspec.Struct):
    resourceType: str = ""


_HEAD = msgspec.json.Decoder(_Head)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Heads(NamedTuple):
    """Of a block: how many lines are not blank, their types ("" where one cannot be read), and the hash of
    type and id of each that has both, with its line, 0-based."""

    lines: int
    types: frozenset[str]
    numbers: Places
    hashes: Hashes


def heads_of(block: bytes) -> Heads:
    """Types and ids of all lines at once."""
    starts, ends = line_bounds(block)
    found = np.full(len(ends), NO_HASH)
    known = np.zeros(len(ends), np.bool_)
    types: set[str] = set()
    if begins := BEGINNING.match(block):
        alike = begin_alike(block, starts, ends, begins[0])
        if sz.count(block, b'"id"') != len(ends):
            alike &= only_of_its_line(ends, places(block, b'"id"'))
        if block.find(b"\\") >= 0:
            alike[np.searchsorted(ends, places(block, b"\\u00"))] = False
        lines = np.flatnonzero(alike)
        for rows, texts in texts_at(block, starts[lines] + len(begins[0]), b'"'):
            known[lines[rows]] = True
            found[lines[rows]] = hashes(texts) ^ _salt(begins[1].decode())
        if known.any():
            types.add(begins[1].decode())
    count = int(known.sum())
    numbers: list[int] = []
    heads: list[_Head] = []
    for number in np.flatnonzero(~known).tolist():
        line = block[starts[number] : ends[number]].strip()
        if not line:
            continue
        count += 1
        try:
            head = _HEAD.decode(line)
        except _UNREADABLE:
            types.add(_type_alone(line))
            continue
        types.add(head.resourceType)
        if head.resourceType and head.id:
            numbers.append(number)
            heads.append(head)
    if heads:
        salts = np.array([_salt(head.resourceType) for head in heads], np.uint64)
        found[numbers] = hashes_of(head.id.encode()[:64] for head in heads) ^ salts
    with_both = np.flatnonzero(found)
    return Heads(count, frozenset(types), with_both, found[with_both])


class Versions:
    """What the files of a landing hold: a hash of every resource, and where each block of them is, in
    temporary files."""

    def __init__(self) -> None:
        self._hashes = tempfile.TemporaryFile()  # noqa: SIM115 - goes with this object
        self._blocks = tempfile.TemporaryFile()  # noqa: SIM115
        self._number = 0
        self._files: list[tuple[NdjsonFile, int]] = []

    def look_at(self, file: NdjsonFile) -> tuple[int, frozenset[str]]:
        """How many lines of a file are not blank, and the types of their resources."""
        lines = blocks = 0
        types: frozenset[str] = frozenset()
        for block in file.blocks():
            heads = heads_of(block.data)
            lines += heads.lines
            types |= heads.types
            self._hashes.write(heads.hashes.data)
            self._blocks.write(np.array((block.start, len(block.data), len(heads.hashes)), _BLOCK).data)
            self._number += len(heads.hashes)
            blocks += 1
        self._files.append((file, blocks))
        return lines, types

    def moved(self) -> Pairs:
        """Pairs of patients, each of whom has a version of the same resource.

        Who is named by an identifier, beside another's id, is whoever bears it. Of a line that says nowhere
        whose it is, anybody it names may be taken for its owner (:mod:`adapter.source.owners`).
        """
        repeated = self._repeated()
        if not len(repeated):
            return ()
        owners: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        named: defaultdict[tuple[str, str], set[Identifier]] = defaultdict(set)
        for text in self._blocks_with(repeated):
            heads = heads_of(text)
            lines = text.split(b"\n")
            for number in heads.numbers[_among(heads.hashes, repeated)].tolist():
                try:
                    resource = msgspec.json.decode(lines[number])
                except _UNREADABLE:
                    continue
                ids, identifiers = subjects_of(resource)
                if (not ids and not identifiers) or lines[number].count(b'"resourceType"') > 1:
                    ids |= {name.decode(errors="replace") for name in _ANYWHERE.findall(lines[number])}
                owners[resource["resourceType"], resource["id"]] |= ids
                named[resource["resourceType"], resource["id"]] |= identifiers
        bearers = self._bearers(frozenset(one for key, ids in owners.items() if ids for one in named[key]))
        for key, ids in owners.items():
            ids.update(name for one in named[key] for name in bearers.get(one, ()))
        several = (sorted(ids) for ids in owners.values() if len(ids) > 1)
        return tuple(sorted({(ids[0], other) for ids in several for other in ids[1:]}))

    def _bearers(self, identifiers: frozenset[Identifier]) -> Mapping[Identifier, set[str]]:
        found: defaultdict[Identifier, set[str]] = defaultdict(set)
        if identifiers:
            blocks = (("", block) for file, _ in self._files for block in file.blocks())
            for name, identifier in linked_in(blocks, identifiers).bearers:
                found[identifier].add(name)
        return found

    def _repeated(self) -> Hashes:
        """Ascending; looks at a part of all hashes at a time, so that memory does not grow with them."""
        parts = 1 << max(0, (self._number // _AT_ONCE).bit_length())
        shift = np.uint64(64 - (parts.bit_length() - 1))
        repeated = []
        for part in range(parts):
            own = [one[one >> shift == part] if parts > 1 else one for one in self._stored()]
            ordered = np.sort(np.concatenate(own)) if own else np.zeros(0, np.uint64)
            repeated.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
        return np.concatenate(repeated)

    def _stored(self) -> Iterator[Hashes]:
        self._hashes.seek(0)
        while data := self._hashes.read(8 * 2**20):
            yield np.frombuffer(data, np.uint64)

    def _blocks_with(self, repeated: Hashes) -> Iterator[bytes]:
        self._hashes.seek(0)
        self._blocks.seek(0)
        for file, count in self._files:
            bounds = []
            for _ in range(count):
                start, size, number = np.frombuffer(self._blocks.read(_BLOCK.itemsize), _BLOCK)[0].tolist()
                own = np.frombuffer(self._hashes.read(8 * number), np.uint64)
                if _among(own, repeated).any():
                    bounds.append((start, size))
            if bounds:
                yield from file.texts_at(bounds)


def _among(some: Hashes, ascending: Hashes) -> NDArray[np.bool_]:
    at = np.searchsorted(ascending, some)
    found: NDArray[np.bool_] = ascending[np.minimum(at, len(ascending) - 1)] == some
    return found


def _salt(name: str) -> np.uint64:
    return np.uint64(crc32(name.encode()) * 0x9E3779B1)


def _type_alone(line: bytes) -> str:
    """The type of a line whose id is none."""
    try:
        return str(msgspec.json.decode(line, type=_Type).resourceType)
    except _UNREADABLE:
        return ""
