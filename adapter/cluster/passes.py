"""The jobs of a screening, in Spark's own words: what is read, what is shuffled, what comes to the driver.

To the driver come ids, ties, line counts, lent lines (Medication, ResearchStudy) and what was decided about
each person; never the lines of the hospital. Only DataFrames are used, so that Spark Connect will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from adapter.cluster import tasks as running
from adapter.cluster.ranges import Range
from adapter.cluster.tasks import Lent, Task, Tasks
from adapter.errors import AdapterError, Retriable
from adapter.model import wire
from adapter.model.candidates import CandidateQuery, Candidates
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.screening.deal import Node
from adapter.screening.judge import Judged, Question
from adapter.source.ndjson import Limits
from adapter.source.nominate import PATIENT, STUDY, Linked, Nominated, candidates_of

_MOST_PARTS = 8192

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def shuffle_into(spark: SparkSession, parts: int) -> None:
    """How many tasks the shuffles that follow end in, at most; Spark joins those that are small."""
    spark.conf.set("spark.sql.shuffle.partitions", str(max(2, min(parts, _MOST_PARTS))))


def nominated(
    spark: SparkSession,
    tasks: Tasks,
    query: CandidateQuery,
    limits: Limits | None,
    moved: Iterable[tuple[str, str]] = (),
) -> Candidates:
    """Whom the query nominates. References of issues are ``range:position`` until the ranges are counted."""

    def scan(types: frozenset[str], task: Callable[[Tasks], Task]) -> dict[str, set[tuple[str, str]]]:
        some = [one for one in tasks if any(piece.may_hold(types) for piece in one)]
        found: dict[str, set[tuple[str, str]]] = {}
        for row in _collected(_mapped(spark, some, task(some), running.FOUND).distinct()):
            found.setdefault(row["kind"], set()).add((row["one"], row["other"]))
        return found

    studies: frozenset[str] = frozenset()
    if query.studies:
        named = scan(STUDY, lambda some: running.studying(some, query.studies, limits))
        studies = frozenset(one for one, _ in named.get("study", ()))
    first = scan(query.resource_types, lambda some: running.nominating(some, query, studies, limits))
    found = Nominated(
        frozenset(one for one, _ in first.get("id", ())),
        frozenset(first.get("identifier", ())),
        tuple(wire.decode(one.encode(), Issue) for one, _ in first.get("issue", ())),
    )
    if not found.ids and not found.identifiers:
        return candidates_of(found, Linked())
    second = scan(PATIENT, lambda some: running.linking(some, found.identifiers, limits))
    linked = Linked(frozenset(one for one, _ in second.get("known", ())), frozenset(second.get("link", ())))
    return candidates_of(found, linked, moved)


@contextmanager
def dealt(
    spark: SparkSession,
    tasks: Tasks,
    candidates: frozenset[str],
    limits: Limits | None,
    besides: pa.Table,
) -> Iterator[DataFrame]:
    """Every line that may concern a candidate, with what it ties, and the rows ``besides``; they stay on the
    executors' disks while the block lasts."""
    rows = _mapped(spark, tasks, running.dealing(tasks, candidates, limits), running.DEALT)
    if besides.num_rows:
        rows = rows.union(spark.createDataFrame(besides, _ddl(running.DEALT)))
    with _kept(rows) as kept:
        yield kept


class Counts:
    """What ranges hold: the number of the first line of each, Patients in all, lines and bytes kept."""

    def __init__(self, rows: DataFrame, pieces: Sequence[Range]) -> None:
        from pyspark.sql import functions as F

        accounts = rows.where("node IS NULL").select("range", "position", "patients")
        ends = {}
        self.patients = 0
        for row in _collected(accounts):
            ends[row["range"]] = row["position"]
            self.patients += row["patients"]
        self.first_lines = {running.OWN_ENDPOINT: 1}
        self.names = {running.OWN_ENDPOINT: "own endpoint"}
        name, line = "", 1
        for piece in pieces:
            line = line if piece.name == name else 1
            name = piece.name
            self.first_lines[piece.number] = line
            self.names[piece.number] = name
            line += ends[piece.number]
        lines = rows.where("node IS NOT NULL")
        sums = lines.agg(F.count("*").alias("lines"), F.sum(F.length("line")).alias("bytes"))
        self.lines, self.bytes = next((row["lines"], row["bytes"] or 0) for row in _collected(sums))

    def place(self, reference: str) -> str:
        """``file:line`` of what a task calls ``range:position``, counting from 1."""
        number, _, position = reference.partition(":")
        return f"{self.names[int(number)]}:{self.first_lines[int(number)] + int(position) - 1}"


