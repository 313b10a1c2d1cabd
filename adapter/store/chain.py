"""The audit's chain: every row carries the hash of the one before; checkpoints say where it once stood.

Pure: rows and checkpoints come in, what is wrong with them goes out. A row's hash is the SHA-256 of a JSON
array of its cells as they are stored, so no two different rows have the same bytes. The chain alone shows
any change between two rows; only a checkpoint shows that rows are missing at the end, or that everything
from some row on was written again with hashes that fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

GENESIS = "0" * 64  # what the first row names as the hash before it


class Link(msgspec.Struct, frozen=True):
    """One row as it is stored: ``what`` and ``detail`` are JSON texts, ``at`` is ISO 8601."""

    number: int
    at: str
    actor: str
    action: str
    what: str
    detail: str
    previous: str
    hash: str


class Checkpoint(msgspec.Struct, frozen=True):
    """At a time, row ``number`` was the last and had this hash."""

    number: int
    hash: str
    at: str


class Flaw(msgspec.Struct, frozen=True):
    """Something wrong, and the first row it touches. ``kind`` is one of:

    changed (the content is not what was hashed), unlinked (does not follow the row before it), misplaced
    (numbers are not 1, 2, 3 ...), unreadable (a cell is no text), cut (a checkpoint knows rows that are
    gone), rewritten (a checkpoint knows another hash), unguarded (the database would let rows be changed).
    """

    number: int
    kind: str
    text: str


class Verdict(msgspec.Struct, frozen=True):
    """What a whole chain is worth; ``number`` and ``hash`` are those of its last row (0 and zeros: empty)."""

    rows: int
    number: int
    hash: str
    checkpoints: int
    checkpointed: int
    flaws: tuple[Flaw, ...] = ()

    @property
    def sound(self) -> bool:
        return not self.flaws


def sealed(link: Link) -> Link:
    """The row with its own hash."""
    return msgspec.structs.replace(link, hash=digest(link))


def digest(link: Link) -> str:
    cells = [link.number, link.at, link.actor, link.action, link.what, link.detail, link.previous]
    return hashlib.sha256(msgspec.json.encode(cells)).hexdigest()


def examine(links: Iterable[Link], checkpoints: Iterable[Checkpoint]) -> Verdict:
    """Follow the chain in the order given. Every flaw of every row is named, in order."""
    flaws: list[Flaw] = []
    known: dict[int, list[Checkpoint]] = {}
    for one in checkpoints:
        known.setdefault(one.number, []).append(one)
    number, before, rows = 0, GENESIS, 0
    for link in links:
        rows += 1
        if not _readable(link):
            flaws.append(Flaw(number + 1, "unreadable", "a cell is not what was ever written"))
            number, before = number + 1, ""
            continue
        flaws += _own_flaws(link, number, before)
        flaws += [
            Flaw(link.number, "rewritten", f"had another hash at {one.at}")
            for one in known.get(link.number, [])
            if one.hash != link.hash
        ]
        number, before = link.number, link.hash
    last = max(known, default=0)
    flaws += [
        Flaw(number + 1, "cut", f"row {one.number} was there at {one.at}; the last is {number}")
        for _, several in sorted(known.items())
        for one in several
        if one.number > number
    ]
    return Verdict(rows, number, before, sum(map(len, known.values())), last, tuple(flaws))


def _readable(link: Link) -> bool:
    """A database may hold in a cell what its column does not allow."""
    number, *texts = msgspec.structs.astuple(link)
    return isinstance(number, int) and all(isinstance(one, str) for one in texts)


def _own_flaws(link: Link, number: int, before: str) -> list[Flaw]:
    flaws = []
    if link.number != number + 1:
        flaws.append(Flaw(link.number, "misplaced", f"stands after row {number}"))
    if link.previous != before:
        flaws.append(Flaw(link.number, "unlinked", f"does not follow row {number} as it is now"))
    if link.hash != digest(link):
        flaws.append(Flaw(link.number, "changed", "its content is not what was hashed"))
    return flaws
