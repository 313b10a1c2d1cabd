"""A Spark session to test with; not to be had is a skip, under CI=true a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapter.cluster.session import session
from adapter.errors import ConfigError

# A JVM that lives for a minute does best without its second compiler.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_SMALL = {
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": _JAVA,
    "spark.executor.extraJavaOptions": _JAVA,
}


@contextmanager
def running(master: str, **settings: str) -> Iterator[Any]:
    """A session of its own on ``master``."""
    try:
        with session(master, {**_SMALL, **settings}) as spark:
            yield spark
    except ConfigError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires Spark: {reason}", pytrace=False)
        pytest.skip(f"no Spark: {reason}")
