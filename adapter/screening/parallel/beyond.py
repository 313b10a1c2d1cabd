"""What kept lines need of those that the sieve dropped, range by range (:mod:`adapter.screening.dropped`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec

from adapter.screening.deal import deal
from adapter.screening.dropped import Sought, answering
from adapter.screening.parallel import work
from adapter.screening.parallel.parts import PartWriter, account_of, records_of
from adapter.screening.parallel.underway import PASSED, Underway
from adapter.screening.parallel.work import PartOf
from adapter.source.ranges import Range, blocks_of

_WIRE = msgspec.msgpack


def beyond(run: Underway, sought: Sought, before: list[int], wanted: Path, slots: int) -> list[PartOf]:
    """Parts with the lines that answer to what is sought; ``before`` says of each range how many lines of its
    file come before it. As :func:`adapter.screening.dropped.found`, with the lines on disk."""
    while some := _that_may_answer(run, sought):
        named = run.kept.write("sought", _WIRE.encode([sorted(keys) for keys in sought]))
        pieces = [run.ranges[number] for number in some]
        targets = [
            run.kept.named_by("beyond", run.kept.identity_of(piece), named.name, wanted.name, str(slots))
            for piece in pieces
        ]
        left = {
            at: (_look, (piece, named, wanted, slots, target))
            for at, (piece, target) in enumerate(zip(pieces, targets, strict=True))
            if not target.exists()
        }
        for _ in run.over("others' lines", pieces, left, sum(one.bytes for one in pieces) / PASSED):
            pass
        parts = [
            PartOf(target, run.ranges[number].file.name, before[number])
            for number, target in zip(some, targets, strict=True)
            if account_of(target).kept
        ]
        wider = sought.widened(record.line for part in parts for record in records_of(part.path, 0, slots))
        if wider == sought:
            return parts
        sought = wider
    return []


def _that_may_answer(run: Underway, sought: Sought) -> list[int]:
    names = {file.name for file in run.landing.files(sought.types)}
    return [number for number, piece in enumerate(run.ranges) if piece.file.name in names and sought.types]


def _look(piece: Range, sought: Path, wanted: Path, slots: int, target: Path) -> int:
    """Leave the lines of a range that answer as a part; how many they are."""
    candidates, keys = work.wanted_in(wanted), _sought_in(sought)
    writer = PartWriter(slots)
    for block in blocks_of(piece, work.brief().limits):
        for position, line in answering(block.data, keys, candidates):
            writer.add(deal(line, "", candidates), block.first_line + position, line)
    count = writer.kept
    writer.write(target, parts=1)
    return count


@lru_cache(maxsize=1)
def _sought_in(path: Path) -> Sought:
    return Sought(*_WIRE.decode(path.read_bytes(), type=tuple[frozenset[bytes], frozenset[bytes]]))
