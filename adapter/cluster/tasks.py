"""What the executors read: numbers of tasks in, Arrow batches out, no Spark and nothing left behind.

Tasks may run twice, at once or again: what they give depends on their input alone, and they write nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from adapter.cluster.carried import Carried
from adapter.cluster.faults import Batches, Task, guarded
from adapter.cluster.ranges import Range, blocks
from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.screening.deal import Dealt, Node, deal
from adapter.screening.dropped import Sought, answering
from adapter.screening.unowned import Unowned
from adapter.source.ndjson import Block, Limits, line_ends, numbered_lines, type_of
from adapter.source.nominate import (
    PATIENT,
    STUDY,
    Blocks,
    Identifier,
    linked_in,
    nominated_in,
    studies_in,
)
from adapter.source.sieve import sieve
from adapter.trial import Trial

Tasks = Sequence[Sequence[Range]]

OWN_ENDPOINT = -1
BUCKETS = 256
LINE, KEYS, ACCOUNT = "line", "keys", "account"
_KEY = 8
RECORD = 2 * _KEY + 1
_ROWS_PER_BATCH = 4096
_BYTES_PER_BATCH = 16 * 2**20

FOUND = pa.schema([("found", pa.binary())])
# ``line``: of range ``number``, at ``position`` from 0, dealt to ``node``. ``keys``: records of bucket
# ``number``, each a key, a node and a role. ``account``: a :class:`Account` of range ``number``.
DEALT = pa.schema(
    [
        ("kind", pa.string()),
        ("number", pa.int32()),
        ("position", pa.int64()),
        ("node", pa.binary()),
        ("data", pa.binary()),
    ]
)


class LentLine(msgspec.Struct, frozen=True, array_like=True):
    """A line that many people may look up, with the keys it is looked up by."""

    position: int
    node: Node
    keys: tuple[bytes, ...]
    line: bytes


class Account(msgspec.Struct, frozen=True, array_like=True):
    """What a range comes to, for the driver; a range may have several, which add up.

    Line ends; lines that are a Patient or cannot be read, where they have to be counted; lines that were
    kept, their bytes and those of their keys; nodes that a line itself ties; lent lines; what lines without
    an owner cost everybody.
    """

    ends: int
    patients: int
    kept: int
    bytes: int
    keys: int
    ties: tuple[tuple[Node, Node], ...]
    lent: tuple[LentLine, ...]
    gaps: tuple[Coverage, ...]


class Reading(NamedTuple):
    """What every pass has to know: which ranges are whose task, and how long a line may be."""

    tasks: Tasks
    limits: Limits | None


def studying(reading: Reading, names: frozenset[str]) -> Task:
    """First pass: local ids of studies."""
    return _scanning(reading, STUDY, lambda read: studies_in(read, names))


def nominating(reading: Reading, query: CandidateQuery, studies: frozenset[str]) -> Task:
    """Second pass: whom ranges nominate; an issue's reference is range:position."""
    return _scanning(reading, query.resource_types, lambda read: nominated_in(read, query, studies))


def linking(reading: Reading, identifiers: frozenset[Identifier]) -> Task:
    """Third pass: patients known by an identifier, and patient records linked to each other."""
    return _scanning(reading, PATIENT, lambda read: linked_in(read, identifiers))


def _scanning(reading: Reading, types: frozenset[str], find: Callable[[Blocks], object]) -> Task:
    """One row of :data:`FOUND` a task."""
    carried = Carried((reading, find))

    def run(batches: Batches) -> Batches:
        (tasks, limits), look = carried.value
        for number in numbers_in(batches):
            pieces = [piece for piece in tasks[number] if piece.may_hold(types)]
            found = look((str(piece.number), block) for piece in pieces for block in blocks(piece, limits))
            yield pa.RecordBatch.from_pydict({"found": [msgspec.msgpack.encode(found)]}, schema=FOUND)

    return guarded(run)


def dealing(reading: Reading, candidates: frozenset[str], trial: Trial) -> Task:
    """Read, sieve and deal: takes numbers of tasks, gives :data:`DEALT`."""
    carried = Carried((reading, candidates, trial))

    def run(batches: Batches) -> Batches:
        (tasks, limits), wanted, opened = carried.value
        rows = DealtRows()
        for number in numbers_in(batches):
            for piece in tasks[number]:
                unowned = Unowned()
                rows.begin(piece.number)
                for block in blocks(piece, limits):
                    rows.count(line_ends(block.data), _patients_in(block) if piece.mixes_patients else 0)
                    for at, line in sieve(block.data, wanted):
                        position = block.first_line - 1 + at
                        rows.add(position, line, deal(line, f"{piece.number}:{position}", wanted))
                        unowned.see(line)
                        if rows.full:
                            yield rows.batch()
                rows.end(unowned.gaps(lambda: opened))
        yield rows.batch()

    return guarded(run)


