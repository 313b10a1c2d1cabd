"""What runs on the executors: Arrow batches in, Arrow batches out, no Spark and nothing left behind.

Tasks may run twice, at once or again: what they give depends on their input alone, and they write nothing.
A fault of ours is told in full, since it never quotes data; of any other only its class and place in the
program, since its text may quote a record and would lie in the logs of the cluster.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from adapter import errors
from adapter.cluster.ranges import Range, blocks
from adapter.errors import AdapterError
from adapter.model import wire
from adapter.model.candidates import CandidateQuery
from adapter.model.resource import RawResource
from adapter.screening.deal import Node, closed, deal, lookups
from adapter.screening.judge import Question, judge
from adapter.screening.lent import MemoryShelf
from adapter.screening.ties import pairs_of
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

Batches = Iterator[pa.RecordBatch]
Task = Callable[[Batches], Batches]
Tasks = Sequence[Sequence[Range]]
Row = tuple[str, str, str]

_OURS = "adapter fault "
_ROWS_PER_BATCH = 4096
_BYTES_PER_BATCH = 16 * 2**20

# A row is a line that was kept, or (``node`` is null) the account of one range: ``position`` is then its line
# ends, ``patients`` its lines that are a Patient or cannot be read. A key carries its role as a ninth byte.
DEALT = pa.schema(
    [
        ("range", pa.int32()),
        ("position", pa.int64()),
        ("patients", pa.int64()),
        ("node", pa.binary()),
        ("ties", pa.list_(pa.binary())),
        ("keys", pa.list_(pa.binary())),
        ("lends", pa.list_(pa.binary())),
        ("line", pa.binary()),
    ]
)
FOUND = pa.schema([("kind", pa.string()), ("one", pa.string()), ("other", pa.string())])
PAIRS = pa.schema([("one", pa.binary()), ("other", pa.binary())])
NUMBERED = pa.schema([("unit", pa.int32()), ("place", pa.string()), ("line", pa.binary())])
JUDGED = pa.schema([("unit", pa.int32()), ("judged", pa.binary())])


OWN_ENDPOINT = -1


class TaskFault(RuntimeError):
    """What went wrong on an executor, without data: see :func:`fault_in`."""


class Lent(NamedTuple):
    """A line that many people may look up, with the keys it is looked up by."""

    node: Node
    keys: tuple[bytes, ...]
    resource: RawResource


def studying(tasks: Tasks, names: frozenset[str], limits: Limits | None) -> Task:
    """First pass over some ranges: local ids of studies, as :data:`FOUND`."""

    def find(read: Blocks) -> Iterator[Row]:
        for one in sorted(studies_in(read, names)):
            yield "study", one, ""

    return _scanning(tasks, STUDY, limits, find)


def nominating(tasks: Tasks, query: CandidateQuery, studies: frozenset[str], limits: Limits | None) -> Task:
    """Second pass: whom ranges nominate; an issue's reference is range:position."""

    def find(read: Blocks) -> Iterator[Row]:
        found = nominated_in(read, query, studies)
        for name in sorted(found.ids):
            yield "id", name, ""
        for system, value in sorted(found.identifiers):
            yield "identifier", system, value
        for issue in found.issues:
            yield "issue", wire.encode(issue).decode(), ""

    return _scanning(tasks, query.resource_types, limits, find)


def linking(tasks: Tasks, identifiers: frozenset[Identifier], limits: Limits | None) -> Task:
    """Third pass: patients known by an identifier, and patient records linked to each other."""

    def find(read: Blocks) -> Iterator[Row]:
        found = linked_in(read, identifiers)
        for name in sorted(found.known):
            yield "known", name, ""
        for own, other in sorted(found.pairs):
            yield "link", own, other

    return _scanning(tasks, PATIENT, limits, find)


def _scanning(
    tasks: Tasks, types: frozenset[str], limits: Limits | None, find: Callable[[Blocks], Iterator[Row]]
) -> Task:
    def run(batches: Batches) -> Batches:
        for number in _numbers(batches):
            pieces = [piece for piece in tasks[number] if piece.may_hold(types)]
            rows = _Rows(FOUND)
            for row in find(
                (str(piece.number), block) for piece in pieces for block in blocks(piece, limits)
            ):
                rows.add(row, 0)
                if rows.full:
                    yield rows.batch()
            yield rows.batch()

    return _guarded(run)


def dealing(tasks: Tasks, candidates: frozenset[str], limits: Limits | None) -> Task:
    """Read, sieve and deal: takes numbers of ``tasks``, gives :data:`DEALT`."""

    def run(batches: Batches) -> Batches:
        rows = _Rows(DEALT)
        for number in _numbers(batches):
            for piece in tasks[number]:
                position = patients = 0
                counted = piece.may_hold(PATIENT)
                for block in blocks(piece, limits):
                    patients += _patients_in(block) if counted else 0
                    for at, line in sieve(block.data, candidates):
                        place = block.first_line - 1 + at
                        dealt = deal(line, f"{piece.number}:{place}", candidates)
                        keys = [key + bytes([role]) for key, role in dealt.keys]
                        rows.add(
                            (piece.number, place, 0, dealt.node, dealt.ties, keys, dealt.lends, line),
                            len(line),
                        )
                        if rows.full:
                            yield rows.batch()
                    position = block.first_line - 1 + line_ends(block.data)
                rows.add((piece.number, position, patients, None, (), (), (), None), 0)
        yield rows.batch()

    return _guarded(run)


