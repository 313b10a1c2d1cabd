"""How the units of people are cut into batches: runs of slots of about so many bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from adapter.screening.deal import Node
from adapter.screening.parallel.parts import account_of, slot_of
from adapter.screening.parallel.work import PartOf

Span = tuple[int, int]
MOST = 256  # files that are merged at once
_PEOPLE_A_SLOT = 4
_NEAR = 4


def slots_for(candidates: int, former: Iterable[int] = ()) -> int:
    """As many slots as suit a number of candidates: a power of two, a former one as long as it is near."""
    wanted = candidates // _PEOPLE_A_SLOT
    best = min(1 << 17, max(64, 1 << max(0, wanted - 1).bit_length()))
    return next((slots for slots in former if best <= slots * _NEAR and slots <= best * _NEAR), best)


def sizes_of(parts: Sequence[PartOf], slots: int) -> list[int]:
    """Bytes of the lines of each slot."""
    sizes = [0] * slots
    for part in parts:
        for slot, _, size in account_of(part.path).slots:
            sizes[slot] += size
    return sizes


def spans_of(sizes: list[int], bytes_each: int, workers: int) -> list[tuple[Span, ...]]:
    """The spans of slots of each batch: few enough batches to be merged at once, each of spans small enough
    to be held, and enough of them that no worker is idle.

    All are halves of halves, so that a few lines more leave most of them where they were. A sixth of a
    worker's share lies well between two halves, where mere chance seldom makes two of one.
    """
    most = max(1, min(bytes_each, sum(sizes) // (workers * 6)))
    limit = max(most, sum(sizes) // (MOST // 2))
    before = [0, *accumulate(sizes)]
    while len(batches := _held(before, _halves(before, (0, len(sizes) - 1), limit))) > MOST:
        limit *= 2
    return [tuple(_held(before, _halves(before, batch, most))) for batch in batches]


def _held(before: list[int], spans: Iterable[Span]) -> list[Span]:
    """Spans of which none is empty but where all are: lines may come there from others."""
    found: list[Span] = []
    for first, last in spans:
        if found and (before[last + 1] == before[first] or before[found[-1][1] + 1] == before[found[-1][0]]):
            first = found.pop()[0]
        found.append((first, last))
    return found


def _halves(before: list[int], span: Span, limit: int) -> Iterator[Span]:
    """A span, or its halves if it holds more than a limit; ``before`` are the bytes before each slot."""
    first, last = span
    if first == last or before[last + 1] - before[first] <= limit:
        yield span
        return
    middle = (first + last) // 2
    yield from _halves(before, (first, middle), limit)
    yield from _halves(before, (middle + 1, last), limit)


def moves(tied: Mapping[Node, Node], slots: int) -> dict[Node, int]:
    """To which slot each node goes that is tied to one of another slot."""
    return {
        node: slot_of(home, slots)
        for node, home in tied.items()
        if slot_of(home, slots) != slot_of(node, slots)
    }


def touching(moved: Mapping[Node, int], own: tuple[Span, ...], slots: int) -> dict[Node, int]:
    """Of the nodes that move, those that leave or reach a batch."""
    first, last = own[0][0], own[-1][1]
    return {
        node: slot
        for node, slot in moved.items()
        if first <= slot <= last or first <= slot_of(node, slots) <= last
    }


def overlaps(path: Path, first: int, last: int) -> bool:
    """Whether a file ``judged-SLOTS-FIRST-LAST.rows`` holds slots of a run of them."""
    start, end = (int(one) for one in path.stem.split("-")[2:])
    return start <= last and first <= end
