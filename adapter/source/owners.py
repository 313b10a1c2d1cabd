"""Whose the lines of a block are, proven for all of them at once.

The marks that say whose a line is are searched for in the whole block by vector instructions (StringZilla),
and their places are compared as arrays (docs/decisions/byte-passes.md has what that costs). A
line is proven only if all of this holds; :mod:`adapter.source.sieve` reads every other line:

- ``Patient/`` occurs in it once: no other patient is named in it, candidate or not;
- before it stands one of :data:`_FORMS`, complete, whose quote no backslash precedes;
- the key of that form (``subject"``) occurs once, and no other key by which a resource says whose it is;
- the id has none but letters, digits and ``-._:``, and the reference ends there, or goes on with plain
  members (``display``, ``type``) of which none is another ``reference``: of a name said twice readers take
  the last (RFC 8259 section 4);
- it holds neither ``urn:uuid:``, ``contained"``, ``Bundle"`` nor ``Parameters"``, and no escape that may
  spell a mark, a name or a slash (``\\u00``, ``\\/``).

What follows depends on the line and the candidates alone, never on the block it came in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import stringzilla as sz
from ahocorasick_rs import BytesAhoCorasick, MatchKind
from numpy.typing import NDArray

Places = NDArray[np.int64]

KEYS = (b'subject"', b'patient"', b'individual"', b'beneficiary"')
_NAME = b"Patient/"
_RARE = (b"urn:uuid:", b'Bundle"', b'Parameters"', b'contained"')
_BACKSLASH = ord("\\")
# What an id of a proven line may consist of; the flag is 1 for every other byte.
_STRANGE = np.ones(256, np.uint8)
_STRANGE[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:")] = 0
# How an object goes on from a quote to its end, none of its own members called reference: strings, and
# objects of strings such as an Identifier.
_TEXT = rb'"[^"\\\n]*"'
_OF_TEXTS = rb"{(?: ?" + _TEXT + b" ?: ?" + _TEXT + rb" ?,?)* ?}"
_PLAIN_END = re.compile(
    rb'"(?: ?, ?(?!"reference")' + _TEXT + b" ?: ?(?:" + _TEXT + b"|" + _OF_TEXTS + rb"))* ?}"
)
# Ids of one length are compared in one go; where ids have more lengths, the rest of the lines is read.
_LENGTHS = 8
_LONGEST = 64
# Below this, reading line by line is as fast.
SMALL = 2**13
# Multiplicative hashing (Knuth, TAOCP 6.4): an odd constant of 64 bits for each eight bytes of a text.
_MIX = np.cumprod(np.full(_LONGEST // 8, 0x9E3779B97F4A7C15, np.uint64), dtype=np.uint64)


class _Form(NamedTuple):
    """One way to write an owner: its key, everything before ``Patient/``, and what closes it after the id."""

    key: bytes
    before: bytes
    close: bytes


_FORMS = tuple(
    _Form(key, b'"' + key + between, close)
    for key in KEYS
    for between, close in (
        (b':{"reference":"', b'"}'),
        (b': {"reference": "', b'"}'),
        (b' : { "reference" : "', b'" }'),
    )
)
_RARE_BESIDE = {
    key: BytesAhoCorasick([*_RARE, *(other for other in KEYS if other != key)], MatchKind.LeftmostLongest)
    for key in KEYS
}


class Proven(NamedTuple):
    """Line bounds of a block; which lines (0-based, ascending) are a candidate's, and which are in doubt.

    All other lines are proven to be someone else's.
    """

    starts: Places
    ends: Places
    theirs: Places
    doubtful: Places

    def lines(self, block: bytes, numbers: Places) -> list[bytes]:
        bounds = zip(self.starts[numbers].tolist(), self.ends[numbers].tolist(), strict=True)
        return [block[start:end] for start, end in bounds]


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


class Candidates:
    """Candidates' ids, arranged by length for comparison with all the ids of a block."""

    def __init__(self, wanted: frozenset[bytes]) -> None:
        self._wanted = wanted
        self._tables: dict[int, tuple[NDArray[np.bool_], np.uint64]] = {}
        lengths: dict[int, list[bytes]] = {}
        for name in wanted:
            lengths.setdefault(len(name), []).append(name)
        for length, names in lengths.items():
            if 0 < length <= _LONGEST:
                bits = min(24, max(12, (64 * len(names)).bit_length()))
                shift = np.uint64(64 - bits)
                table = np.zeros(2**bits, np.bool_)
                table[hashes(np.array(names, f"S{length}")) >> shift] = True
                self._tables[length] = table, shift

    def prove(self, block: bytes) -> Proven | None:
        """What can be proven of the lines of a block; None if every line is in doubt."""
        if len(block) < SMALL:
            return None
        names = places(block, _NAME)
        form = _form_before(block, names)
        if form is None:
            return None
        ends = places(block, b"\n")
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(block))
        starts = np.concatenate(([0], ends[:-1] + 1))
        alone = _lines_of_one(starts, ends, names)
        clear = np.zeros(len(ends), np.bool_)
        theirs = self._compare(block, form, *_complete(block, form, ends, *alone), clear)
        for place in _rare(block, form):
            clear[np.searchsorted(ends, place)] = False
        theirs = sorted(line for line in theirs if clear[line])
        return Proven(starts, ends, np.array(theirs, np.int64), np.flatnonzero(~clear))

    def _compare(
        self, block: bytes, form: _Form, lines: Places, at: Places, clear: NDArray[np.bool_]
    ) -> list[int]:
        """Marks as clear the lines whose id, at ``at``, is plain and said once; gives those of candidates."""
        theirs: list[int] = []
        for rows, texts in texts_at(block, at, b'"'):
            quotes = at[rows] + texts.dtype.itemsize
            once = strings_at(block, quotes, form.close)
            for row in np.flatnonzero(~once).tolist():
                once[row] = _PLAIN_END.match(block, int(quotes[row])) is not None
            if not once.all():
                rows, texts = rows[once], texts[once]
            clear[lines[rows]] = True
            theirs += self._wanted_among(lines[rows], texts)
        return theirs

    def _wanted_among(self, lines: Places, texts: NDArray[np.bytes_]) -> list[int]:
        known = self._tables.get(texts.dtype.itemsize)
        if known is None:
            return []
        table, shift = known
        maybe = np.flatnonzero(table[hashes(texts) >> shift])
        pairs = zip(lines[maybe].tolist(), texts[maybe].tolist(), strict=True)
        return [line for line, text in pairs if text in self._wanted]


