"""First pass over the bytes: who may be a candidate.

A line of a nominating type that holds any code or text of the query nominates its subject. Lines that may
hold one are found by short parts of them (:mod:`adapter.source.anchors`); only these are parsed, and their
strings compared as mapping compares wordings: full width, case and blanks aside.

Merged records join both ways and transitively: Patient.link may sit on the survivor (``replaces``), on the
replaced record (``replaced-by``) or on either (``seealso``); whether they are one person the mappers decide.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import msgspec
from ahocorasick_rs import BytesAhoCorasick, MatchKind

from adapter.model.candidates import CandidateQuery, Candidates
from adapter.model.issue import Issue
from adapter.model.wording import folded
from adapter.source.anchors import Anchors
from adapter.source.ndjson import Block

N = TypeVar("N", bound=Hashable)
Identifier = tuple[str, str]
Blocks = Iterable[tuple[str, Block]]
Reader = Callable[[frozenset[str]], Blocks]

STUDY = frozenset({"ResearchStudy"})
PATIENT = frozenset({"Patient"})
_SUBJECT_KEYS = ("subject", "patient", "individual", "beneficiary")
_LITERAL = re.compile(r"(?:(?:^|/)Patient/|^(?i:urn:(?:uuid|oid):))([^/?#|\s]+)(?:/_history/[^/\s]+)?$")
_CONDITIONAL = re.compile(r"^Patient\?identifier=([^|]*)\|(.+)$")
_ANYWHERE = re.compile(rb'Patient\\?/([^"/?#|\s\\]+)')
_JSON = msgspec.json.Decoder()


class Nominated(NamedTuple):
    """Whom some blocks nominate: patient ids, identifiers of patients, and resources without a subject."""

    ids: frozenset[str] = frozenset()
    identifiers: frozenset[Identifier] = frozenset()
    issues: tuple[Issue, ...] = ()


class Linked(NamedTuple):
    """What some blocks say of patient records: who bears an identifier asked for, and links from a record to
    another by its id (``pairs``) or by an identifier (``named``)."""

    bearers: frozenset[tuple[str, Identifier]] = frozenset()
    pairs: frozenset[tuple[str, str]] = frozenset()
    named: frozenset[tuple[str, Identifier]] = frozenset()


def candidate_ids(read: Reader, query: CandidateQuery, moved: Iterable[tuple[str, str]] = ()) -> Candidates:
    """Find every patient the query nominates, and who has a version of a resource of theirs (``moved``).

    ``read(types)`` gives ``(file name, block)`` anew at each call; it may leave out files that hold none of
    the types. The data is passed over for studies (when the query names any), for nominations, and for
    identifiers and merged records. Each pass is a function of blocks, and what it finds in some and in others
    is what it finds in all.
    """
    studies = studies_in(read(STUDY), query.studies) if query.studies else frozenset()
    found = nominated_in(read(query.resource_types), query, studies)
    return candidates_of(found, lambda asked: [linked_in(read(PATIENT), asked)], moved)


def studies_in(blocks: Blocks, names: frozenset[str]) -> frozenset[str]:
    """First pass: local ids of the ResearchStudies that bear one of these identifiers."""
    return frozenset(
        str(resource["id"])
        for _, _, _, resource in hits(blocks, names)
        if isinstance(resource, dict) and resource.get("resourceType") == "ResearchStudy" and "id" in resource
    )


def nominated_in(blocks: Blocks, query: CandidateQuery, studies: frozenset[str]) -> Nominated:
    """Second pass; ``studies`` are what the first found anywhere."""
    needles = query.codes | query.texts | query.studies | {f"ResearchStudy/{study}" for study in studies}
    found = _Nominations(query.resource_types)
    for file, number, line, resource in hits(blocks, needles):
        found.add(resource, line, f"{file}:{number}")
    return Nominated(frozenset(found.ids), frozenset(found.identifiers), tuple(found.issues))


def linked_in(blocks: Blocks, identifiers: frozenset[Identifier]) -> Linked:
    """Third pass; ``identifiers`` are what the second found anywhere."""
    bearers: set[tuple[str, Identifier]] = set()
    pairs: set[tuple[str, str]] = set()
    named: set[tuple[str, Identifier]] = set()
    for _, _, _, resource in hits(blocks, frozenset({"link", *(value for _, value in identifiers)})):
        if not isinstance(resource, dict) or resource.get("resourceType") != "Patient":
            continue
        own = resource.get("id")
        if not isinstance(own, str):
            continue
        bearers.update((own, one) for one in _identifiers(resource.get("identifier")) & identifiers)
        ids, others = _linked(resource)
        pairs.update((own, other) for other in ids)
        named.update((own, other) for other in others)
    return Linked(frozenset(bearers), frozenset(pairs), frozenset(named))


def together(parts: Iterable[Nominated]) -> Nominated:
    """Whom several blocks nominate, from what each does."""
    every = tuple(parts)
    return Nominated(
        frozenset(name for one in every for name in one.ids),
        frozenset(name for one in every for name in one.identifiers),
        tuple(issue for one in every for issue in one.issues),
    )


def candidates_of(
    found: Nominated,
    link: Callable[[frozenset[Identifier]], Iterable[Linked]],
    moved: Iterable[tuple[str, str]] = (),
) -> Candidates:
    """What the passes come to: the nominated, those known by an identifier, every record linked to one.

    ``link`` is the third pass, for some identifiers; it is made once more if a record is linked by others.
    Whoever has another version of a resource of theirs is read with them, since read alone either would be
    misread; that makes nobody a candidate.
    """
    linked = _linked_of(found, link)
    neighbours: defaultdict[str | Identifier, set[str | Identifier]] = defaultdict(set)

    def reached(ties: Iterable[tuple[str, str | Identifier]]) -> frozenset[str]:
        for own, other in ties:
            neighbours[own].add(other)
            neighbours[other].add(own)
        everyone = closure(found.ids | found.identifiers, neighbours)
        return frozenset(one for one in everyone if isinstance(one, str))

    ids = reached(chain(linked.bearers, linked.pairs, linked.named))
    issues = tuple(sorted(found.issues, key=lambda issue: issue.reference))
    return Candidates(ids, reached(moved), issues, len(issues))


def _linked_of(found: Nominated, link: Callable[[frozenset[Identifier]], Iterable[Linked]]) -> Linked:
    if not found.ids and not found.identifiers:
        return Linked()
    parts = tuple(link(found.identifiers))
    named = frozenset(identifier for one in parts for _, identifier in one.named)
    if not named <= found.identifiers:
        parts = tuple(link(found.identifiers | named))
    return Linked(
        frozenset(pair for one in parts for pair in one.bearers),
        frozenset(pair for one in parts for pair in one.pairs),
        frozenset(pair for one in parts for pair in one.named),
    )


def hits(blocks: Blocks, needles: frozenset[str]) -> Iterator[tuple[str, int, bytes, Any]]:
    """(file, line number, line, decoded JSON or None) of each line that holds a needle in any string."""
    search = _compiled(needles)
    for file, block in blocks:
        for number, text in search.lines(block.data):
            line = text.strip()
            resource = _decoded(line)
            if search.in_strings(resource) if resource is not None else search.may_hide_in(line):
                yield file, block.first_line + number, line, resource


class _Patterns:
    """All needles, compared as wordings are (:func:`adapter.model.wording.folded`)."""

    def __init__(self, needles: frozenset[str]) -> None:
        words = sorted({folded(needle) for needle in needles} - {""})
        # Leftmost matching is what lets the library use its vectorised prefilter: three times as fast.
        self._held = BytesAhoCorasick([_bytes(word) for word in words], MatchKind.LeftmostLongest)
        self._anchors = Anchors(words)

    def lines(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(0-based number, line) of each line that may hold a needle."""
        if self._anchors.usable:
            yield from self._anchors.lines(data)
            return
        for number, line in enumerate(data.split(b"\n")):
            if b"\\" in line or not line.isascii() or self.in_texts([line.decode()]):
                yield number, line

    def in_strings(self, value: Any) -> bool:
        """Whether any string (or key) of a decoded resource holds a needle."""
        return self.in_texts(_strings(value))

    def may_hide_in(self, line: bytes) -> bool:
        """Of a line that does not parse."""
        return b"\\u" in line or self.in_texts([line.decode(errors="replace")])

    def in_texts(self, texts: Iterable[str]) -> bool:
        some = b"\xff".join(_bytes(folded(text)) for text in texts)  # a byte that no text has
        return bool(self._held.find_matches_as_indexes(some))


