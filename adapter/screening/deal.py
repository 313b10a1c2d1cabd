"""Whose a line is, told from the line alone, so that people can be judged apart as they would be together.

A line is dealt to a *node*: the patient it says it belongs to, or itself if it does not say. What the mappers
read across records ties nodes, and tied nodes are judged together: patient records linked to each other,
versions of one resource whose patients differ, a report and the results it lists, a reading and its specimen,
a reference by an identifier that a patient or specimen bears. Medications and studies are used by many people
and tie nobody: they are *lent* to each unit that may look them up. All others than these and the types that
are mapped only count: they are dealt by their own id, since copies and versions are told by it.

Nodes and keys are 8-byte hashes. Two that are equal by chance, or a tie that was not needed, only have people
judged together who need not be; the result is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec

from adapter.mappers import MAPPERS, r4
from adapter.mappers.index import parse_reference
from adapter.mappers.resource_types import RESOURCE_TYPES

LENT = frozenset({"Medication", "ResearchStudy"})
_CONTAINERS = frozenset({"Bundle", "Parameters"})
IS, OFFERS, ASKS, SEEKS, DOUBTS = range(5)
Node = bytes
Key = tuple[bytes, int]

_SUBJECTS = ("subject", "patient", "individual", "beneficiary")
# As adapter.mappers.gaps reads whom a line that became no facts is about.
_MENTIONED = re.compile(rb"Patient\\?/([A-Za-z0-9\-.]{1,64})|urn:uuid:([A-Za-z0-9\-]{1,64})")
_ABOUT = re.compile(
    rb"Patient\\?/([A-Za-z0-9\-.]{1,64})|(?i:urn:(?:uuid|oid):)(?=([A-Za-z0-9\-]{0,64}))([A-Za-z0-9\-.]{1,64})"
)
_CONDITIONAL = re.compile(r"^([A-Z][A-Za-z]+)\?identifier=([^|]*)\|(.+)$")
_LENT_IN = re.compile(r'(?:(?:Medication|ResearchStudy)/|(?i:urn:(?:uuid|oid):))([^"/?#|\s\\]+)')
_REFERS = re.compile(rb'eference"|dentifier"|\\u')
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# The role of who asks for a type by id, and by an identifier.
_BY_ID = {"Specimen": SEEKS, "Observation": ASKS}
_BY_IDENTIFIER = {"Specimen": SEEKS, "Patient": DOUBTS}


class Dealt(NamedTuple):
    """Where a line goes and what it ties.

    ``named`` is False where the line's place in its file may show in an issue. ``keys`` are (hash, role):
    two nodes are tied if one *is* what the other *asks* for or also *is*, or *offers* an identifier that
    somebody *asks* for. Who *seeks* or *doubts* asks, and what the sieve dropped may matter to that too
    (:mod:`adapter.screening.dropped`). ``lends`` are the keys under which a lent resource is looked up.
    """

    node: Node
    named: bool
    ties: tuple[Node, ...] = ()
    keys: tuple[Key, ...] = ()
    lends: tuple[bytes, ...] = ()


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    resourceType: str | None = None
    id: str | None = None
    meta: r4.Meta | None = None  # a line with another meta than FHIR's is not readable at all
    subject: msgspec.Raw = msgspec.Raw()
    patient: msgspec.Raw = msgspec.Raw()
    individual: msgspec.Raw = msgspec.Raw()
    beneficiary: msgspec.Raw = msgspec.Raw()
    focus: msgspec.Raw = msgspec.Raw()
    specimen: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    component: msgspec.Raw = msgspec.Raw()
    link: msgspec.Raw = msgspec.Raw()
    identifier: msgspec.Raw = msgspec.Raw()
    accessionIdentifier: msgspec.Raw = msgspec.Raw()
    contained: msgspec.Raw = msgspec.Raw()


_ANY = msgspec.json.Decoder()


def hashed(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()


@lru_cache(maxsize=1 << 16)
def _patient(name: str) -> Node:
    return hashed(f"Patient/{name}")


def deal(line: bytes, where: str, candidates: frozenset[str]) -> Dealt:
    """The node of a line that the sieve kept, and what it ties; ``where`` is ``file:line``."""
    mentioned = sorted({(one or other).decode() for one, other in _MENTIONED.findall(line)} & candidates)
    ties = [_patient(name) for name in mentioned]
    try:
        head = r4.decode_struct(line, _Line)
    except _UNREADABLE:
        return Dealt(ties[0] if ties else hashed(f"line {where}"), False, tuple(ties[1:]))
    kind, own = head.resourceType or "", head.id or ""
    itself = hashed(f"{kind}/{own}" if own else f"line {where}")
    if kind in LENT:
        return Dealt(itself, bool(own), lends=tuple(_lent_by(kind, own, head)) if own else ())
    if kind not in MAPPERS:
        return Dealt(itself, bool(own) and kind in RESOURCE_TYPES and kind not in _CONTAINERS)
    found = _Found()
    owners = [_patient(own)] if kind == "Patient" and own else found.owners(head)
    found.read(kind, head)
    nodes = dict.fromkeys([*owners, *ties, *found.ties])
    node = next(iter(nodes), itself)
    nodes.pop(node, None)
    keys = dict.fromkeys(found.keys)
    if own and kind == "Specimen" and found.names.isdisjoint(mentioned):
        # Somebody else may have another version of it, which the sieve dropped.
        keys |= dict.fromkeys([(itself, OFFERS), (itself, ASKS)])
    elif own:
        keys[itself, IS] = None
    return Dealt(node, bool(own), tuple(nodes), tuple(keys))


def patients_about(line: bytes) -> set[bytes]:
    """Plain ids of whose being candidates may change how a line is dealt; rather more than less."""
    if b"\\u" in line:
        with suppress(*_UNREADABLE):
            line = msgspec.json.encode(_ANY.decode(line)) + line
    return {one for found in _ABOUT.findall(line) for one in found if one}


def mentions(line: bytes) -> bool:
    """Whether a line names any patient, as far as it is asked whom a line that cannot be read is about."""
    return _MENTIONED.search(line) is not None


class _Found:
    """What the references of one resource name."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.ties: list[Node] = []
        self.names: set[str] = set()

    def owners(self, head: _Line) -> list[Node]:
        found = []
        for name in _SUBJECTS:
            for reference in _references(getattr(head, name)):
                text = reference.get("reference")
                target = parse_reference(text) if isinstance(text, str) else None
                if target is not None and target.type in ("", "Patient"):
                    self.names.add(target.id)
                    found.append(_patient(target.id))
                self._ask(reference, "Patient")
        return found

    def read(self, kind: str, head: _Line) -> None:
        for raw in (head.focus, head.link):
            for reference in _references(raw):
                self._ask(reference, "Patient")
        for reference in _references(head.specimen):
            self._ask(reference, "Specimen")
        for reference in _references(head.result):
            self._ask(reference, "Observation")
        for raw in (head.component, head.contained):
            for reference in _references(raw):
                self._ask(reference, "Patient", "Specimen", "Observation")
        if kind == "Patient":
            for reference in _references(head.link):
                target = parse_reference(str(reference.get("reference") or ""))
                if target is not None and target.type in ("", "Patient"):
                    self.ties.append(_patient(target.id))
        if kind in ("Patient", "Specimen"):
            self.keys += [(key, OFFERS) for key in identifier_keys(kind, head.identifier)]

    def _ask(self, reference: dict[str, Any], *kinds: str) -> None:
        """A reference may name a specimen or a result by id; a patient or a specimen by an identifier, which
        is read where there is no id (as :meth:`adapter.mappers.index.Index.find`)."""
        text = reference.get("reference")
        target = None
        if isinstance(text, str):
            target = parse_reference(text)
            if (found := _CONDITIONAL.match(text.strip())) and found[1] in _BY_IDENTIFIER:
                self.keys.append((_identifier(*found.groups()), _BY_IDENTIFIER[found[1]]))
        if target is not None:
            for kind in kinds:
                if kind in _BY_ID and target.type in ("", kind):
                    self.keys.append((hashed(f"{kind}/{target.id}"), _BY_ID[kind]))
            return
        for name in ("identifier", "accessionIdentifier"):
            for system, value in _identified(reference.get(name)):
                for kind in kinds:
                    if kind in _BY_IDENTIFIER:
                        self.keys.append((_identifier(kind, system, value), _BY_IDENTIFIER[kind]))


