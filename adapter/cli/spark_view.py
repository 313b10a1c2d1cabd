"""Screening on a Spark cluster: the options of ``adapter screen`` that say where it runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

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


def screen(task: Task, master: str, data_at: str, progress: Callable[[str], None]) -> Screening:
    from adapter.cluster import engine
    from adapter.cluster.session import session

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        with session(master) as spark:
            return engine.screen(spark, task, data_at=data_at, progress=progress)
