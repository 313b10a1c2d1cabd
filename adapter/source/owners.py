"""Whose the lines of a block are, proven for all of them at once.

The marks that say whose a line is are searched for in the whole block, and their places are compared as
arrays (docs/decisions/byte-passes.md has what that costs). :mod:`adapter.source.patients` reads every line
that is not proven. A line of a patient's record is proven only if all of this holds:

- ``Patient/`` occurs in it once: no other patient is named in it;
- before it stands one of :data:`_FORMS`, complete, whose quote no backslash precedes;
- the key of that form (``subject"``) occurs once, and no other key by which a resource says whose it is;
- the id has none but letters, digits and ``-._:``, and the reference ends there, or goes on with plain
  members (``display``, ``type``) of which none is another ``reference``: of a name said twice readers take
  the last (RFC 8259 section 4);
- it holds neither ``urn:uuid:``, ``Bundle"`` nor ``Parameters"``, and no escape that may spell a mark, a name
  or a slash (``\\u00``, ``\\/``);
- it is no Patient, Medication or ResearchStudy: nobody owns these, whomever an element of theirs names;
- ``contained"`` is not in it, or once, as the key of a plain list, and the form stands outside of that.

A Patient is its own if it begins with its type and id, says each once, and names nobody.

What follows depends on the line alone, never on the block it came in.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import stringzilla as sz
from numpy.typing import NDArray

from adapter.source.places import (
    Hashes,
    Marks,
    Places,
    Texts,
    bytes_of,
    hashes,
    line_bounds,
    only_of_its_line,
    places,
    single,
    strings_at,
    strings_of,
    texts_at,
)

KEYS = (b'subject"', b'patient"', b'individual"', b'beneficiary"')
_NAME = b"Patient/"
_CONTAINED = b'contained"'
_TYPE = b'"resourceType"'
OWNERLESS = (b"Patient", b"Medication", b"ResearchStudy")
# What keeps a line whoever it names.
RARE = (b"urn:uuid:", b'Bundle"', b'Parameters"')
_BACKSLASH = ord("\\")
# How an object goes on from a quote to its end, none of its own members called reference: strings, and
# objects of strings such as an Identifier.
_TEXT = rb'"[^"\\\n]*+"'
_OF_TEXTS = rb"{(?: ?" + _TEXT + b" ?: ?" + _TEXT + rb" ?,?)* ?}"
_PLAIN_END = re.compile(
    rb'"(?: ?, ?(?!"reference")' + _TEXT + b" ?: ?(?:" + _TEXT + b"|" + _OF_TEXTS + rb"))* ?}"
)
# How nearly every producer begins a line.
BEGINNING = re.compile(rb'\{"resourceType": ?"([A-Za-z]{1,64})", ?"id": ?"')
_TYPE_FIRST = re.compile(rb'\{"resourceType": ?"([A-Za-z]{1,64})"')
# Below this, reading line by line is as fast.
SMALL = 2**13


def _lists(depth: int) -> bytes:
    """What may stand between the brackets of a list, lists within it up to a depth, escapes nowhere."""
    inner = rb"|\[" + _lists(depth - 1) + rb"\]" if depth else b""
    return rb'(?:[^\[\]"\\\n]++|' + _TEXT + inner + rb")*+"


_PLAIN_LIST = re.compile(b'"' + _CONTAINED + rb" ?: ?\[" + _lists(4) + rb"\]")


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


_RARE_IN_PATIENTS = Marks((_CONTAINED, *RARE))
_RARE_BESIDE = {key: Marks((_CONTAINED, *RARE, *(other for other in KEYS if other != key))) for key in KEYS}
_OF_NOBODY = Marks([kind + b'"' for kind in OWNERLESS])


class Proven(NamedTuple):
    """Of a block: the bounds of its lines; the lines (0-based, ascending) proven to be one patient's,
    the :func:`hashes` of that patient's id for each; and the lines that are in doubt."""

    starts: Places
    ends: Places
    lines: Places
    names: Hashes
    doubtful: Places


def prove(block: bytes) -> Proven | None:
    """Whose lines are, as far as that can be proven; None if every line is in doubt."""
    if len(block) < SMALL:
        return None
    names = places(block, _NAME)
    begins = BEGINNING.match(block)
    if begins and begins[1] == b"Patient":
        return _patients(block, begins[0], names)
    form = _form_before(block, names)
    return _records(block, form, names) if form else None


def _records(block: bytes, form: _Form, names: Places) -> Proven:
    starts, ends = line_bounds(block)
    lines, at = _complete(block, form, ends, *_lines_of_one(starts, ends, names))
    found = _Clear(starts, ends)
    for rows, texts in texts_at(block, at, b'"'):
        found.add(lines, *_said_once(block, form, at, rows, texts))
    contained = []
    for kind, place in _RARE_BESIDE[form.key].found(block):
        if kind:
            found.doubt(place)
        else:
            contained.append(place)
    found.doubt_escapes(block)
    if not _all_of_owned_type(block, starts):
        for _, place in _OF_NOBODY.found(block):
            if _may_be_type(block, place):
                found.doubt(place)
    if contained:
        owners = np.full(len(ends), -1, np.int64)
        owners[lines] = at
        for place in _unclear_lists(block, ends, np.array(contained, np.int64), owners):
            found.doubt(place)
    return found.proven()