def _form_before(block: bytes, names: Places) -> _Form | None:
    """The form of the first of some names that has one."""
    for place in names[:16].tolist():
        for form in _FORMS:
            if block.endswith(form.before, max(0, place - len(form.before)), place):
                return form
    return None


def _lines_of_one(starts: Places, ends: Places, names: Places) -> tuple[Places, Places]:
    """(line, place) of each name that is the only one of its line."""
    number = len(ends)
    if len(names) == number and bool(np.all((starts < names) & (names < ends))):
        return np.arange(number), names
    lines = np.searchsorted(ends, names)
    return _only((np.bincount(lines, minlength=number) == 1)[lines], lines, names)


def _only(chosen: NDArray[np.bool_], lines: Places, at: Places) -> tuple[Places, Places]:
    return (lines, at) if chosen.all() else (lines[chosen], at[chosen])


def _complete(block: bytes, form: _Form, ends: Places, lines: Places, names: Places) -> tuple[Places, Places]:
    """(line, place of the id) of each name that ends a form, in a line with the form's key nowhere else."""
    length = len(form.before)
    lines, names = _only(names > length, lines, names)
    begin = names - length
    whole = _strings(block, length)[begin] == form.before
    whole &= _bytes(block)[begin - 1] != _BACKSLASH
    lines, names = _only(whole, lines, names)
    # A form holds its key: with as many keys as forms there is no other.
    if sz.count(block, form.key) != len(names):
        keys = np.searchsorted(ends, places(block, form.key))
        once = (np.bincount(keys, minlength=len(ends)) == 1)[lines]
        lines, names = _only(once, lines, names)
    return lines, names + len(_NAME)


def _rare(block: bytes, form: _Form) -> list[int]:
    """Places of everything that puts a line in doubt."""
    found = [start for _, start, _ in _RARE_BESIDE[form.key].find_matches_as_indexes(block)]
    if block.find(b"\\") >= 0:
        found += places(block, b"\\u00").tolist()
        found += places(block, b"\\/").tolist()
    return found


def _bytes(block: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(block, np.uint8)


def _strings(block: bytes, length: int) -> NDArray[np.bytes_]:
    """Every run of ``length`` bytes of a block, as a view."""
    return np.ndarray((len(block) - length + 1,), f"S{length}", buffer=block, strides=(1,))


def texts_at(block: bytes, at: Places, close: bytes) -> Iterator[tuple[Places, NDArray[np.bytes_]]]:
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
        rows, places = _only(inside, rows, places)
        texts = _strings(block, length)[places]
        same = _STRANGE[texts.view(np.uint8)].view(f"S{length}") == b""
        same &= _strings(block, len(close))[places + length] == close
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
        fits &= _strings(block, len(text))[np.where(fits, at, 0)] == text
    return fits


def hashes(texts: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """64 bits of each of some texts of one length."""
    length = texts.dtype.itemsize
    words = -(-length // 8)
    padded = np.zeros((len(texts), 8 * words), np.uint8)
    padded[:, :length] = np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), length)
    mixed: NDArray[np.uint64] = (padded.view(np.uint64) * _MIX[:words]).sum(axis=1, dtype=np.uint64)
    mixed = mixed ^ (mixed >> np.uint64(29))
    mixed *= _MIX[0]
    return mixed
