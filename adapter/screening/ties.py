"""Which nodes must be judged together: tied pairs, and the unit that each tied node belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adapter.screening.deal import ASKS, IS, Node

Record = tuple[bytes, Node, int]


def pairs_of(records: Iterable[Record]) -> Iterator[tuple[Node, Node]]:
    """Nodes tied by what one is or offers and another asks for; all records of a key have to be among them.

    Records are (key, node, role), in any order. What only is asked for ties nobody, nor does an identifier
    that nobody asks by.
    """
    borne: dict[bytes, Node] = {}
    shared: dict[bytes, set[Node]] = {}
    asked: dict[bytes, set[Node]] = {}
    firm: set[bytes] = set()
    for key, node, role in records:
        if role == ASKS:
            asked.setdefault(key, set()).add(node)
            continue
        if role == IS:
            firm.add(key)
        if borne.setdefault(key, node) != node:
            shared.setdefault(key, set()).add(node)
    for key, node in borne.items():
        asking = asked.get(key, set())
        if key in firm or asking:
            yield from ((node, other) for other in sorted((shared.get(key, set()) | asking) - {node}))


def homes(pairs: Iterable[tuple[Node, Node]]) -> dict[Node, Node]:
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
