"""Which nodes must be judged together: tied pairs, and the unit that each tied node belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from adapter.screening.deal import DOUBTS, IS, OFFERS, SEEKS, Node

Record = tuple[bytes, Node, int]
Pair = tuple[Node, Node]


class Met(NamedTuple):
    """What some keys come to: the tied pairs, and the keys that have to be looked for in what the sieve
    dropped, those of Specimens and those of Patients apart."""

    pairs: frozenset[Pair]
    specimens: frozenset[bytes]
    patients: frozenset[bytes]


def meet(records: Iterable[Record], specimens: bool = True) -> Met:
    """Nodes tied by what one is or offers and another asks for; all records of a key have to be among them.

    Records are (key, node, role), in any order. What only is asked for ties nobody, nor does an identifier
    that nobody asks by. A Specimen is sought unless somebody is it (never without ``specimens``, where none
    were landed); a Patient if one that was kept bears the identifier asked for, since of two bearers neither
    is meant.
    """
    borne: dict[bytes, Node] = {}
    shared: dict[bytes, set[Node]] = {}
    asked: dict[bytes, set[Node]] = {}
    firm: set[bytes] = set()
    sought: set[bytes] = set()
    doubted: set[bytes] = set()
    for key, node, role in records:
        if role not in (IS, OFFERS):
            asked.setdefault(key, set()).add(node)
            if role == SEEKS and specimens:
                sought.add(key)
            elif role == DOUBTS:
                doubted.add(key)
            continue
        if role == IS:
            firm.add(key)
        if borne.setdefault(key, node) != node:
            shared.setdefault(key, set()).add(node)
    pairs = {
        (node, other)
        for key, node in borne.items()
        if key in firm or key in asked
        for other in shared.get(key, set()) | asked.get(key, set())
        if other != node
    }
    return Met(frozenset(pairs), frozenset(sought - firm), frozenset(doubted & borne.keys()))


def together(parts: Iterable[Met]) -> Met:
    """What keys come to that were met apart."""
    every = tuple(parts)
    return Met(
        frozenset(one for part in every for one in part.pairs),
        frozenset(one for part in every for one in part.specimens),
        frozenset(one for part in every for one in part.patients),
    )


def homes(pairs: Iterable[Pair]) -> dict[Node, Node]:
    """For each tied node the smallest it is tied to, over any number of ties; those nodes themselves are left
    out. The order of the pairs does not matter."""
    leader: dict[Node, Node] = {}

    def find(node: Node) -> Node:
        root = node
        while (above := leader.get(root, root)) != root:
            root = above
        while (above := leader.get(node, node)) != root:
            leader[node], node = root, above
        return root

    for one, other in pairs:
        left, right = find(one), find(other)
        if left != right:
            leader[max(left, right)] = min(left, right)
    return {node: home for node in leader if (home := find(node)) != node}
