"""Screening on a Spark cluster: the options of ``adapter screen`` that say where it runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer

from adapter.screening import Screening
from adapter.screening.task import Task


class Engine(StrEnum):
    LOCAL = "local"
    SPARK = "spark"


EngineOption = Annotated[
    Engine,
    typer.Option("--engine", help="local: all cores of this machine. spark: a cluster; see docs/cluster.md."),
]
MasterOption = Annotated[
    str,
    typer.Option(
        "--master",
        help="With --engine spark: local[4], spark://HOST:7077, yarn, k8s://URL. Unless given it is the "
        "platform's, or this machine.",
    ),
]
DataAtOption = Annotated[
    str,
    typer.Option(
        "--data-at",
        help="With --engine spark: the landing as executors see it, a path or URI (s3://, gs://, abfss://, "
        "hdfs://). WORKSPACE/landing unless given.",
    ),
]
ReadOption = Annotated[
    int,
    typer.Option(
        "--read-mib",
        min=1,
        help="With --engine spark: MiB of a landed file that a task reads. Fewer if cores are idle.",
    ),
]
UnitOption = Annotated[
    int,
    typer.Option(
        "--unit-mib",
        min=1,
        help="With --engine spark: MiB of candidates' lines judged together. Fewer if Python workers run out "
        "of memory: each takes about 20 times this.",
    ),
]
READ_MIB, UNIT_MIB = 128, 8


class Cluster(NamedTuple):
    """Where a screening runs on a cluster, and how it is cut."""

    master: str
    data_at: str
    read_mib: int
    unit_mib: int

    @property
    def is_asked_for(self) -> bool:
        return self != Cluster("", "", READ_MIB, UNIT_MIB)


def screen(task: Task, cluster: Cluster, progress: Callable[[str], None]) -> Screening:
    from adapter.cluster import engine
    from adapter.cluster.ranges import MIB
    from adapter.cluster.session import session

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        sizes = engine.Sizes(cluster.read_mib * MIB, cluster.unit_mib * MIB)
        with session(cluster.master) as spark:
            return engine.screen(spark, task, data_at=cluster.data_at, sizes=sizes, progress=progress)