def identifier_keys(kind: str, identifier: msgspec.Raw) -> Iterator[bytes]:
    """The hashes under which a resource of a type bears its identifiers."""
    return (_identifier(kind, system, value) for system, value in _identifiers(identifier))


def _identifier(kind: str, system: str, value: str) -> bytes:
    return hashed(f"{kind}\n{system}\n{value}")


def _lent_by(kind: str, own: str, head: _Line) -> Iterator[bytes]:
    yield hashed(f"lent {own}")
    for _, value in _identifiers(head.identifier):
        yield hashed(f"lent {kind} {value}")


def lookups(line: bytes) -> set[bytes]:
    """Keys of every lent resource that a line may look up, by id or identifier; rather more than less."""
    text = line.decode(errors="replace")
    medication = "edicationReference" in text or "itemReference" in text or "\\" in text
    texts = _strings(line) if medication else [text]
    found = {hashed(f"lent {name}") for text in texts for name in _LENT_IN.findall(text)}
    if medication:
        found |= {hashed(f"lent Medication {text.rpartition('|')[2]}") for text in texts}
        found |= {hashed(f"lent Medication {text}") for text in texts}
    return found


def _strings(line: bytes) -> list[str]:
    try:
        waiting: list[Any] = [_ANY.decode(line)]
    except _UNREADABLE:
        return []
    found: list[str] = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def _references(raw: msgspec.Raw) -> Iterator[dict[str, Any]]:
    """Every object in a part of a resource that refers to something or bears an identifier."""
    if not _REFERS.search(raw):
        return
    try:
        waiting: list[Any] = [_ANY.decode(raw)]
    except _UNREADABLE:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "reference" in value or "identifier" in value or "accessionIdentifier" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _identifiers(raw: msgspec.Raw) -> Iterator[tuple[str, str]]:
    if not bytes(raw):
        return
    try:
        yield from _identified(_ANY.decode(raw))
    except _UNREADABLE:
        return


def _identified(value: Any) -> Iterator[tuple[str, str]]:
    """(system, value) of an Identifier or a list of them."""
    for item in _list(value):
        if isinstance(item, dict) and isinstance(item.get("value"), str) and item["value"]:
            system = item.get("system")
            yield (system if isinstance(system, str) else "", item["value"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


class Shelf(Protocol):
    """Lent lines, each under a number and some keys."""

    def under(self, key: bytes) -> Iterable[int]: ...

    def line(self, number: int) -> bytes: ...


def closed(wanted: Iterable[bytes], shelf: Shelf) -> list[int]:
    """Numbers of the lent lines that these keys bring, with their other versions and what they refer to."""
    reached: set[int] = set()
    seen: set[bytes] = set()
    waiting = list(wanted)
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        for number in shelf.under(key):
            if number not in reached:
                reached.add(number)
                line = shelf.line(number)
                waiting += lookups(line)
                waiting.append(hashed(f"lent {r4.decode_struct(line, _Line).id}"))
    return sorted(reached)
