"""Which bytes each task reads: plain files in pieces of some size, compressed ones whole.

A line belongs to the piece in which it begins. A task opens the file itself, by path or by URI (``s3://``,
``gs://``, ``abfss://``, ``hdfs://``: https://arrow.apache.org/docs/python/filesystems.html). So bytes stay
bytes: Spark's own text source decodes UTF-8 and replaces what is none before anyone can say where it was.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pyarrow import fs

from adapter.errors import ConfigError, SourceUntrustworthy
from adapter.source.compressed import SUFFIXES
from adapter.source.landing import LandedFile
from adapter.source.ndjson import Block, Limits, NdjsonFile
from adapter.source.ranges import blocks_between

MIB = 2**20
_REMOTE_READ = 8 * MIB
_PACKED = 10
_ROOTED = frozenset({"file", "hdfs", "viewfs"})
_PATIENT = frozenset({"Patient"})


class Range(NamedTuple):
    """The lines of one file that begin at ``start`` or later and before ``end``, in bytes as stored.

    ``place`` is a path or URI, ``name`` what evidence calls it, ``types`` the resource types in it ("" if the
    type of some line cannot be read). A compressed file is one range.
    """

    number: int
    place: str
    name: str
    start: int
    end: int
    types: frozenset[str]

    def may_hold(self, types: frozenset[str]) -> bool:
        return "" in self.types or not types.isdisjoint(self.types)

    @property
    def mixes_patients(self) -> bool:
        """Whether Patients have to be counted line by line: where there is nothing else, the landing did."""
        return self.types != _PATIENT and self.may_hold(_PATIENT)

    @property
    def cost(self) -> int:
        """Bytes to be read, near enough: compressed ones are taken to be ten times as many."""
        return (self.end - self.start) * (_PACKED if self.name.endswith(SUFFIXES) else 1)


class Stored(NamedTuple):
    """A landed file and where tasks find it."""

    file: LandedFile
    place: str


def stored(files: Iterable[LandedFile], folder: str, data_at: str = "") -> list[Stored]:
    """Where tasks find the files of a landing in ``folder``: ``data_at``, a path or URI, if that is given.

    A file that was landed by reference has an absolute path of its own; at ``data_at`` it goes by its name.
    """
    if data_at:
        return [
            Stored(one, _below(data_at, one.name if _is_absolute(one) else one.path or one.name))
            for one in files
        ]
    return [
        Stored(one, one.path if _is_absolute(one) else _below(folder, one.path or one.name)) for one in files
    ]


def _is_absolute(file: LandedFile) -> bool:
    return PurePath(file.path).is_absolute()


def plan(files: Iterable[Stored], size: int) -> list[tuple[Range, ...]]:
    """Tasks, each of about ``size`` bytes: large plain files are cut, small files share a task.

    Ranges are numbered in file and byte order, whatever the size.
    """
    tasks: list[tuple[Range, ...]] = []
    open_task: list[Range] = []
    room = size
    for number, one in enumerate(_cut(files, size)):
        if open_task and one.cost > room:
            tasks.append(tuple(open_task))
            open_task, room = [], size
        open_task.append(one._replace(number=number))
        room -= one.cost
    return [*tasks, tuple(open_task)] if open_task else tasks


def blocks(piece: Range, limits: Limits | None = None) -> Iterator[Block]:
    """Whole lines of a range; ``first_line`` counts from 1 at the range's first line.

    Raises :class:`SourceUntrustworthy` over a limit.
    """
    limits = limits or Limits()
    if piece.name.endswith(SUFFIXES):
        whole = NdjsonFile(
            Path(piece.name), limits, name=piece.name, opened=lambda: _opened(piece.place), size=piece.end
        )
        yield from whole.blocks()
        return
    with _opened(piece.place) as stream:
        yield from blocks_between(stream, piece.start, piece.end, piece.name, limits)


def verify(files: Iterable[Stored]) -> None:
    """Compare sizes with the landing's account; raises :class:`SourceUntrustworthy` where they differ, and
    :class:`ConfigError` where the place cannot be asked.

    A size costs one question to the store, a hash would cost reading everything.
    """
    for one in files:
        try:
            system, path = _resolved(one.place)
            found = system.get_file_info(path)
        except (OSError, ValueError) as fault:
            raise ConfigError(
                f"the landing cannot be looked at ({type(fault).__name__})",
                where="--data-at",
                fix="name a path or URI that pyarrow opens, here and on the executors; see docs/cluster.md",
            ) from None  # its text may quote a URI with what should not be in one
        if found.type != fs.FileType.File or found.size != one.file.bytes:
            raise SourceUntrustworthy(
                "the file is not there or not as long as the one that was landed",
                where=one.file.name,
                fix="copy the whole landing to where executors read it, and name that place by --data-at",
            )


def _cut(files: Iterable[Stored], size: int) -> Iterator[Range]:
    for file, place in files:
        step = max(file.bytes, 1) if file.name.endswith(SUFFIXES) else size
        for start in range(0, file.bytes, step):
            end = min(start + step, file.bytes)
            yield Range(0, place, file.name, start, end, frozenset(file.types))


def _opened(place: str) -> BinaryIO:
    if "://" not in place:
        return open(place, "rb")
    system, path = _resolved(place)
    return cast(BinaryIO, io.BufferedReader(system.open_input_file(path), _REMOTE_READ))


def _resolved(place: str) -> tuple[fs.FileSystem, str]:
    if "://" not in place:
        return fs.LocalFileSystem(), place
    uri = urlsplit(place)
    system, root = _store(urlunsplit(uri._replace(path="/" if uri.scheme in _ROOTED else "")))
    return system, f"{root.rstrip('/')}/{unquote(uri.path).lstrip('/')}"


@lru_cache(maxsize=4)
def _store(root: str) -> tuple[fs.FileSystem, str]:
    """A store is opened once in a process: that alone takes questions to it, where a bucket is for one."""
    system, path = fs.FileSystem.from_uri(root)
    return system, path


def _below(root: str, name: str) -> str:
    if "://" not in root:
        return f"{root.rstrip('/')}/{name}"
    uri = urlsplit(root)
    return urlunsplit(uri._replace(path=f"{uri.path.rstrip('/')}/{quote(name)}"))
