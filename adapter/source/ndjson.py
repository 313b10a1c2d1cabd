"""FHIR Bulk Data NDJSON as it lies in a folder: plain or gzip, with or without a manifest.

Reads in blocks of whole lines, so that the byte sieve can work on megabytes at a time and a later process
pool or Spark task can take a block as its unit. Tolerates what exports really contain: a byte order mark,
CRLF, blank lines. What may have been lost (a line cut short, a damaged gzip stream) becomes an
:class:`~adapter.model.issue.Issue`; what may be an attack (a gzip bomb, an endless line) stops the read.

Source: Bulk Data Access IG 2.0.0 (files); RFC 1952 (gzip); the ndjson specification.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from adapter.errors import SourceUntrustworthy
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

BOM = b"\xef\xbb\xbf"
_TYPE_IN_NAME = re.compile(r"(?:^|[._\-\d])([A-Z][A-Za-z]+)(?:[._\-\d]|$)")


class Limits(msgspec.Struct, frozen=True):
    """What one file may cost: bytes after decompression, gzip ratio, bytes of one line and of one block.

    Hospital NDJSON compresses 10 to 60 times; the ratio is only judged once ``ratio_after`` bytes came out.
    Blocks that stay in the processor's cache are sieved nearly twice as fast as blocks of some megabytes.
    """

    max_bytes: int = 256 * 2**30
    max_ratio: int = 250
    ratio_after: int = 32 * 2**20
    max_line: int = 256 * 2**20
    block: int = 2**18


class Block(NamedTuple):
    """Whole lines of one file; ``first_line`` is 1-based."""

    data: bytes
    first_line: int


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
    stem = re.sub(r"\.ndjson(\.gz)?$", "", name)
    match = _TYPE_IN_NAME.search(stem)
    return match[1] if match else ""


def files_in(folder: Path) -> list[Path]:
    """``*.ndjson`` and ``*.ndjson.gz`` of a folder, in name order.

    Raises SourceUntrustworthy for one that is no file (a folder, a pipe that would never end) or a link out
    of the folder: who may write there must not choose what else we read.
    """
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".ndjson", ".ndjson.gz")))
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


class _BoundedGzip(io.RawIOBase):
    """Decompresses no more than the limits allow; a damaged stream ends early and says so."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._size = path.stat().st_size
        self._stream = gzip.open(path, "rb")  # noqa: SIM115 - closed with this object
        self._total = 0
        self.damage = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = cast("memoryview", buffer)
        try:
            got = self._stream.read(len(view))
        except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
            self.damage = type(fault).__name__
            return 0
        self._total += len(got)
        self._judge()
        view[: len(got)] = got
        return len(got)

    def _judge(self) -> None:
        limits = self._limits
        too_dense = self._total > limits.ratio_after and self._total > limits.max_ratio * self._size
        if too_dense or self._total > limits.max_bytes:
            raise SourceUntrustworthy(
                f"a gzip file of {self._size} bytes unpacks to more than {self._total} bytes",
                where=self._path.name,
                fix="if the file is genuine, raise max_ratio or max_bytes for this site",
            )

    def close(self) -> None:
        self._stream.close()
        super().close()


class NdjsonFile:
    """One file, read in blocks of whole lines; after a full read ``issues`` says what was wrong with it."""

    def __init__(self, path: Path, limits: Limits | None = None, *, name: str = "") -> None:
        self.path = path
        self.name = name or path.name
        self.limits = limits or Limits()
        self.issues: list[Issue] = []

    def blocks(self) -> Iterator[Block]:
        """Whole lines, about ``limits.block`` bytes at a time; raises SourceUntrustworthy over a limit."""
        self.issues.clear()
        damage = ""
        next_line = 1
        last = b""
        with self._open() as stream:
            while data := self._whole_lines(stream):
                first_line, last = next_line, data
                next_line += data.count(b"\n")
                if first_line == 1 and data.startswith(BOM):
                    data = data[len(BOM) :]
                yield Block(data, first_line)
            raw = getattr(stream, "raw", None)
            damage = raw.damage if isinstance(raw, _BoundedGzip) else ""
        if damage:
            self._report("GZIP_DAMAGED", next_line, f"the gzip stream ends early ({damage})")
        if last and not last.endswith(b"\n"):
            self._check_tail(last[last.rfind(b"\n") + 1 :], next_line)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Line number (1-based, blank lines counted) and bytes of each line that is not blank."""
        for block in self.blocks():
            yield from numbered_lines(block)

    def resources(self) -> Iterator[RawResource]:
        """Each line that is not blank as a RawResource; the type is read from the line."""
        for number, line in self.lines():
            yield RawResource(line, f"{self.name}:{number}", type_of(line))

    def _open(self) -> BinaryIO:
        if self.name.endswith(".gz"):
            return cast(BinaryIO, io.BufferedReader(_BoundedGzip(self.path, self.limits), 2**18))
        return self.path.open("rb")

    def _whole_lines(self, stream: BinaryIO) -> bytes:
        data = stream.read(self.limits.block)
        if data and not data.endswith(b"\n"):
            rest = stream.readline(self.limits.max_line)
            if len(rest) >= self.limits.max_line:
                raise SourceUntrustworthy(
                    f"a line is longer than {self.limits.max_line} bytes",
                    where=self.name,
                    fix="check that the file is NDJSON: one resource a line",
                )
            data += rest
        return data

    def _check_tail(self, tail: bytes, number: int) -> None:
        tail = tail.removeprefix(BOM) if number == 1 else tail
        if tail.strip() and not type_of(tail):
            self._report("TRUNCATED_LINE", number, "the last line has no line end and is not a resource")

    def _report(self, code: str, number: int, detail: str) -> None:
        self.issues.append(
            Issue(code, "error", type_in_name(self.name), f"{self.name}:{number}", detail=detail)
        )


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
    return data.count(b"\n") - len(_BLANK_LINE.findall(b"\n" + data)) + bool(tail.strip())