_compiled = lru_cache(maxsize=8)(_Patterns)


class _Nominations:
    def __init__(self, types: frozenset[str]) -> None:
        self._types = types
        self.ids: set[str] = set()
        self.identifiers: set[Identifier] = set()
        self.issues: list[Issue] = []

    def add(self, resource: Any, line: bytes, where: str) -> None:
        """Take the subjects of one line; a line that does not parse nominates every patient it names."""
        if not isinstance(resource, dict):
            self.ids.update(name.decode(errors="replace") for name in _ANYWHERE.findall(line))
            return
        kind = resource.get("resourceType")
        if not isinstance(kind, str) or kind not in self._types:
            return
        ids, identifiers = subjects_of(resource)
        self.ids |= ids
        self.identifiers |= identifiers
        if not ids and not identifiers:
            detail = "a candidate's code or text, but no patient that can be told from the resource"
            self.issues.append(Issue("CANDIDATE_WITHOUT_SUBJECT", "warning", kind, where, detail=detail))


def subjects_of(resource: dict[str, Any]) -> tuple[set[str], set[Identifier]]:
    """Patient ids and identifiers by which a resource, or one it contains, says whose it is."""
    if resource.get("resourceType") == "Patient":
        return ({resource["id"]} if isinstance(resource.get("id"), str) else set()), set()
    contained = [inner for inner in _list(resource.get("contained")) if isinstance(inner, dict)]
    ids: set[str] = set()
    identifiers: set[Identifier] = set()
    for holder in (resource, *contained):
        for reference in (ref for key in _SUBJECT_KEYS for ref in _list(holder.get(key))):
            if not isinstance(reference, dict):
                continue
            own, others = _named(reference)
            ids |= own
            identifiers |= others
            literal = reference.get("reference")
            if isinstance(literal, str) and literal.startswith("#"):
                for inner in contained:
                    if inner.get("id") == literal[1:]:
                        identifiers |= _identifiers(inner.get("identifier"))
    return ids, identifiers


