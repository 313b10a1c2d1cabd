"""What the sieve dropped and the lines that it kept still need.

Mapping looks beyond a person's own records in two places (:mod:`adapter.mappers.index`), apart from what is
lent and always kept. A result may name the Specimen of somebody else, and is then nobody's; and an identifier
names nobody if two people bear it, or two Specimens. So after the sieve the keys of what was kept are met
(:mod:`adapter.screening.ties`), and where some are open, files of Specimens or of Patients are looked through
for lines that answer to them. These are read and judged with whom they are tied to. They make nobody a
candidate: who is judged was settled before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple, Self

import msgspec

from adapter.model.resource import RawResource
from adapter.screening.deal import deal, hashed, identifier_keys
from adapter.screening.ties import Met, meet
from adapter.source.landing import Landing, Tally
from adapter.source.ndjson import type_of
from adapter.source.places import Marks
from adapter.source.sieve import Kept, sieve

SPECIMEN = frozenset({"Specimen"})
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# A line without any of these neither asks by an identifier, which is an object where what a resource bears
# itself is a list, nor is a Patient. Nor, without the last, does it ask for a Specimen or is one.
_BLANK = (b" ", b"\t", b"\r")
_OBJECT = (b"{", *_BLANK)
_IDENTIFIED = [
    b'dentifier"' + rest for rest in (*_BLANK, b":{", b":\t", b":\r", *(b": " + one for one in _OBJECT))
]
_ASKING = (*_IDENTIFIED, b"?identifier=", b'"Patient"', b"\\u")
_MAY_ASK = Marks(_ASKING)
_MAY_SEEK = Marks((*_ASKING, b'pecimen"'))
_MAY_ANSWER = re.compile(rb'"(?:Specimen|Patient)"|\\u')


class Sought(NamedTuple):
    """Keys of Specimens and of Patients, as :mod:`adapter.screening.deal` makes them."""

    specimens: frozenset[bytes] = frozenset()
    patients: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, met: Met) -> Self:
        return cls(met.specimens, met.patients)

    @property
    def types(self) -> frozenset[str]:
        """Of the resources that may answer; none if nothing is sought."""
        named = {"Specimen": self.specimens, "Patient": self.patients}
        return frozenset(kind for kind, keys in named.items() if keys)

    def answered_by(self, line: bytes) -> bool:
        if not _MAY_ANSWER.search(line):
            return False
        head = _head(line)
        keys = self.specimens if head.resourceType == "Specimen" else self.patients
        return bool(head.id) and head.resourceType in self.types and not keys.isdisjoint(_keys(head))

    def widened(self, lines: Iterable[bytes]) -> Self:
        """With the ids of what was found by an identifier: which of its versions stands, all of them say."""
        specimens, patients = set(self.specimens), set(self.patients)
        for head in map(_head, lines):
            keys = specimens if head.resourceType == "Specimen" else patients
            keys.add(hashed(f"{head.resourceType}/{head.id}"))
        return type(self)(frozenset(specimens), frozenset(patients))


class _Head(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    id: str | None = None
    identifier: msgspec.Raw = msgspec.Raw()


_HEAD = msgspec.json.Decoder(_Head)


def sought_by(lines: Iterable[RawResource], candidates: frozenset[str], specimens: bool) -> Sought:
    """What kept lines need of those that the sieve dropped; ``specimens`` says whether any were landed."""
    may = _MAY_SEEK if specimens else _MAY_ASK
    dealt = (deal(raw.line, raw.where, candidates) for raw in lines if may.found(raw.line))
    return Sought.of(meet(((key, one.node, role) for one in dealt for key, role in one.keys), specimens))


def answering(block: bytes, sought: Sought, candidates: frozenset[str]) -> Iterator[Kept]:
    """The lines of a block that answer to what is sought and that the sieve drops, stripped."""
    for position, line in enumerate(block.split(b"\n")):
        if sought.answered_by(line) and not sieve([line], candidates):
            yield Kept(position, line.strip())


def found(sought: Sought, look: Callable[[Sought], Iterable[RawResource]]) -> tuple[RawResource, ...]:
    """Everything that ``look`` finds, looking again for other versions of what is found by an identifier."""
    lines: tuple[RawResource, ...] = ()
    while sought.types:
        lines = tuple(look(sought))
        wider = sought.widened(raw.line for raw in lines)
        if wider == sought:
            break
        sought = wider
    return lines


def dropped(
    landing: Landing, sought: Sought, candidates: frozenset[str], tally: Tally
) -> tuple[RawResource, ...]:
    """What a landing holds of what is sought; the tally counts it as given."""

    def look(sought: Sought) -> Iterator[RawResource]:
        for file, block in chain.from_iterable(map(landing.blocks, landing.files(sought.types))):
            for position, line in answering(block.data, sought, candidates):
                yield RawResource(line, f"{file}:{block.first_line + position}", type_of(line))

    lines = found(sought, look)
    tally.given += len(lines)
    return lines


def _head(line: bytes) -> _Head:
    try:
        return _HEAD.decode(line)
    except _UNREADABLE:
        return _Head()


def _keys(head: _Head) -> set[bytes]:
    kind = head.resourceType or ""
    return {hashed(f"{kind}/{head.id}"), *identifier_keys(kind, head.identifier)}
