"""From dealt lines to units: who is judged together, and what is lent to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from adapter.model.resource import RawResource
from adapter.screening.deal import Node, closed, deal, lookups
from adapter.screening.ties import homes, pairs_of


class Unit(NamedTuple):
    """Lines judged together, and lent lines they may look up that are not among them."""

    lines: tuple[RawResource, ...]
    lent: tuple[RawResource, ...]


class MemoryShelf:
    """Lent lines by key, held in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[Node, RawResource]] = []
        self._under: dict[bytes, list[int]] = {}

    def add(self, node: Node, raw: RawResource, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._under.setdefault(key, []).append(len(self.lines))
        self.lines.append((node, raw))

    def under(self, key: bytes) -> Iterable[int]:
        return self._under.get(key, ())

    def line(self, number: int) -> bytes:
        return self.lines[number][1].line


def units_in_memory(
    lines: Iterable[RawResource], candidates: frozenset[str], unit_of: Callable[[Node], int]
) -> Iterator[Unit]:
    """Cut lines into units by a number for each node: the same result whatever the numbers are.

    For tests, and for what is small; ``adapter.screening.parallel`` does the same over files.
    """
    shelf = MemoryShelf()
    records: list[tuple[bytes, Node, int]] = []
    pairs: list[tuple[Node, Node]] = []
    dealt: list[tuple[Node, RawResource]] = []
    for raw in lines:
        one = deal(raw.line, raw.where, candidates)
        dealt.append((one.node, raw))
        pairs += [(one.node, other) for other in one.ties]
        records += [(key, one.node, role) for key, role in one.keys]
        if one.lends:
            shelf.add(one.node, raw, one.lends)
    home = homes([*pairs, *pairs_of(records)])
    units: dict[int, list[RawResource]] = {}
    for node, raw in dealt:
        units.setdefault(unit_of(home.get(node, node)), []).append(raw)
    for number, own in units.items():
        wanted = {key for raw in own for key in lookups(raw.line)}
        lent = (shelf.lines[one] for one in closed(wanted, shelf))
        elsewhere = tuple(raw for node, raw in lent if unit_of(home.get(node, node)) != number)
        yield Unit(tuple(own), elsewhere)
