"""Every fault that a schedule may hold, by name, with what it stands for.

``on`` says which requests it makes sense for: any, a ``read`` (GET), a ``page`` (a search), a ``write``; of a
bulk export a look at the ``job`` and a ``file``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

On = Literal["any", "read", "page", "write", "job", "file"]


class Fault(NamedTuple):
    name: str
    stands_for: str
    on: tuple[On, ...]


ALL: tuple[On, ...] = ("any", "read", "page", "write")
FAULTS: dict[str, Fault] = {
    one.name: one
    for one in (
        Fault("500", "500", ALL),
        Fault("502", "502", ALL),
        Fault("503", "503", ALL),
        Fault("502 after", "502 of a gateway, and the server did it", ALL),
        Fault("429 seconds", "429 with Retry-After in seconds", ALL),
        Fault("429 date", "429 with Retry-After as an HTTP date", ALL),
        Fault("429 absurd", "429 with an absurd Retry-After", ALL),
        Fault("429 absent", "429 without Retry-After", ALL),
        Fault("refused", "connection refused for a while", ALL),
        Fault("read timeout", "no answer, and nothing was done", ALL),
        Fault("read timeout after", "no answer, and the server did it", ALL),
        Fault("late", "no answer, and the request arrives when nobody waits any more", ("write",)),
        Fault("total timeout", "an answer in pieces, each in time, that never ends", ALL),
        Fault("slow-loris", "one byte at a time from the first on", ALL),
        Fault("reset before", "reset, and nothing was done", ALL),
        Fault("reset after", "reset, and the server did it", ALL),
        Fault("truncated", "a body shorter than its Content-Length", ALL),
        Fault("truncated unframed", "a body cut short, and nothing says how long it should be", ALL),
        Fault("pages doubled", "each entry of a page twice", ("page",)),
        Fault("pages reordered", "the entries of a page in reverse", ("page",)),
        Fault("paging loop", "a next link that leads back", ("page",)),
        Fault("total changed", "a total that is not that of the entries", ("page",)),
        Fault("gzip bomb", "16 MB of zeros as 16 kB of gzip", ALL),
        Fault("login page", "200 with an HTML login page", ALL),
        Fault("outcome", "200 with an OperationOutcome", ALL),
        Fault("token expired", "401 until another token is shown", ALL),
        Fault("key rotated", "401, and the newest key of ours is not known any more", ALL),
        Fault("clock ahead", "a Date header 10 minutes ahead, and 503 with a Retry-After by it", ALL),
        Fault("clock behind", "a Date header 10 minutes behind, and 503 with a Retry-After by it", ALL),
        Fault("409", "409 on update, and nothing was done", ("write",)),
        Fault("412", "412 on update, and nothing was done", ("write",)),
        Fault("person first", "a person's change that arrives just before ours", ("write",)),
    )
}
# Of a bulk export alone.
BULK: dict[str, Fault] = {
    one.name: one
    for one in (
        Fault("job deleted", "the server forgets the export", ("job",)),
        Fault("job failed", "500 with an OperationOutcome for the export", ("job",)),
        Fault("file gone", "404 for a file whose link expired", ("file",)),
        Fault("truncated", "a file shorter than its Content-Length", ("file",)),
        Fault("truncated unframed", "a file cut short, and nothing says how long it should be", ("file",)),
        Fault("reset after", "reset in answer to a file or a look", ("job", "file")),
        Fault("slow-loris", "one byte at a time from the first on", ("job", "file")),
        Fault("token expired", "401 until another token is shown", ("job", "file")),
        Fault("key rotated", "401, and the newest key of ours is not known any more", ("job", "file")),
        Fault("503", "503", ("job", "file")),
    )
}
# Of our own side; who does them: tests/chaos/run.py and jobs.py.
OURS: dict[str, str] = {
    "database locked": "another process holds the database for a while",
    "database locked throughout": "another process holds the database during the whole run",
    "disk full": "no file may grow any more",
    "connections cut": "PostgreSQL ends all connections, once",
    "no connections": "PostgreSQL takes no connections during the whole run",
    "kill before send": "kill -9 when the request is on its way, and it never arrives",
    "kill after send": "kill -9 when the server has it, before it answers",
    "kill before acknowledge": "kill -9 when the answer has come",
    "kill at step": "kill -9 at a step of the courier",
}
# What a server is like throughout a schedule, and how often of a hundred.
HABITS: dict[str, str] = {
    "one by one": "/metadata offers no transactions",
    "subject closed": "403 for whatever holds a ResearchSubject",
    "closed": "403 for every write: a file is left",
}


OFTEN = {"one by one": 0.22, "subject closed": 0.22, "closed": 0.08}


class Injection(NamedTuple):
    """A fault at the ``nth`` (from 1) request of its kind in one run, ``times`` in a row."""

    fault: str
    on: On
    nth: int
    times: int = 1

    def __str__(self) -> str:
        several = f" x{self.times}" if self.times > 1 else ""
        return f"{self.fault} @{self.on}{self.nth}{several}"
