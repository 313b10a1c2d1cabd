"""A Spark session to test with; not to be had is a skip, under CI=true a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapter.cluster.session import session
from adapter.errors import ConfigError


@contextmanager
def running(master: str, **settings: str) -> Iterator[Any]:
    """A session of its own on ``master``."""
    try:
        with session(master, {"spark.driver.memory": "1g", **settings}) as spark:
            yield spark
    except ConfigError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires Spark: {reason}", pytrace=False)
        pytest.skip(f"no Spark: {reason}")