def answering_in(reading: Reading, sought: Sought, candidates: frozenset[str]) -> Task:
    """Read what the sieve drops, and deal what answers: takes numbers of tasks, gives :data:`DEALT`."""
    carried = Carried((reading, sought, candidates))

    def run(batches: Batches) -> Batches:
        (tasks, limits), keys, wanted = carried.value
        rows = DealtRows()
        for number in numbers_in(batches):
            for piece in (piece for piece in tasks[number] if piece.may_hold(keys.types)):
                rows.begin(piece.number)
                for block in blocks(piece, limits):
                    for at, line in answering(block.data, keys, wanted):
                        rows.add(block.first_line - 1 + at, line, deal(line, "", wanted))
                        if rows.full:
                            yield rows.batch()
                rows.end()
        yield rows.batch()

    return guarded(run)


def dealt(resources: Iterable[RawResource], candidates: frozenset[str]) -> pa.RecordBatch:
    """:data:`DEALT` rows of what was not landed: answers given here, at ``own endpoint:number``."""
    rows = DealtRows()
    rows.begin(OWN_ENDPOINT)
    for one in resources:
        position = int(one.where.rpartition(":")[2]) - 1
        rows.add(position, one.line, deal(one.line, f"{OWN_ENDPOINT}:{position}", candidates))
    rows.end()
    return rows.batch()


def numbers_in(batches: Batches) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


def records_in(packed: bytes) -> Iterator[tuple[bytes, Node, int]]:
    for at in range(0, len(packed), RECORD):
        yield packed[at : at + _KEY], packed[at + _KEY : at + RECORD - 1], packed[at + RECORD - 1]


def _patients_in(block: Block) -> int:
    return sum(type_of(line) in ("Patient", "") for _, line in numbered_lines(block))


class DealtRows:
    """Lines, keys and accounts until they are enough for a batch."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, int, int, Node | None, bytes]] = []
        self._keys: dict[int, bytearray] = {}
        self._accounts: list[tuple[str, int, int, None, bytes]] = []
        self._bytes = 0
        self.begin(OWN_ENDPOINT)

    def begin(self, number: int) -> None:
        self._number = number
        self._ends = self._patients = self._kept = self._kept_bytes = self._key_bytes = 0
        self._ties: list[tuple[Node, Node]] = []
        self._lent: list[LentLine] = []

    def count(self, ends: int, patients: int) -> None:
        self._ends += ends
        self._patients += patients

    def add(self, position: int, line: bytes, dealt: Dealt) -> None:
        self._lines.append((LINE, self._number, position, dealt.node, line))
        self._kept += 1
        self._kept_bytes += len(line)
        self._bytes += len(line)
        for key, role in dealt.keys:
            self._keys.setdefault(key[0] % BUCKETS, bytearray()).extend(key + dealt.node + bytes([role]))
        self._key_bytes += RECORD * len(dealt.keys)
        self._ties += [(dealt.node, other) for other in dealt.ties]
        if dealt.lends:
            self._lent.append(LentLine(position, dealt.node, dealt.lends, line))

    def end(self, gaps: tuple[Coverage, ...] = ()) -> None:
        """Account for what came since the range began or was last accounted for."""
        account = Account(
            self._ends,
            self._patients,
            self._kept,
            self._kept_bytes,
            self._key_bytes,
            tuple(self._ties),
            tuple(self._lent),
            gaps,
        )
        self._accounts.append((ACCOUNT, self._number, 0, None, msgspec.msgpack.encode(account)))
        self.begin(self._number)

    @property
    def full(self) -> bool:
        return len(self._lines) >= _ROWS_PER_BATCH or self._bytes >= _BYTES_PER_BATCH

    def batch(self) -> pa.RecordBatch:
        self.end()
        keys = [(KEYS, bucket, 0, None, bytes(packed)) for bucket, packed in sorted(self._keys.items())]
        rows: list[tuple[Any, ...]] = [*self._lines, *keys, *self._accounts]
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, DEALT, strict=True)]
        self._lines, self._keys, self._accounts, self._bytes = [], {}, [], 0
        return pa.RecordBatch.from_arrays(arrays, schema=DEALT)
