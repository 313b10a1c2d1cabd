"""What a task tells of a fault: ours in full, since it never quotes data; of any other only its class and
place in the program, since its text may quote a record and would lie in the logs of the cluster."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from adapter import errors
from adapter.errors import AdapterError

Batches = Iterator[pa.RecordBatch]
Task = Callable[[Batches], Batches]
_OURS = "adapter fault "


class TaskFault(RuntimeError):
    """What went wrong on an executor, without data: see :func:`fault_in`."""


def guarded(task: Task) -> Task:
    def run(batches: Batches) -> Batches:
        try:
            yield from task(batches)
        except Exception as fault:  # noqa: BLE001 - told by its class alone
            raise _told(fault) from None

    return run


def guarded_table(task: Callable[[pa.Table], pa.Table]) -> Callable[[pa.Table], pa.Table]:
    def run(table: pa.Table) -> pa.Table:
        try:
            return task(table)
        except Exception as fault:  # noqa: BLE001 - told by its class alone
            raise _told(fault) from None

    return run


def _told(fault: Exception) -> TaskFault:
    if isinstance(fault, AdapterError):
        parts = [type(fault).__name__, fault.message, fault.where, fault.fix]
        return TaskFault(_OURS + msgspec.json.encode(parts).hex())
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return TaskFault(f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}")


def fault_in(text: str) -> AdapterError | None:
    """The fault of ours that the text of a failed job tells of, if any."""
    if found := re.search(_OURS + "([0-9a-f]+)", text):
        name, message, where, fix = msgspec.json.decode(bytes.fromhex(found[1]))
        kind = getattr(errors, name, AdapterError)
        return kind(message, where=where, fix=fix)
    return None
