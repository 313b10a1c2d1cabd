"""FHIR Bulk Data NDJSON as it lies in a folder: plain, gzip or zstd, with or without a manifest.

Reads in blocks of whole lines, so that the byte sieve can work on megabytes at a time and a later process
pool or Spark task can take a block as its unit. Tolerates what exports really contain: a byte order mark,
CRLF, blank lines. What may have been lost (a line cut short, a damaged stream) becomes an
:class:`~adapter.model.issue.Issue`; what may be an attack (a small file that unpacks to a
huge one, an endless line) stops the read.

Source: Bulk Data Access IG 2.0.0 (files); the ndjson specification.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec
import stringzilla as sz

from adapter.errors import SourceUntrustworthy
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.source.compressed import SUFFIXES, Unpacked, plain_name, unpacked

BOM = b"\xef\xbb\xbf"
_TYPE_IN_NAME = re.compile(r"(?:^|[._\-\d])([A-Z][A-Za-z]+)(?:[._\-\d]|$)")


class Limits(msgspec.Struct, frozen=True):
    """What one file may cost: bytes after decompression, ratio of it, bytes of one line and of one block.

    Hospital NDJSON compresses 10 to 60 times; the ratio is only judged once ``ratio_after`` bytes came out.
    Blocks that stay in the processor's cache are sieved nearly twice as fast as blocks of some megabytes.
    """

    max_bytes: int = 256 * 2**30
    max_ratio: int = 250
    ratio_after: int = 32 * 2**20
    max_line: int = 256 * 2**20
    block: int = 2**18


class Block(NamedTuple):
    """Whole lines of one file; ``first_line`` is 1-based, ``start`` the place in the file, unpacked."""

    data: bytes
    first_line: int
    start: int = 0


class _Head(msgspec.Struct):
    resourceType: str = ""


_HEAD = msgspec.json.Decoder(_Head)


def type_of(line: bytes) -> str:
    """``resourceType`` of one line; "" if it is no JSON object or has none."""
    try:
        return _HEAD.decode(line).resourceType
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""


def type_in_name(name: str) -> str:
    """The resource type a bulk file name announces (``Observation.000.ndjson.gz``), or "".

    >>> type_in_name("1.Observation.ndjson")
    'Observation'
    >>> type_in_name("export.ndjson")
    ''
    """
    stem = plain_name(name).removesuffix(".ndjson")
    match = _TYPE_IN_NAME.search(stem)
    return match[1] if match else ""


def files_in(folder: Path) -> list[Path]:
    """``*.ndjson``, ``*.ndjson.gz`` and ``*.ndjson.zst`` of a folder, in name order.

    Raises SourceUntrustworthy for one that is no file (a folder, a pipe that would never end) or a link out
    of the folder: who may write there must not choose what else we read.
    """
    paths = sorted(path for path in folder.iterdir() if plain_name(path.name).endswith(".ndjson"))
    for path in paths:
        if not path.is_file():
            raise SourceUntrustworthy("this is no file", where=_printable(path), fix="move it elsewhere")
        if path.is_symlink() and path.resolve().parent != folder.resolve():
            raise SourceUntrustworthy(
                "a link leads out of the folder", where=_printable(path), fix="put the file itself there"
            )
    return paths


def _printable(path: Path) -> str:
    """A file's name as it may stand in a message: what steers a terminal or breaks a line is spelled out."""
    return path.name.encode("unicode_escape").decode("ascii") if not path.name.isprintable() else path.name


