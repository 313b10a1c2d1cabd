"""The lines that the sieve kept of one range, dealt to slots, as a file that any process may read in parts.

A slot is a number of the first bits of a node. The file holds the lines by slot, the keys by which nodes are
tied by bucket, the lent lines, and at its end an account of all this. It appears whole or not at all.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec
import numpy as np

from adapter.model.coverage import Coverage
from adapter.screening.deal import SEEKS, Dealt, Node

BUCKETS = 256
_RECORD = struct.Struct("<8sQ?I")
_KEY = struct.Struct("<8s8sB")
_KEYS = np.dtype([("key", "<u8"), ("node", "<u8"), ("role", "u1")])
_TAIL = struct.Struct("<Q")
T = TypeVar("T")


class Lent(msgspec.Struct, frozen=True, array_like=True):
    """A lent line: its node, its number in the range, its bytes, and the keys it is looked up by."""

    node: Node
    number: int
    line: bytes
    keys: tuple[bytes, ...]


class Account(msgspec.Struct, frozen=True, array_like=True):
    """What a part holds. ``slots`` and ``keys`` are (number, offset, bytes), ascending; ``pairs`` are tied
    nodes. The last part of a range says in ``parts`` how many there are, in ``gaps`` the coverage rows about
    everybody that lines of the range without an owner are known to cost, and in ``about``, by hashes, whose
    being candidates may change how its lines are dealt."""

    slots: tuple[tuple[int, int, int], ...]
    keys: tuple[tuple[int, int, int], ...]
    lent: tuple[int, int]
    pairs: tuple[tuple[Node, Node], ...]
    kept: int
    gaps: tuple[Coverage, ...] = ()
    parts: int = 0
    about: bytes = b""


class Record(NamedTuple):
    """One kept line; ``number`` counts from 1 in its range."""

    node: Node
    number: int
    named: bool
    line: bytes


def slot_of(node: Node, slots: int) -> int:
    """``slots`` is a power of two."""
    return int.from_bytes(node[:4], "big") * slots >> 32


class PartWriter:
    """Collects dealt lines; :meth:`write` leaves them in a file and starts anew."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._begin()

    def _begin(self) -> None:
        self.bytes = 0
        self.kept = 0
        self._lines: dict[int, list[bytes]] = {}
        self._keys: dict[int, list[bytes]] = {}
        self._lent: list[Lent] = []
        self._pairs: set[tuple[Node, Node]] = set()

    def add(self, dealt: Dealt, number: int, line: bytes) -> None:
        self.kept += 1
        self.bytes += len(line) + _RECORD.size + 64
        record = _RECORD.pack(dealt.node, number, dealt.named, len(line)) + line
        self._lines.setdefault(slot_of(dealt.node, self.slots), []).append(record)
        for key, role in dealt.keys:
            self._keys.setdefault(key[0], []).append(_KEY.pack(key, dealt.node, role))
        self._pairs.update((dealt.node, other) for other in dealt.ties)
        if dealt.lends:
            self._lent.append(Lent(dealt.node, number, line, dealt.lends))

    def write(
        self, path: Path, *, gaps: tuple[Coverage, ...] = (), parts: int = 0, about: bytes = b""
    ) -> None:
        draft = path.with_name(f"{path.name}.partial-{os.getpid()}")
        with draft.open("wb") as out:
            slots = tuple(_sections(out, self._lines))
            keys = tuple(_sections(out, self._keys))
            start = out.tell()
            out.write(msgspec.msgpack.encode(self._lent))
            account = Account(
                slots,
                keys,
                (start, out.tell() - start),
                tuple(sorted(self._pairs)),
                self.kept,
                gaps,
                parts,
                about,
            )
            end_with(out, account)
        draft.replace(path)
        self._begin()


def _sections(out: BinaryIO, by_number: dict[int, list[bytes]]) -> Iterator[tuple[int, int, int]]:
    for number, records in sorted(by_number.items()):
        start = out.tell()
        out.writelines(records)
        yield number, start, out.tell() - start


def end_with(out: BinaryIO, value: object) -> None:
    """Write what :func:`at_the_end` reads."""
    start = out.tell()
    out.write(msgspec.msgpack.encode(value))
    out.write(_TAIL.pack(start))


def at_the_end(path: Path, kind: type[T]) -> T:
    """The value whose start the last eight bytes of a file tell."""
    with path.open("rb") as file:
        file.seek(-_TAIL.size, os.SEEK_END)
        tail = file.tell()
        (start,) = _TAIL.unpack(file.read())
        file.seek(start)
        return msgspec.msgpack.decode(file.read(tail - start), type=kind)


@lru_cache(maxsize=4096)
def account_of(path: Path) -> Account:
    """The account at the end of a part."""
    return at_the_end(path, Account)


def lends(path: Path) -> bool:
    """Whether a part holds lent lines."""
    return account_of(path).lent[1] > len(msgspec.msgpack.encode([]))


def lent_of(path: Path) -> list[Lent]:
    start, size = account_of(path).lent
    return msgspec.msgpack.decode(_read(path, start, size), type=list[Lent])


def records_of(path: Path, first: int, last: int) -> Iterator[Record]:
    """The lines dealt to slots ``first`` to ``last``, inclusive."""
    yield from _records(_read_sections(path, account_of(path).slots, first, last))


def records_in(path: Path, slots: Sequence[int]) -> Iterator[Record]:
    """The lines dealt to some slots, given in ascending order."""
    sections = account_of(path).slots
    some = sections[bisect_left(sections, (slots[0],)) : bisect_left(sections, (slots[-1] + 1,))]
    chosen = frozenset(slots)
    runs: list[list[int]] = []
    for slot, start, size in some:
        if slot not in chosen:
            continue
        if runs and runs[-1][1] == start:
            runs[-1][1] += size
        else:
            runs.append([start, start + size])
    if not runs:
        return
    with path.open("rb") as part:
        for start, end in runs:
            part.seek(start)
            yield from _records(part.read(end - start))


def _records(data: bytes) -> Iterator[Record]:
    at = 0
    while at < len(data):
        node, number, named, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield Record(node, number, named, data[at : at + size])
        at += size


def keys_of(paths: Iterable[Path], first: int, last: int) -> Iterable[tuple[bytes, Node, int]]:
    """(key, node, role) of the keys in some buckets that are borne or asked for more than once, and of those
    that are sought: by another alone nobody is tied."""
    data = b"".join(_read_sections(path, account_of(path).keys, first, last) for path in paths)
    rows = np.frombuffer(data, _KEYS)
    order = np.argsort(rows["key"], kind="stable")
    keys = rows["key"][order]
    again = keys[1:] == keys[:-1]
    chosen = rows["role"][order] == SEEKS
    chosen[1:] |= again
    chosen[:-1] |= again
    return _KEY.iter_unpack(rows[order[chosen]].tobytes())


def _read_sections(path: Path, sections: tuple[tuple[int, int, int], ...], first: int, last: int) -> bytes:
    found = [one for one in sections if first <= one[0] <= last]
    return _read(path, found[0][1], found[-1][1] + found[-1][2] - found[0][1]) if found else b""


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as part:
        part.seek(start)
        return part.read(size)