def _patients(block: bytes, begins: bytes, names: Places) -> Proven:
    starts, ends = line_bounds(block)
    lines = np.flatnonzero(begin_alike(block, starts, ends, begins))
    if sz.count(block, b'"id"') != len(ends):
        lines = lines[only_of_its_line(ends, places(block, b'"id"'))[lines]]
    found = _Clear(starts, ends)
    for rows, texts in texts_at(block, starts[lines] + len(begins), b'"'):
        found.add(lines, rows, texts)
    for place in (*names.tolist(), *(place for _, place in _RARE_IN_PATIENTS.found(block))):
        found.doubt(place)
    found.doubt_escapes(block)
    return found.proven()


def _all_of_owned_type(block: bytes, starts: Places) -> bool:
    """Whether all lines begin with one type, which is one that belongs to somebody."""
    begins = begins_owned(block)
    return bool(begins) and bool(strings_at(block, starts, begins).all())


def begins_owned(text: bytes) -> bytes:
    """How a line begins, if it says its type at once and that is one that belongs to somebody; else ""."""
    begins = _TYPE_FIRST.match(text)
    return begins[0] if begins and begins[1] not in OWNERLESS else b""


def _may_be_type(block: bytes, place: int) -> bool:
    """Whether a word may be the value of ``resourceType``; not that of a Reference's ``type``, say."""
    before = block[max(0, place - 64) : place - 1].rstrip().removesuffix(b":").rstrip()
    return len(before) < len(_TYPE) or before.endswith(_TYPE)


def begin_alike(block: bytes, starts: Places, ends: Places, begins: bytes) -> NDArray[np.bool_]:
    """Which lines begin so, and say their type only there."""
    alike = strings_at(block, starts, begins)
    if sz.count(block, b'"resourceType"') != len(ends):
        alike &= only_of_its_line(ends, places(block, b'"resourceType"'))
    return alike


class _Clear:
    """Lines that are one patient's, unless something in them puts that in doubt."""

    def __init__(self, starts: Places, ends: Places) -> None:
        self._starts, self._ends = starts, ends
        self._clear = np.zeros(len(ends), np.bool_)
        self._names = np.zeros(len(ends), np.uint64)

    def add(self, lines: Places, rows: Places, texts: Texts) -> None:
        self._clear[lines[rows]] = True
        self._names[lines[rows]] = hashes(texts)

    def doubt(self, place: int) -> None:
        self._clear[np.searchsorted(self._ends, place)] = False

    def doubt_escapes(self, block: bytes) -> None:
        if block.find(b"\\") >= 0:
            for escape in (b"\\u00", b"\\/"):
                self._clear[np.searchsorted(self._ends, places(block, escape))] = False

    def proven(self) -> Proven:
        lines = np.flatnonzero(self._clear)
        return Proven(self._starts, self._ends, lines, self._names[lines], np.flatnonzero(~self._clear))


def _unclear_lists(block: bytes, ends: Places, contained: Places, owners: Places) -> list[int]:
    """Of places where something is contained, those where that may be more than a plain list beside the
    owner of the line, whose place is given for each line."""
    lines = np.searchsorted(ends, contained)
    alone = single(lines)
    unclear: list[int] = contained[~alone].tolist()
    for place, owner in zip(contained[alone].tolist(), owners[lines[alone]].tolist(), strict=True):
        plain = _PLAIN_LIST.match(block, place - 1) if block[place - 2] != _BACKSLASH else None
        if plain is None or plain.start() <= owner < plain.end():
            unclear.append(place)
    return unclear


def _said_once(block: bytes, form: _Form, at: Places, rows: Places, texts: Texts) -> tuple[Places, Texts]:
    """Of ids at ``at[rows]``, those after which the reference is not said again."""
    quotes = at[rows] + texts.dtype.itemsize
    once = strings_at(block, quotes, form.close)
    if once.all():
        return rows, texts
    for row in np.flatnonzero(~once).tolist():
        once[row] = _PLAIN_END.match(block, int(quotes[row])) is not None
    return rows[once], texts[once]


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
    return _only(single(lines), lines, names)


def _only(chosen: NDArray[np.bool_], lines: Places, at: Places) -> tuple[Places, Places]:
    return (lines, at) if chosen.all() else (lines[chosen], at[chosen])


def _complete(block: bytes, form: _Form, ends: Places, lines: Places, names: Places) -> tuple[Places, Places]:
    """(line, place of the id) of each name that ends a form, in a line with the form's key nowhere else."""
    length = len(form.before)
    lines, names = _only(names > length, lines, names)
    begin = names - length
    whole = strings_of(block, length)[begin] == form.before
    whole &= bytes_of(block)[begin - 1] != _BACKSLASH
    lines, names = _only(whole, lines, names)
    # A form holds its key: with as many keys as forms there is no other.
    if sz.count(block, form.key) != len(names):
        lines, names = _only(only_of_its_line(ends, places(block, form.key))[lines], lines, names)
    return lines, names + len(_NAME)
