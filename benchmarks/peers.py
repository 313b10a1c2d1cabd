"""What others do with the same files, as well as we can make them: what we are measured against.

Each returns how many lines of each resource type belong to a candidate: nobody is fast by being wrong.
They are told who the candidates are and stop at typed rows: finding candidates, mapping, judging and writing
the result are ours to do in the same time.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.data import Population
from benchmarks.typed import duckdb_type, msgspec_type, shapes, spark_type

Rows = dict[str, int]
os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported: no bars in the figures


def wc(population: Population, cores: int) -> int:
    """``wc -l`` of all files, a process a core: reading the bytes and nothing else; returns lines."""
    told = _each_core(["wc", "-l"], population.paths(), cores)
    return sum(int(some.splitlines()[-1].split()[0]) for some in told)


def gunzip(population: Population, cores: int) -> int:
    """``gzip -dc`` of all files into nothing, a process a core."""
    _each_core(["gzip", "-dc"], population.paths(), cores, keep=False)
    return population.lines


def _each_core(command: list[str], paths: Sequence[Path], cores: int, keep: bool = True) -> list[bytes]:
    shares: list[list[Path]] = [[] for _ in range(min(cores, len(paths)))]
    for path in sorted(paths, key=lambda one: -one.stat().st_size):
        min(shares, key=lambda share: sum(one.stat().st_size for one in share)).append(path)
    out = subprocess.PIPE if keep else subprocess.DEVNULL
    running = [subprocess.Popen([*command, *map(str, share)], stdout=out) for share in shares]
    told = [one.communicate()[0] or b"" for one in running]
    assert not any(one.returncode for one in running)
    return told


def msgspec_typed(population: Population) -> Rows:
    """Every line to a typed struct with Decimals, one core."""
    found = {}
    for kind, shape in present(population):
        decoder = msgspec.json.Decoder(msgspec_type(shape, kind))
        lines = [line for path in population.paths(kind) for line in path.read_bytes().splitlines()]
        found[kind] = sum(1 for line in lines if decoder.decode(line) is not None)
    return found


def present(population: Population) -> list[tuple[str, dict[str, Any]]]:
    """Resource types of the population with the shape of each; what belongs to nobody is left out."""
    return [(kind, shape) for kind, shape in shapes().items() if population.rows.get(kind)]


def _subject(kind: str, names: set[str]) -> str:
    if kind == "Patient":
        return "'Patient/' || id"
    return next(f"{name}.reference" for name in ("subject", "patient", "individual") if name in names)


def duckdb_typed(population: Population, cores: int) -> Rows:
    """DuckDB's JSON reader told the type of every element; the candidates' rows are fetched whole."""
    import duckdb

    found = {}
    with duckdb.connect(config={"threads": cores, "preserve_insertion_order": "false"}) as database:
        database.execute("CREATE TABLE candidate (reference VARCHAR)")
        names = [(f"Patient/{name}",) for name in sorted(population.candidates)]
        database.executemany("INSERT INTO candidate VALUES (?)", names)
        for kind, shape in present(population):
            columns = ", ".join(f"'{name}': '{duckdb_type(inner)}'" for name, inner in shape.items())
            rows = database.execute(
                f"SELECT * FROM read_json(?, format='newline_delimited', columns={{{columns}}}) "  # noqa: S608
                f"WHERE {_subject(kind, set(shape))} IN (SELECT reference FROM candidate)",
                [[str(path) for path in population.paths(kind)]],
            ).fetchall()
            found[kind] = len(rows)
    return found


@contextmanager
def spark_session(cores: int) -> Iterator[Any]:
    """A Spark on this machine alone; starting it is nobody's to measure."""
    from pyspark.sql import SparkSession

    with tempfile.TemporaryDirectory(prefix="adapter-bench-spark-") as folder:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        session = (
            SparkSession.builder.master(f"local[{cores}]")
            .appName("benchmarks")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.memory", "3g")
            .config("spark.local.dir", folder)
            .config("spark.sql.warehouse.dir", folder)
            .config("spark.sql.shuffle.partitions", str(cores))
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
        try:
            yield session
        finally:
            session.stop()


def spark_typed(session: Any, population: Population) -> Rows:
    """Spark's JSON reader told the type of every element; the candidates' rows are collected whole."""
    from pyspark.sql import functions as sql

    names = [(f"Patient/{name}",) for name in sorted(population.candidates)]
    candidates = sql.broadcast(session.createDataFrame(names, "owner string"))
    found = {}
    for kind, shape in present(population):
        schema = ", ".join(f"`{name}` {spark_type(inner)}" for name, inner in shape.items())
        read = session.read.schema(schema).json([str(path) for path in population.paths(kind)])
        owned = read.withColumn("owner", sql.expr(_subject(kind, set(shape))))
        found[kind] = len(owned.join(candidates, "owner", "left_semi").collect())
    return found


def fhir_pyrate_flattened(population: Population, cores: int) -> Rows:
    """FHIR-PYrate's ``bundles_to_dataframe`` of Bundles of 100 resources of one type each."""
    from fhir_pyrate import Pirate
    from fhir_pyrate.util import FHIRObj

    found = {}
    with Pirate("https://fhir.example.org/fhir", None, num_processes=cores) as pirate, _quiet():
        for kind, _ in present(population):
            lines = [line for path in population.paths(kind) for line in path.read_bytes().splitlines()]
            bundles = [
                FHIRObj(
                    resourceType="Bundle",
                    entry=[{"resource": msgspec.json.decode(line)} for line in lines[at : at + 100]],
                )
                for at in range(0, len(lines), 100)
            ]
            if bundles:
                frame = pirate.bundles_to_dataframe(bundles)
                found[kind] = _theirs(frame, kind, population)
    return found


def fhiry_flattened(population: Population) -> Rows:
    """fhiry's ``parallel.ndjson`` of the folder: a row a resource, all types in one frame."""
    import fhiry.parallel

    with _quiet():
        frame = fhiry.parallel.ndjson(population.where)
    found = {}
    for kind, _ in present(population):
        found[kind] = _theirs(frame[frame["resourceType"] == kind], kind, population)
    return found


def _theirs(frame: Any, kind: str, population: Population) -> int:
    names = {f"Patient/{name}" for name in population.candidates}
    if kind == "Patient":
        return int(frame["id"].isin(population.candidates).sum())
    columns = [f"{name}{dot}reference" for name in ("subject", "patient", "individual") for dot in "._"]
    return int(frame[[name for name in columns if name in frame]].isin(names).any(axis=1).sum())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that these give for every frame."""
    for name in ("fhiry", "fhir_pyrate"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
