"""Landed files in pieces: byte ranges of plain files, compressed ones whole.

A line belongs to the range in which it begins. Lines are counted from 1 at the first line of the range: where
that is in the file is known once the ranges before it have been read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from adapter.errors import SourceUntrustworthy
from adapter.source.compressed import SUFFIXES
from adapter.source.landing import LandedFile, Landing
from adapter.source.ndjson import BOM, Block, Limits, NdjsonFile, line_ends


class Range(NamedTuple):
    """The lines of one landed file that begin at ``start`` or later and before ``end``, in bytes."""

    path: Path
    file: LandedFile
    start: int
    end: int

    @property
    def bytes(self) -> int:
        return self.end - self.start


def ranges_of(landing: Landing, size: int) -> list[Range]:
    """Every byte of a landing once, in file and byte order, in ranges of at most ``size`` bytes."""
    return [
        Range(landing.path(file), file, start, min(start + step, file.bytes))
        for file in landing.manifest.files
        for step in (max(file.bytes, 1) if file.name.endswith(SUFFIXES) else size,)
        for start in range(0, file.bytes, step)
    ]


def blocks_of(piece: Range, limits: Limits | None = None) -> Iterator[Block]:
    """Whole lines of a range; raises :class:`SourceUntrustworthy` over a limit."""
    if piece.file.name.endswith(SUFFIXES) or (piece.start == 0 and piece.end == piece.file.bytes):
        yield from NdjsonFile(piece.path, limits, name=piece.file.name).blocks()
        return
    with piece.path.open("rb") as stream:
        yield from blocks_between(stream, piece.start, piece.end, piece.file.name, limits or Limits())


def lines_at(
    piece: Range, bounds: Iterable[tuple[int, int]], limits: Limits | None = None
) -> Iterator[bytes]:
    """Lines of a range by their (start, size) in the file as it is unpacked, ascending."""
    return NdjsonFile(piece.path, limits, name=piece.file.name).texts_at(bounds)


def blocks_between(stream: BinaryIO, start: int, end: int, name: str, limits: Limits) -> Iterator[Block]:
    """The lines of a plain file that begin at ``start`` or later and before ``end``."""
    first_line = 1
    position = 0
    if start:
        stream.seek(start - 1)
        position = start - 1 + len(_line(stream, name, limits))
    while position < end:
        data = stream.read(min(limits.block, end - position))
        if not data:
            return
        if not data.endswith(b"\n"):
            data += _line(stream, name, limits)
        lines = line_ends(data)
        mark = len(BOM) if position == 0 and data.startswith(BOM) else 0
        yield Block(data[mark:], first_line, position + mark)
        position += len(data)
        first_line += lines


def _line(stream: BinaryIO, name: str, limits: Limits) -> bytes:
    rest = stream.readline(limits.max_line)
    if len(rest) >= limits.max_line:
        raise SourceUntrustworthy(
            f"a line is longer than {limits.max_line} bytes",
            where=name,
            fix="check that the file is NDJSON: one resource a line",
        )
    return rest