def _named(reference: dict[str, Any]) -> tuple[set[str], set[Identifier]]:
    """Patient ids and identifiers by which a reference names somebody, in any spelling of R4, 2.3.0.1."""
    identifiers = _identifiers(reference.get("identifier"))
    literal = reference.get("reference")
    text = literal.strip() if isinstance(literal, str) else ""
    if match := _LITERAL.search(text):
        return {match[1]}, identifiers
    if match := _CONDITIONAL.match(text):
        identifiers.add((match[1], match[2]))
    return set(), identifiers


def linked_patients(patient: dict[str, Any]) -> Iterator[str]:
    """Ids of the records a Patient is linked to, whatever the type of the link."""
    yield from sorted(_linked(patient)[0])


def _linked(patient: dict[str, Any]) -> tuple[set[str], set[Identifier]]:
    ids: set[str] = set()
    identifiers: set[Identifier] = set()
    for link in _list(patient.get("link")):
        other = link.get("other") if isinstance(link, dict) else None
        if isinstance(other, dict):
            own, others = _named(other)
            ids |= own
            identifiers |= others
    return ids, identifiers


def holds(raw: bytes, needles: frozenset[str]) -> bool:
    """Whether any string of one resource holds a needle."""
    resource = _decoded(raw)
    return resource is not None and _compiled(needles).in_strings(resource)


def closure(ids: Iterable[N], linked: Mapping[N, Collection[N]]) -> set[N]:
    """Everything reachable over undirected links; cycles are harmless."""
    reached: set[N] = set()
    waiting = list(ids)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(linked.get(name, ()))
    return reached


def _identifiers(value: Any) -> set[Identifier]:
    """(system, value) of an Identifier or a list of them; without a value it identifies nobody."""
    return {
        (str(item.get("system", "")), item["value"])
        for item in _list(value)
        if isinstance(item, dict) and isinstance(item.get("value"), str) and item["value"]
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _decoded(line: bytes) -> Any:
    try:
        return _JSON.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _strings(value: Any) -> list[str]:
    """Every string and key of a decoded resource, in no order."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            found += one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
