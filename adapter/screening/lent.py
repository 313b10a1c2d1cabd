"""Lent lines of a screening that is small enough to hold them in memory."""

from __future__ import annotations

from collections.abc import Iterable

from adapter.model.resource import RawResource
from adapter.screening.deal import Node


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
