"""Places and texts of a block of bytes as arrays: what passes over whole blocks are made of.

Marks are searched for by vector instructions (StringZilla) and compared by NumPy; a block is a few hundred
kilobytes, so that it stays in the processor's cache meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import stringzilla as sz
from ahocorasick_rs import BytesAhoCorasick, MatchKind
from numpy.typing import NDArray

Places = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Texts = NDArray[np.bytes_]

# What :func:`hashes` gives for no text.
NO_HASH = np.uint64(0)
# What a plain text may consist of; the flag is 1 for every other byte.
_STRANGE = np.ones(256, np.uint8)
_STRANGE[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:")] = 0
# Texts of one length are compared in one go; where there are more lengths, the rest is left out.
_LENGTHS = 8
_LONGEST = 64


class _Tape:
    """The offsets of a split as numpy sees them; valid while the pieces live."""

    def __init__(self, pieces: sz.Strs) -> None:
        kind = "<u8" if pieces.offsets_are_large else "<u4"
        self.pieces = pieces
        self.__array_interface__ = {
            "data": (pieces.offsets_address, True),
            "shape": (len(pieces) + 1,),
            "typestr": kind,
            "version": 3,
        }


def places(block: bytes, mark: bytes) -> Places:
    """Where a mark begins in a block, ascending; it must not overlap itself.

    >>> places(b"ab,c,", b",").tolist()
    [2, 4]
    """
    if not block:
        return np.zeros(0, np.int64)
    tape = _Tape(sz.Str(block).split(mark))
    offsets = np.asarray(tape)[1:-1].astype(np.int64)
    return offsets + len(mark) * np.arange(len(offsets))


class Marks:
    """Some sixty marks at most, none within another, searched for at once by vector instructions (Teddy)."""

    # With marks of few different bytes the library looks for those bytes alone if they are rare in English,
    # and takes a hundred times as long: a quote is not rare in JSON. These stand in no UTF-8 text of JSON
    # (RFC 8259, sections 7 and 8.1), make the bytes too many for that, and share what they can of a mask.
    _NEVER = (b"\x05\x05\x05", b"\x15\x15\x15", b"\xf5\xf5\xf5", b"\x06\x06\x06")

    def __init__(self, marks: Sequence[bytes]) -> None:
        self._count = len(marks)
        self._search = BytesAhoCorasick([*marks, *self._NEVER], MatchKind.LeftmostLongest)

    def found(self, block: bytes) -> list[tuple[int, int]]:
        """(which mark, where it begins) of each, in the order of places."""
        matches = self._search.find_matches_as_indexes(block)
        return [(mark, start) for mark, start, _ in matches if mark < self._count]


def line_bounds(block: bytes) -> tuple[Places, Places]:
    """Where the lines of a block begin and end, the line ends aside; nothing after the last of these."""
    ends = places(block, b"\n")
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    return np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)), ends


def only_of_its_line(ends: Places, at: Places) -> NDArray[np.bool_]:
    """Of each line, whether exactly one of some places is in it."""
    alone: NDArray[np.bool_] = np.bincount(np.searchsorted(ends, at), minlength=len(ends)) == 1
    return alone


def single(numbers: Places) -> NDArray[np.bool_]:
    """Of each of some line numbers, whether no other is the same."""
    alone: NDArray[np.bool_] = (np.bincount(numbers) == 1)[numbers]
    return alone


def bytes_of(block: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(block, np.uint8)


def strings_of(block: bytes, length: int) -> Texts:
    """Every run of ``length`` bytes of a block, as a view."""
    return np.ndarray((len(block) - length + 1,), f"S{length}", buffer=block, strides=(1,))


def texts_at(block: bytes, at: Places, close: bytes) -> Iterator[tuple[Places, Texts]]:
    """(rows of ``at``, the texts there), texts of one length at a time, if plain and followed by ``close``.

    Plain is what :data:`_STRANGE` allows. Texts too long or of a rarer length are left out.
    """
    rows = np.arange(len(at))
    for _ in range(_LENGTHS):
        if not len(rows):
            return
        places = at[rows]
        first = int(places[0])
        length = block.find(close[:1], first) - first
        inside = places <= len(block) - length - len(close)
        if not 0 < length <= _LONGEST or not inside[0]:
            rows = rows[1:]
            continue
        if not inside.all():
            rows, places = rows[inside], places[inside]
        texts = strings_of(block, length)[places]
        same = _STRANGE[texts.view(np.uint8)].view(f"S{length}") == b""
        same &= strings_of(block, len(close))[places + length] == close
        if same.all():
            yield rows, texts
            return
        yield rows[same], texts[same]
        same[0] = True
        rows = rows[~same]


def strings_at(block: bytes, at: Places, text: bytes) -> NDArray[np.bool_]:
    """Whether a text, which does not end in a zero byte, stands at each of some places."""
    fits: NDArray[np.bool_] = at <= len(block) - len(text)
    if len(block) >= len(text):
        fits &= strings_of(block, len(text))[np.where(fits, at, 0)] == text
    return fits


def hashes(texts: Texts) -> Hashes:
    """64 bits of each of some texts of one length, never :data:`NO_HASH`."""
    words = -(-texts.dtype.itemsize // 8)
    eights = np.ascontiguousarray(texts.astype(f"S{8 * words}", copy=False)).view(np.uint64)
    mixed: Hashes = eights * _mix(1) if words == 1 else (eights.reshape(-1, words) * _mix(words)).sum(axis=1)
    mixed ^= mixed >> np.uint64(29)
    mixed *= _mix(1)
    mixed[mixed == NO_HASH] = 1
    return mixed


def hashes_of(texts: Iterable[bytes | None]) -> Hashes:
    """The hash of each text; :data:`NO_HASH` where there is none."""
    lengths: defaultdict[int, tuple[list[int], list[bytes]]] = defaultdict(lambda: ([], []))
    count = 0
    for at, text in enumerate(texts):
        count += 1
        if text:
            rows, alike = lengths[len(text)]
            rows.append(at)
            alike.append(text)
    found = np.full(count, NO_HASH)
    for length, (rows, alike) in lengths.items():
        found[rows] = hashes(np.array(alike, f"S{length}"))
    return found


@lru_cache(maxsize=64)
def _mix(words: int) -> Hashes:
    """Multiplicative hashing (Knuth, TAOCP 6.4): an odd constant of 64 bits for every eight bytes."""
    return np.cumprod(np.full(words, 0x9E3779B97F4A7C15, np.uint64), dtype=np.uint64)
