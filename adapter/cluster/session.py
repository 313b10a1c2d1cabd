"""A Spark session, whoever runs the cluster; and what to do where there is none.

Under ``spark-submit``, in a notebook or with ``SPARK_REMOTE`` the platform has chosen the cluster. Alone,
Spark runs on this machine with the Python that runs now.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adapter.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_INSTALL = "pip install 'trial-fhir-adapter[spark]', or leave out --engine spark"
_JAVA = "install Java 17 or 21 and let JAVA_HOME name it, or leave out --engine spark"

# Shuffle files, spills and persisted blocks hold lines of records: they are encrypted with a key that only
# the running application knows. An event log or web page would show and keep more than anybody asked for.
PRIVATE: Mapping[str, str] = {
    "spark.eventLog.enabled": "false",
    "spark.io.encryption.enabled": "true",
    "spark.log.level": "WARN",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
# A line may be long: Spark's own 10,000 rows a batch would be held in memory at once.
_BATCHES = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.inMemoryColumnarStorage.batchSize": "1000",
}
# On this machine Java lives for a screening and mostly moves bytes: its second compiler would take more time
# than it saves (10 of 28 CPU seconds).
_ONE_COMPILER = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"}
_LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


@contextmanager
def session(master: str = "", settings: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """A session while the block lasts; one that runs already is used and left as it is.

    ``master`` as Spark writes it (``local[2]``, ``yarn``, ``k8s://...``, ``spark://host:7077``); "" takes
    what the platform chose, or this machine. ``settings`` come before ours. Raises :class:`ConfigError` where
    PySpark or Java is missing.
    """
    check()
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        yield running
        return
    chosen = _chosen_by_platform()
    alone = not master and not chosen
    here = alone or master.startswith("local")
    wanted: dict[str, bool | float | int | str | None] = {
        **PRIVATE,
        **_BATCHES,
        **(_LOOPBACK if here else {}),
        **(_ONE_COMPILER if here and not chosen else {}),
        **(settings or {}),
    }
    if alone or master:
        wanted["spark.master"] = master or "local[*]"
    if here:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        spark = SparkSession.builder.appName("trial-fhir-adapter").config(map=wanted).getOrCreate()
    except PySparkException as fault:
        raise ConfigError("Spark does not start", where="--engine spark", fix=_JAVA) from fault
    try:
        yield spark
    finally:
        spark.stop()


def check() -> None:
    """Raise :class:`ConfigError` with the fix where PySpark or Java is missing; nothing is started."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of pandas' version; no data passes it
            import pandas  # noqa: F401 - mapInArrow refuses to work where pandas is not to be had
            import pyspark.sql  # noqa: F401
    except ImportError as fault:
        raise ConfigError("PySpark 4 is not installed", where="--engine spark", fix=_INSTALL) from fault
    if not os.environ.keys() & {"PYSPARK_GATEWAY_PORT", "SPARK_REMOTE"}:
        _find_java()


def _chosen_by_platform() -> bool:
    names = ("PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "PYSPARK_SUBMIT_ARGS", "SPARK_CONF_DIR")
    return any(name in os.environ for name in names)


def _find_java() -> None:
    home = os.environ.get("JAVA_HOME", "")
    if shutil.which("java", path=os.path.join(home, "bin") if home else None) is None:
        raise ConfigError("Spark needs Java, and there is none", where="--engine spark", fix=_JAVA)
