"""The jobs of a screening, in Spark's own words: what is read, what is shuffled, what comes to the driver.

To the driver come ids, ties, line counts, lent lines (Medication, ResearchStudy) and what was decided about
each person; never the lines of the hospital. Only DataFrames are used, so that Spark Connect will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pyarrow as pa

from adapter.cluster import judging
from adapter.cluster import tasks as running
from adapter.cluster.faults import Task, fault_in
from adapter.cluster.judging import Brief, Places
from adapter.cluster.ranges import Range
from adapter.cluster.tasks import Account, Reading
from adapter.errors import AdapterError, Retriable
from adapter.model.candidates import CandidateQuery, Candidates
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.screening.deal import Node
from adapter.screening.dropped import Sought
from adapter.screening.judge import Judged, gathered
from adapter.screening.lent import MemoryShelf
from adapter.screening.ties import Met, together
from adapter.source.nominate import PATIENT, STUDY, Identifier, Linked, Nominated, candidates_of
from adapter.source.nominate import together as together_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from adapter.trial import Trial

T = TypeVar("T")
_MOST_PARTS = 8192
_KEYS_A_TASK = 4 * 2**20
_ADAPTIVE = "spark.sql.adaptive.enabled"
_PARTS = "spark.sql.shuffle.partitions"


@contextmanager
def as_cut(spark: SparkSession) -> Iterator[None]:
    """While the block lasts, parts are as they were cut: Spark would join small ones, and a few large tasks
    keep fewer cores busy than many small ones do. The session's own settings are put back."""
    before = {name: spark.conf.get(name, None) for name in (_ADAPTIVE, _PARTS)}
    spark.conf.set(_ADAPTIVE, "false")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, value)


def shuffle_into(spark: SparkSession, units: int) -> None:
    """How many tasks the shuffles that follow end in: two for each unit, since units fall to them by chance,
    and a task that has none costs little."""
    spark.conf.set(_PARTS, str(min(2 * units, _MOST_PARTS)))


def nominated(
    spark: SparkSession, reading: Reading, query: CandidateQuery, moved: Iterable[tuple[str, str]] = ()
) -> Candidates:
    """Whom the query nominates. References of issues are ``range:position`` until the ranges are counted."""

    def scan(types: frozenset[str], kind: type[T], task: Callable[[Reading], Task]) -> list[T]:
        some = [one for one in reading.tasks if any(piece.may_hold(types) for piece in one)]
        if not some:
            return []
        rows = _collected(_mapped(spark, len(some), task(reading._replace(tasks=some)), running.FOUND))
        return [msgspec.msgpack.decode(row["found"], type=kind) for row in rows]

    studies: frozenset[str] = frozenset()
    if query.studies:
        named = scan(STUDY, frozenset[str], lambda some: running.studying(some, query.studies))
        studies = frozenset().union(*named)
    first = scan(query.resource_types, Nominated, lambda some: running.nominating(some, query, studies))

    def link(identifiers: frozenset[Identifier]) -> list[Linked]:
        return scan(PATIENT, Linked, lambda some: running.linking(some, identifiers))

    return candidates_of(together_of(first), link, moved)


@contextmanager
def dealt(
    spark: SparkSession,
    reading: Reading,
    candidates: frozenset[str],
    trial: Trial,
    answers: Sequence[RawResource],
) -> Iterator[DataFrame]:
    """Every line that may concern a candidate, ``answers`` given here among them, with what it ties; they
    stay on the executors' disks while the block lasts."""
    rows = _mapped(spark, len(reading.tasks), running.dealing(reading, candidates, trial), running.DEALT)
    if answers:
        own = pa.Table.from_batches([running.dealt(answers, candidates)])
        rows = rows.union(spark.createDataFrame(own, _ddl(running.DEALT)))
    with _kept(rows) as kept:
        yield kept


@contextmanager
def beyond(
    spark: SparkSession, reading: Reading, sought: Sought, candidates: frozenset[str]
) -> Iterator[DataFrame | None]:
    """Lines that the sieve dropped and that answer to what is sought, as :func:`dealt` gives lines; None if
    there are none. As :func:`adapter.screening.dropped.found`, with the lines on the executors' disks."""
    while some := [one for one in reading.tasks if any(piece.may_hold(sought.types) for piece in one)]:
        task = running.answering_in(reading._replace(tasks=some), sought, candidates)
        with _kept(_mapped(spark, len(some), task, running.DEALT)) as rows:
            lines = _collected(rows.where(f"kind = '{running.LINE}'").select("data"))
            wider = sought.widened(row["data"] for row in lines)
            if wider == sought:
                yield rows if lines else None
                return
        sought = wider
    yield None