def ties(rows: DataFrame) -> set[tuple[Node, Node]]:
    """Pairs of nodes that have to be judged together."""
    from pyspark.sql import functions as F

    said = rows.where("size(ties) > 0").select(F.col("node").alias("one"), F.explode("ties").alias("other"))
    records = rows.where("size(keys) > 0").select(F.explode("keys").alias("key"), "node")
    together = records.repartition(F.substring("key", 1, 8)).mapInArrow(running.tying, _ddl(running.PAIRS))
    return {(bytes(row["one"]), bytes(row["other"])) for row in _collected(said.union(together).distinct())}


def lent(rows: DataFrame, counts: Counts) -> list[Lent]:
    """The lines that any unit may look up."""
    found = []
    for row in _collected(rows.where("size(lends) > 0").select("range", "position", "node", "lends", "line")):
        place = counts.place(f"{row['range']}:{row['position'] + 1}")
        keys = tuple(bytes(key) for key in row["lends"])
        found.append(Lent(bytes(row["node"]), keys, RawResource(bytes(row["line"]), place)))
    return sorted(found, key=lambda one: one.resource.where)


def numbered(rows: DataFrame, counts: Counts, homes: Mapping[Node, Node], units: int) -> DataFrame:
    """All lines with their unit and place."""
    task = running.numbering(counts.names, counts.first_lines, homes, units)
    lines = rows.where("node IS NOT NULL").select("range", "position", "node", "line")
    return lines.mapInArrow(task, _ddl(running.NUMBERED))


@contextmanager
def judged(lines: DataFrame, question: Question, lent: Sequence[Lent]) -> Iterator[DataFrame]:
    """What each unit comes to: a unit is one group, and one executor holds it in memory."""
    task = running.judging(question, lent)
    with _kept(lines.groupBy("unit").applyInArrow(task, _ddl(running.JUDGED))) as rows:
        yield rows


def opinions(rows: DataFrame) -> Iterator[Judged]:
    """One by one, in no order."""
    with _telling():
        for row in rows.toLocalIterator():
            yield msgspec.msgpack.decode(bytes(row["judged"]), type=Judged)


def _mapped(spark: SparkSession, tasks: Tasks, task: Task, schema: pa.Schema) -> DataFrame:
    """One Spark task for each of ``tasks``."""
    return spark.range(0, len(tasks), 1, max(len(tasks), 1)).mapInArrow(task, _ddl(schema))


@contextmanager
def _kept(rows: DataFrame) -> Iterator[DataFrame]:
    from pyspark import StorageLevel

    kept = rows.persist(StorageLevel.DISK_ONLY)
    try:
        yield kept
    finally:
        kept.unpersist()


def _collected(frame: DataFrame) -> list[dict[str, Any]]:
    """All rows of a job whose result is small."""
    with _telling():
        table: pa.Table = frame.toArrow()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


@contextmanager
def _telling() -> Iterator[None]:
    """A fault of a task comes out as ours, without what Spark quotes."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as fault:
        raise _told(str(fault)) from None


def _told(text: str) -> AdapterError:
    return running.fault_in(text) or Retriable(
        "the cluster gave up",
        where="--engine spark",
        fix="read the driver's log for lost executors and memory; docs/cluster.md says which sizes to raise",
    )


_NAMES = {pa.string(): "string", pa.binary(): "binary", pa.int32(): "int", pa.int64(): "bigint"}


def _ddl(schema: pa.Schema) -> str:
    """A schema as Spark writes it."""
    return ", ".join(f"`{field.name}` {_name(field.type)}" for field in schema)


def _name(kind: pa.DataType) -> str:
    return f"array<{_NAMES[kind.value_type]}>" if pa.types.is_list(kind) else _NAMES[kind]
