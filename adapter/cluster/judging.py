"""What the executors judge: keys to ties, and the lines of a unit of people to what is decided about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
import pyarrow as pa

from adapter.cluster.carried import Carried
from adapter.cluster.faults import Batches, Task, guarded, guarded_table
from adapter.cluster.tasks import records_in
from adapter.model.resource import RawResource
from adapter.screening.deal import closed, lookups
from adapter.screening.judge import Judged, Question, judge, lost_by_all
from adapter.screening.lent import MemoryShelf
from adapter.screening.ties import Met, meet
from adapter.source.ndjson import type_of

_HASH = 8

MET = pa.schema([("met", pa.binary())])
# ``gaps``: coverage rows that lines without an owner cost everybody, "" if there are none. ``judged``: what a
# unit came to, over several rows where it is long; ``more`` but for the last. Spark takes a row on its way to
# the driver as text, several times over.
JUDGED = pa.schema([("gaps", pa.binary()), ("judged", pa.binary()), ("more", pa.bool_())])
_ROW = 2**20


class Places(NamedTuple):
    """Which file a range is of, and which of its lines is the first of the range."""

    names: Mapping[int, str]
    first_lines: Mapping[int, int]

    def at(self, number: int, position: int) -> str:
        """``file:line``, counting from 1, of a line at ``position`` from 0 in a range."""
        return f"{self.names[number]}:{self.first_lines[number] + position}"


class Brief(NamedTuple):
    """What has to be known to judge any unit."""

    question: Question
    shelf: MemoryShelf
    places: Places


def meeting(specimens: bool) -> Task:
    """:data:`MET` from (bucket, records): all records of a key have to come to one task."""

    def run(batches: Batches) -> Batches:
        packed = (one for batch in batches for one in batch.column(1).to_pylist())
        found = meet((record for one in packed for record in records_in(one)), specimens)
        nodes = b"".join(node for pair in sorted(found.pairs) for node in pair)
        keys = (b"".join(sorted(found.specimens)), b"".join(sorted(found.patients)))
        yield pa.RecordBatch.from_pydict({"met": [msgspec.msgpack.encode((nodes, *keys))]}, schema=MET)

    return guarded(run)


def met_in(packed: bytes) -> Met:
    pairs, specimens, patients = map(_hashes, msgspec.msgpack.decode(packed, type=tuple[bytes, bytes, bytes]))
    return Met(
        frozenset(zip(pairs[::2], pairs[1::2], strict=True)), frozenset(specimens), frozenset(patients)
    )


def _hashes(packed: bytes) -> list[bytes]:
    return [packed[at : at + _HASH] for at in range(0, len(packed), _HASH)]


def judging(brief: Brief) -> Callable[[pa.Table], pa.Table]:
    """Judge one unit, whole: its lines (number, position, data) to :data:`JUDGED`."""
    carried = Carried(brief)

    def run(table: pa.Table) -> pa.Table:
        question, shelf, places = carried.value
        columns = (table.column(name).to_pylist() for name in ("number", "position", "data"))
        lines = [
            RawResource(line, places.at(number, position), type_of(line))
            for number, position, line in zip(*columns, strict=True)
        ]
        here = {one.where for one in lines}
        wanted = {key for one in lines for key in lookups(one.line)}
        elsewhere = [shelf.lines[one][1] for one in closed(wanted, shelf)]
        judged = judge(lines, [one for one in elsewhere if one.where not in here], question)
        gaps = lost_by_all(judged.lost)
        return _rows(msgspec.msgpack.encode(gaps) if gaps else b"", msgspec.msgpack.encode(judged))

    return guarded_table(run)


def _rows(gaps: bytes, judged: bytes) -> pa.Table:
    parts = [judged[at : at + _ROW] for at in range(0, len(judged), _ROW)]
    more = [True] * (len(parts) - 1) + [False]
    return pa.table({"gaps": [gaps, *[b""] * (len(parts) - 1)], "judged": parts, "more": more}, schema=JUDGED)


def judged_in(rows: Iterable[tuple[bytes, bool]]) -> Iterator[Judged]:
    """What units came to, from (judged, more) in the order in which they were given."""
    held = bytearray()
    for judged, more in rows:
        held += judged
        if not more:
            yield msgspec.msgpack.decode(held, type=Judged)
            held = bytearray()
