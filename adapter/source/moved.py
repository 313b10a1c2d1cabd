"""Resources of which several versions came that are not the same patient's.

A correction may move a result from one record to another. Whoever reads both versions sets the older aside;
the sieve, looking at one line at a time, would keep the older for a candidate and drop the newer as somebody
else's. So a landing notes whom such a resource ties together, and who is tied to a candidate is read as well.

Every resource leaves a hash of its type and id, eight bytes in a temporary file. Only of those that occur
twice the lines are looked at again; an export holds one version of each, and then there are none.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapter.source.ndjson import Block
from adapter.source.nominate import subjects_of
from adapter.source.owners import BEGINNING, begin_alike
from adapter.source.places import hashes, line_bounds, texts_at

_AT_ONCE = 2**23
Pairs = tuple[tuple[str, str], ...]


class _Head(msgspec.Struct):
    resourceType: str = ""
    id: str = ""


_HEAD = msgspec.json.Decoder(_Head)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Heads(NamedTuple):
    """Of a block: how many lines are not blank, their types ("" where one cannot be read), and the hash of
    type and id of each that has both, with its line, 0-based."""

    lines: int
    types: frozenset[str]
    numbers: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def heads_of(block: bytes) -> Heads:
    """Types and ids of all lines at once."""
    starts, ends = line_bounds(block)
    known = np.zeros(len(ends), np.bool_)
    numbers: list[NDArray[np.int64]] = []
    found: list[NDArray[np.uint64]] = []
    types: set[str] = set()
    if begins := BEGINNING.match(block):
        lines = np.flatnonzero(begin_alike(block, starts, ends, begins[0]))
        for rows, texts in texts_at(block, starts[lines] + len(begins[0]), b'"'):
            known[lines[rows]] = True
            numbers.append(lines[rows])
            found.append(hashes(texts) ^ _salt(begins[1].decode()))
        if known.any():
            types.add(begins[1].decode())
    count = int(known.sum())
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
            numbers.append(np.array([number]))
            found.append(hashes(np.array([head.id.encode()[:64]])) ^ _salt(head.resourceType))
    return Heads(
        count,
        frozenset(types),
        np.concatenate(numbers) if numbers else np.zeros(0, np.int64),
        np.concatenate(found) if found else np.zeros(0, np.uint64),
    )


class Repeats:
    """Hashes of all resources of a landing, in a temporary file; which of them occur more than once."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - goes with this object
        self._number = 0

    def add(self, some: NDArray[np.uint64]) -> None:
        self._file.write(some.tobytes())
        self._number += len(some)

    def found(self) -> NDArray[np.uint64]:
        """Ascending; looks at a part of all hashes at a time, so that memory does not grow with them."""
        parts = 1 << max(0, (self._number // _AT_ONCE).bit_length())
        shift = np.uint64(64 - (parts.bit_length() - 1))
        repeated = []
        for part in range(parts):
            own = [one[one >> shift == part] if parts > 1 else one for one in self._stored()]
            ordered = np.sort(np.concatenate(own)) if own else np.zeros(0, np.uint64)
            repeated.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
        return np.concatenate(repeated)

    def _stored(self) -> Iterator[NDArray[np.uint64]]:
        self._file.seek(0)
        while data := self._file.read(8 * 2**20):
            yield np.frombuffer(data, np.uint64)


def moved(blocks: Iterable[Block], repeated: NDArray[np.uint64]) -> Pairs:
    """Pairs of patients, each of whom has a version of the same resource."""
    owners: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for block in blocks:
        heads = heads_of(block.data)
        wanted = heads.numbers[np.isin(heads.hashes, repeated)]
        if not len(wanted):
            continue
        lines = block.data.split(b"\n")
        for number in wanted.tolist():
            try:
                resource = msgspec.json.decode(lines[number])
            except _UNREADABLE:
                continue
            ids, _ = subjects_of(resource)
            owners[resource["resourceType"], resource["id"]] |= ids
    several = (sorted(ids) for ids in owners.values() if len(ids) > 1)
    return tuple(sorted({(ids[0], other) for ids in several for other in ids[1:]}))


def _salt(name: str) -> np.uint64:
    return np.uint64(crc32(name.encode()) * 0x9E3779B1)


def _type_alone(line: bytes) -> str:
    """The type of a line whose id is none."""
    try:
        return str(msgspec.json.decode(line, type=_Type).resourceType)
    except _UNREADABLE:
        return ""


class _Type(msgspec.Struct):
    resourceType: str = ""
