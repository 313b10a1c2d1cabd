"""Whom each line of a block names: all that the sieve has to know of a line, whoever the candidates are.

So a file is looked at once, and what was found serves any set of candidates, later ones too. Most lines are
proven to name one patient without being parsed (:mod:`adapter.source.owners`); the others are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapter.source.owners import OWNERLESS, RARE, begins_owned, prove
from adapter.source.places import NO_HASH, Hashes, Marks, Places, hashes_of

# A line that stays whoever the candidates are; no id has this hash.
ANYONE = NO_HASH
_ALWAYS_KEPT = Marks(RARE)
# An id ends where a URL or a JSON string goes on; servers use more than FHIR's [A-Za-z0-9-.]{1,64}.
_NAMED = re.compile(rb'Patient\\?/([^"/?#|\\ \t\r\n]+)')
_LITERAL = re.compile(r"(?:^|/)Patient/([^/?#|\s]+)(?:/_history/[^/\s]+)?$")


class _Reference(msgspec.Struct):
    reference: str = ""
    type: str = ""


Said = _Reference | msgspec.UnsetType


class _Own(msgspec.Struct):
    """The elements by which R4 and R5 resources say whose they are."""

    resourceType: str = ""
    id: str = ""
    subject: Said = msgspec.UNSET
    patient: Said = msgspec.UNSET
    individual: Said = msgspec.UNSET
    beneficiary: Said = msgspec.UNSET
    contained: list[_Own] = []

    def subjects(self) -> list[_Reference]:
        said = (self.subject, self.patient, self.individual, self.beneficiary)
        return [one for one in said if one is not msgspec.UNSET]


_OWN = msgspec.json.Decoder(_Own)


class Named(NamedTuple):
    """Rows in the order of lines, one for each patient a line names, or :data:`ANYONE`.

    ``numbers`` are 0-based, ``starts`` and ``ends`` the bounds of the line in its block, ``names`` hashes.
    Blank lines have no row.
    """

    numbers: Places
    starts: Places
    ends: Places
    names: Hashes


def named_in(block: bytes) -> Named:
    """Every line of a block that is not blank, and whom it names."""
    proven = prove(block)
    if proven is None:
        return _read(*_lines_of(block), block)
    if not len(proven.doubtful):
        bounds = proven.starts[proven.lines], proven.ends[proven.lines]
        return Named(proven.lines, *bounds, proven.names)
    starts, ends = proven.starts[proven.doubtful], proven.ends[proven.doubtful]
    read = _read(proven.doubtful, starts, ends, block)
    numbers = np.concatenate((proven.lines, read.numbers))
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    names = np.concatenate((proven.names, read.names))[order]
    return Named(numbers, proven.starts[numbers], proven.ends[numbers], names)


def _lines_of(block: bytes) -> tuple[Places, Places, Places]:
    """Number, start and end of each line."""
    ends = np.cumsum([len(line) + 1 for line in block.split(b"\n")], dtype=np.int64) - 1
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    return np.arange(len(ends)), starts, ends


def _read(numbers: Places, starts: Places, ends: Places, block: bytes) -> Named:
    rows: list[int] = []
    names: list[bytes | None] = []
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        line = block[start:end]
        if line.isspace() or not line:
            continue
        found = patients_in(line)
        names += found or (None,)
        rows += [row] * (len(found) or 1)
    at = np.array(rows, np.int64)
    return Named(numbers[at], starts[at], ends[at], hashes_of(names))


def patients_in(line: bytes) -> Sequence[bytes]:
    """Every patient that a line names; nobody if the line has to stay whoever the candidates are.

    It may go only if reading the few elements that say whose a resource is shows that each of them spells out
    a patient.
    """
    try:
        spelled = line
        if b"\\u00" in line:
            spelled = msgspec.json.encode(msgspec.json.decode(line))
        if b"Patient" not in spelled or _ALWAYS_KEPT.found(spelled):
            return ()
        own = _OWN.decode(spelled)
        # Of a type said twice the first is believed, as where whole blocks are proven.
        ownerless = own.resourceType.encode() in OWNERLESS and not begins_owned(line)
        owners = _itself(own) if ownerless else _owners(own)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ()
    if not owners:
        return ()
    others = _NAMED.findall(line) if spelled is line else (*_NAMED.findall(line), *_NAMED.findall(spelled))
    return owners if owners == others else tuple({*owners, *others})


def _itself(own: _Own) -> list[bytes]:
    """A Patient is its own; other resources that nobody owns may be anybody's."""
    return [own.id.encode()] if own.resourceType == "Patient" and own.id else []


def _owners(own: _Own) -> list[bytes]:
    """Who is said to be the owner, in every place where that is said; nobody if one of them does not tell."""
    said = own.subjects()
    if not said:
        return []
    # A contained resource belongs to its container unless it says otherwise.
    for resource in own.contained:
        said += resource.subjects()
    literal = [_LITERAL.search(one.reference) for one in said]
    return [one[1].encode() for one in literal if one] if all(literal) else []


class Candidates:
    """Some patients, to be found among the rows of any block."""

    def __init__(self, ids: Iterable[str]) -> None:
        wanted = hashes_of(name.encode() for name in ids)
        self._wanted = np.unique(np.append(wanted, ANYONE))
        # Most rows are settled by one look at a table of bits of the hash, 64 places for a candidate.
        bits = min(24, max(12, (64 * len(self._wanted)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(2**bits, np.bool_)
        self._table[self._wanted >> self._shift] = True

    def among(self, names: Hashes) -> Places:
        """Which rows name a candidate, or stay whoever they are; ascending.

        Two ids with the same 64 bits would have somebody else's line kept: no result depends on that.
        """
        maybe: NDArray[np.int64] = np.flatnonzero(self._table[names >> self._shift])
        return maybe[np.isin(names[maybe], self._wanted)]