class Counts:
    """What ranges hold: Patients that had to be counted, lines and bytes kept; ties, lent lines and gaps."""

    def __init__(self, rows: DataFrame, pieces: Sequence[Range]) -> None:
        self.patients = self.lines = self.bytes = self.keys = 0
        self.ties: set[tuple[Node, Node]] = set()
        ends: dict[int, int] = {}
        lent = []
        gaps: list[Coverage] = []
        for row in _collected(rows.where(f"kind = '{running.ACCOUNT}'").select("number", "data")):
            one = msgspec.msgpack.decode(row["data"], type=Account)
            number = row["number"]
            ends[number] = ends.get(number, 0) + one.ends
            self.patients += one.patients
            self.lines += one.kept
            self.bytes += one.bytes
            self.keys += one.keys
            self.ties.update(one.ties)
            lent += [(number, line) for line in one.lent]
            gaps += one.gaps
        self.gaps = gathered(gaps)
        self.places = _places(pieces, ends)
        self.shelf = MemoryShelf()
        found = [(self.places.at(number, line.position), line) for number, line in lent]
        for where, line in sorted(found, key=lambda one: one[0]):
            self.shelf.add(line.node, RawResource(line.line, where), line.keys)

    def place(self, reference: str) -> str:
        """``file:line`` of what a task calls ``range:position``, counting from 1."""
        number, _, position = reference.partition(":")
        return self.places.at(int(number), int(position) - 1)


def _places(pieces: Sequence[Range], ends: Mapping[int, int]) -> Places:
    """A range's first line is known once all before it have been counted."""
    first_lines = {running.OWN_ENDPOINT: 1}
    names = {running.OWN_ENDPOINT: "own endpoint"}
    name, line = "", 1
    for piece in pieces:
        line = line if piece.name == name else 1
        name = piece.name
        first_lines[piece.number] = line
        names[piece.number] = name
        line += ends[piece.number]
    return Places(names, first_lines)


def met(rows: DataFrame, counts: Counts, specimens: bool) -> Met:
    """What the keys of all lines come to, with the ties that lines state themselves."""
    keys = rows.where(f"kind = '{running.KEYS}'").select("number", "data")
    parts = max(1, min(running.BUCKETS, counts.keys // _KEYS_A_TASK))
    task = judging.meeting(specimens)
    found = _collected(keys.repartition(parts, "number").mapInArrow(task, _ddl(judging.MET)))
    said = Met(frozenset(counts.ties), frozenset(), frozenset())
    return together([said, *(judging.met_in(row["met"]) for row in found)])


def in_units(spark: SparkSession, rows: DataFrame, homes: Mapping[Node, Node], units: int) -> DataFrame:
    """All lines with the unit that each is judged in; lines of one home are of one unit."""
    from pyspark.sql import functions as F

    lines = rows.where(f"kind = '{running.LINE}'")
    home = F.col("node")
    if homes:
        table = pa.table({"node": list(homes.keys()), "home": list(homes.values())})
        moved = spark.createDataFrame(table, "node binary, home binary")
        lines = lines.join(F.broadcast(moved), "node", "left")
        home = F.coalesce("home", "node")
    unit = F.pmod(F.hash(home), F.lit(units)).alias("unit")
    return lines.select("number", "position", "data", unit)


@contextmanager
def judged(lines: DataFrame, brief: Brief) -> Iterator[DataFrame]:
    """What each unit comes to: a unit is one group, and one executor holds it in memory."""
    with _kept(lines.groupBy("unit").applyInArrow(judging.judging(brief), _ddl(judging.JUDGED))) as rows:
        yield rows


def gaps(rows: DataFrame) -> tuple[Coverage, ...]:
    """What lines without an owner cost everybody. Asking for it has every unit judged, as many at once as the
    cluster has cores; reading opinions one by one would have them judged one by one."""
    found = _collected(rows.where("length(gaps) > 0").select("gaps").distinct())
    each = (msgspec.msgpack.decode(row["gaps"], type=tuple[Coverage, ...]) for row in found)
    return gathered(row for one in each for row in one)


def opinions(rows: DataFrame) -> Iterator[Judged]:
    """One by one, in no order."""
    with _telling():
        found = rows.select("judged", "more").toLocalIterator(prefetchPartitions=True)
        yield from judging.judged_in((row["judged"], row["more"]) for row in found)


def _mapped(spark: SparkSession, count: int, task: Task, schema: pa.Schema) -> DataFrame:
    """One Spark task for each of ``count`` tasks."""
    return spark.range(0, count, 1, max(count, 1)).mapInArrow(task, _ddl(schema))


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
    return fault_in(text) or Retriable(
        "the cluster gave up",
        where="--engine spark",
        fix="read the driver's log for lost executors and memory; docs/cluster.md says which sizes to raise",
    )


_NAMES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "bigint",
}


def _ddl(schema: pa.Schema) -> str:
    """A schema as Spark writes it."""
    return ", ".join(f"`{field.name}` {_NAMES[field.type]}" for field in schema)