class NdjsonFile:
    """One file, read in blocks of whole lines; after a full read ``issues`` says what was wrong with it.

    ``opened`` gives the bytes as stored, and ``size`` how many they are, where they are not those of a file
    at ``path``, as in an object store.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits | None = None,
        *,
        name: str = "",
        opened: Callable[[], BinaryIO] | None = None,
        size: int | None = None,
    ) -> None:
        self.path = path
        self._opened = opened
        self._size = size
        self.name = name or path.name
        self.limits = limits or Limits()
        self.issues: list[Issue] = []

    def blocks(self) -> Iterator[Block]:
        """Whole lines, about ``limits.block`` bytes at a time; raises SourceUntrustworthy over a limit."""
        self.issues.clear()
        next_line = 1
        position = 0
        last = b""
        with self._open() as stream:
            for data in whole_lines(stream, self.name, self.limits):
                first_line, last = next_line, data
                next_line += line_ends(data)
                start, position = position, position + len(data)
                if start == 0 and data.startswith(BOM):
                    start, data = len(BOM), data[len(BOM) :]
                yield Block(data, first_line, start)
            raw = getattr(stream, "raw", None)
            if isinstance(raw, Unpacked) and raw.damage:
                code = "GZIP_DAMAGED" if raw.kind == "gzip" else "ZSTD_DAMAGED"
                self._report(code, next_line, f"the {raw.kind} stream ends early ({raw.damage})")
        if last and not last.endswith(b"\n"):
            self._check_tail(last[last.rfind(b"\n") + 1 :], next_line)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Line number (1-based, blank lines counted) and bytes of each line that is not blank."""
        for block in self.blocks():
            yield from numbered_lines(block)

    def texts_at(self, bounds: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of some stretches, (start, size) of the file as it is unpacked, in ascending order."""
        with self._open() as stream:
            position = 0
            for start, size in bounds:
                if stream.seekable():
                    stream.seek(start)
                else:
                    while position < start:
                        position += len(stream.read(min(start - position, 2**20))) or start
                text = stream.read(size)
                position = start + size
                yield text

    def resources(self) -> Iterator[RawResource]:
        """Each line that is not blank as a RawResource; the type is read from the line."""
        for number, line in self.lines():
            yield RawResource(line, f"{self.name}:{number}", type_of(line))

    def _open(self) -> BinaryIO:
        stream = self._opened() if self._opened else self.path.open("rb")
        if not self.name.endswith(SUFFIXES):
            return stream
        size = self._size if self._size is not None else self.path.stat().st_size
        return cast(BinaryIO, io.BufferedReader(unpacked(stream, self.name, size, self.limits), 2**18))

    def _check_tail(self, tail: bytes, number: int) -> None:
        tail = tail.removeprefix(BOM) if number == 1 else tail
        if tail.strip() and not type_of(tail):
            self._report("TRUNCATED_LINE", number, "the last line has no line end and is not a resource")

    def _report(self, code: str, number: int, detail: str) -> None:
        self.issues.append(
            Issue(code, "error", type_in_name(self.name), f"{self.name}:{number}", detail=detail)
        )


def whole_lines(stream: BinaryIO, name: str, limits: Limits, length: int | None = None) -> Iterator[bytes]:
    """A stream in runs of whole lines of about ``limits.block`` bytes; each byte is copied once.

    With ``length`` only lines that begin within so many bytes, the last of them to its end. Raises
    SourceUntrustworthy if a line is longer than the limit.
    """
    left = length
    held = 0
    parts: list[bytes] = []
    while left is None or left > 0 or parts:
        beyond = left is not None and left <= 0
        step = limits.block if left is None else 2**16 if beyond else min(limits.block, left)
        data = stream.read(step)
        if not data:
            break
        end = 1 + (data.find(b"\n") if beyond else data.rfind(b"\n"))
        if end:
            yield b"".join((*parts, memoryview(data)[:end]))
            parts = [data[end:]] if end < len(data) and not beyond else []
            held = sum(map(len, parts))
        else:
            parts.append(data)
            held += len(data)
            if held >= limits.max_line:
                raise SourceUntrustworthy(
                    f"a line is longer than {limits.max_line} bytes",
                    where=name,
                    fix="check that the file is NDJSON: one resource a line",
                )
        if left is not None:
            left -= len(data)
    if parts:
        yield b"".join(parts)


def line_ends(data: bytes) -> int:
    """How many line ends; ten times as fast as ``bytes.count``."""
    return int(sz.count(data, b"\n"))


def numbered_lines(block: Block) -> Iterator[tuple[int, bytes]]:
    """Lines of a block that are not blank, stripped of line end and surrounding blanks."""
    for number, line in enumerate(block.data.split(b"\n"), block.first_line):
        if line and (line := line.strip()):
            yield number, line


def read_folder(folder: Path, limits: Limits | None = None) -> Iterator[RawResource]:
    """Every resource of a folder of NDJSON, in file name order; for one look without landing it."""
    for path in files_in(folder):
        yield from NdjsonFile(path, limits).resources()


def one_line(raw: bytes) -> bytes:
    """A JSON value on one line: raw line breaks are legal only between tokens, where a blank means the same.

    Nothing else changes, so numbers keep their digits and strings their escapes (RFC 8259, section 7).
    """
    return raw.replace(b"\r\n", b" ").replace(b"\n", b" ").replace(b"\r", b" ").strip()


_BLANK_LINE = re.compile(rb"\n[ \t\r\f\v]*(?=\n)")


def lines_in(data: bytes) -> int:
    """How many lines of a block are not blank, at about the speed of counting line ends."""
    tail = data[data.rfind(b"\n") + 1 :]
    ends = line_ends(data)
    # A line that begins with its bracket is not blank; only where some begin otherwise are blanks looked for.
    if data.startswith(b"{") and sz.count(data, b"\n{") + (not tail) == ends:
        return ends + bool(tail)
    return ends - len(_BLANK_LINE.findall(b"\n" + data)) + bool(tail.strip())
