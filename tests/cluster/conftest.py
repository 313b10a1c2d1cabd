"""A Spark session to test with; not to be had is a skip, under CI=true a failure."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

import pytest

from adapter.cluster.session import check, session
from adapter.errors import ConfigError

# A JVM that lives for a minute does best without its second compiler.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture(scope="session")
def spark_is_there() -> None:
    """Not to be had is a skip, under CI=true a failure."""
    try:
        check()
    except ConfigError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires Spark: {reason}", pytrace=False)
        pytest.skip(f"no Spark: {reason}")


def running(master: str, **settings: str) -> AbstractContextManager[Any]:
    """A session of its own on ``master``."""
    small = {
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": JAVA_OPTIONS,
        "spark.executor.extraJavaOptions": JAVA_OPTIONS,
    }
    return session(master, {**small, **settings})