def dealt(resources: Iterable[RawResource], candidates: frozenset[str]) -> pa.Table:
    """:data:`DEALT` rows of what was not landed: answers given here, at ``own endpoint:number``."""
    rows = _Rows(DEALT)
    for one in resources:
        number = int(one.where.rpartition(":")[2])
        rows.add(_dealt(OWN_ENDPOINT, number - 1, one.line, candidates), len(one.line))
    return pa.Table.from_batches([rows.batch()])


def _dealt(number: int, position: int, line: bytes, candidates: frozenset[str]) -> tuple[Any, ...]:
    found = deal(line, f"{number}:{position}", candidates)
    keys = [key + bytes([role]) for key, role in found.keys]
    return number, position, 0, found.node, found.ties, keys, found.lends, line


def tying(batches: Batches) -> Batches:
    """Nodes tied by a key, :data:`PAIRS`, from (key, node); all rows of a key have to come to one task."""
    records = [
        (key[:8], node, key[8])
        for batch in batches
        for key, node in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
    ]
    pairs = sorted(set(pairs_of(records)))
    yield pa.RecordBatch.from_arrays(
        [pa.array([pair[side] for pair in pairs], pa.binary()) for side in (0, 1)], schema=PAIRS
    )


def numbering(
    names: Mapping[int, str], first_lines: Mapping[int, int], homes: Mapping[Node, Node], units: int
) -> Task:
    """Say which line of its file each line is and which of ``units`` it goes to: :data:`DEALT` to
    :data:`NUMBERED`."""

    def run(batches: Batches) -> Batches:
        for batch in batches:
            columns = [batch.column(name).to_pylist() for name in ("range", "position", "node")]
            numbers, places = [], []
            for piece, position, node in zip(*columns, strict=True):
                numbers.append(unit_of(homes.get(node, node), units))
                places.append(f"{names[piece]}:{first_lines[piece] + position}")
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(numbers, pa.int32()),
                    pa.array(places, pa.string()),
                    batch.column("line"),
                ],
                schema=NUMBERED,
            )

    return _guarded(run)


def judging(question: Question, lent: Iterable[Lent]) -> Callable[[pa.Table], pa.Table]:
    """Judge one unit, whole: :data:`NUMBERED` of one unit to one row of :data:`JUDGED`."""
    shelf = MemoryShelf()
    for node, keys, resource in lent:
        shelf.add(node, resource, keys)

    def run(table: pa.Table) -> pa.Table:
        number = table.column("unit")[0].as_py()
        lines = _resources(table)
        here = {one.where for one in lines}
        wanted = {key for one in lines for key in lookups(one.line)}
        elsewhere = [shelf.lines[one][1] for one in closed(wanted, shelf)]
        judged = judge(lines, [one for one in elsewhere if one.where not in here], question)
        return pa.table([[number], [msgspec.msgpack.encode(judged)]], schema=JUDGED)

    return _guarded_table(run)


def unit_of(node: Node, units: int) -> int:
    return int.from_bytes(node, "big") % units


def _resources(table: pa.Table) -> list[RawResource]:
    return [
        RawResource(line, place, type_of(line))
        for batch in table.to_batches()
        for place, line in zip(
            batch.column("place").to_pylist(), batch.column("line").to_pylist(), strict=True
        )
    ]


def _numbers(batches: Batches) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _patients_in(block: Block) -> int:
    return sum(type_of(line) in ("Patient", "") for _, line in numbered_lines(block))


class _Rows:
    """Rows until they are enough for a batch."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self._rows) >= _ROWS_PER_BATCH or self._bytes >= _BYTES_PER_BATCH

    def add(self, row: tuple[Any, ...], size: int) -> None:
        self._rows.append(row)
        self._bytes += size

    def batch(self) -> pa.RecordBatch:
        columns = zip(*self._rows, strict=True) if self._rows else [() for _ in self._schema]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._rows, self._bytes = [], 0
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _guarded(task: Task) -> Task:
    def run(batches: Batches) -> Batches:
        try:
            yield from task(batches)
        except Exception as fault:  # noqa: BLE001 - told by its class alone
            raise _told(fault) from None

    return run


def _guarded_table(task: Callable[[pa.Table], pa.Table]) -> Callable[[pa.Table], pa.Table]:
    def run(table: pa.Table) -> pa.Table:
        try:
            return task(table)
        except Exception as fault:  # noqa: BLE001 - told by its class alone
            raise _told(fault) from None

    return run


def _told(fault: Exception) -> TaskFault:
    if isinstance(fault, AdapterError):
        parts = [type(fault).__name__, fault.message, fault.where, fault.fix]
        return TaskFault(_OURS + msgspec.json.encode(parts).hex())
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return TaskFault(f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}")


def fault_in(text: str) -> AdapterError | None:
    """The fault of ours that the text of a failed job tells of, if any."""
    if found := re.search(_OURS + "([0-9a-f]+)", text):
        name, message, where, fix = msgspec.json.decode(bytes.fromhex(found[1]))
        kind = getattr(errors, name, AdapterError)
        return kind(message, where=where, fix=fix)
    return None
