"""A value on its way to the executors, which a worker unpacks once and not once a task.

Spark sends a task's closure with every task. What is large in it (the trial, the candidates, the plan) takes
longer to unpack than a small task takes to run, and unpacked anew it starts without what it had worked out
for the task before.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
_HELD = 2  # what is dealt by, and what is judged by


class Carried(Generic[T]):
    """Packed as Spark packs closures, by the driver for its executors."""

    def __init__(self, value: T) -> None:
        from pyspark import cloudpickle

        self._packed: bytes = cloudpickle.dumps(value)  # type: ignore[no-untyped-call]

    @property
    def value(self) -> T:
        return cast(T, _unpacked(self._packed))


@lru_cache(maxsize=_HELD)
def _unpacked(packed: bytes) -> Any:
    from pyspark import cloudpickle

    return cloudpickle.loads(packed)
