"""gzip and zstd, read no further than the limits allow; a damaged stream ends early and says so.

What may be lost is told (``damage``); what may be an attack, a small file that unpacks to a huge one, stops
the read. Sources: RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import gzip
import io
import re
from typing import BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from adapter.errors import SourceUntrustworthy

SUFFIXES = (".gz", ".zst")
_ENDING = re.compile(r"\.(?:gz|zst)$")
# zstd says 128 KiB in four bytes (RFC 8878, RLE_Block): so little is fed at a time that a step stays small.
_STEP = 1024
_LARGEST_WINDOW = 2**27
_DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    gzip.BadGzipFile,
    cast("type[Exception]", isal_zlib.error),
    zstandard.ZstdError,
)


class Bounds(Protocol):
    """What a file may unpack to: bytes, and times its own size once ``ratio_after`` bytes came out."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def max_ratio(self) -> int: ...
    @property
    def ratio_after(self) -> int: ...


def plain_name(name: str) -> str:
    """The name of a file without the ending that says how it is compressed.

    >>> plain_name("Patient.ndjson.zst")
    'Patient.ndjson'
    """
    return _ENDING.sub("", name)


def unpacked(stream: BinaryIO, name: str, size: int, bounds: Bounds) -> Unpacked:
    """Read a compressed stream of ``size`` bytes, by the ending of its name; it is closed with the result."""
    packed = _Gzip(stream) if name.endswith(".gz") else _Zstd(stream)
    return Unpacked(packed, name, size, bounds)


class Unpacked(io.RawIOBase):
    """What a compressed file holds. ``damage`` says, once all is read, why it ended early, if it did."""

    def __init__(self, packed: _Packed, name: str, size: int, bounds: Bounds) -> None:
        self._packed = packed
        self._name = name
        self._size = size
        self._bounds = bounds
        self._total = 0
        self.kind = packed.kind
        self.damage = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = cast("memoryview", buffer)
        try:
            got = self._packed.read(len(view))
        except _DAMAGE as fault:
            self.damage = type(fault).__name__
            return 0
        self._total += len(got)
        self._judge()
        view[: len(got)] = got
        return len(got)

    def _judge(self) -> None:
        bounds = self._bounds
        too_dense = self._total > bounds.ratio_after and self._total > bounds.max_ratio * self._size
        if too_dense or self._total > bounds.max_bytes:
            raise SourceUntrustworthy(
                f"a {self.kind} file of {self._size} bytes unpacks to more than {self._total} bytes",
                where=self._name,
                fix="if the file is genuine, raise max_ratio or max_bytes for this site",
            )

    def close(self) -> None:
        self._packed.close()
        super().close()


class _Packed(Protocol):
    kind: str

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class _Gzip:
    kind = "gzip"

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._file = cast(BinaryIO, igzip.open(stream, "rb"))

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()
        self._stream.close()


class _Zstd:
    """Frame after frame; the library's own reader does not tell a frame cut short from a whole one."""

    kind = "zstd"

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._context = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._frame = self._context.decompressobj()
        self._fed = False
        self._left = b""
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._ready:
            chunk = self._left or self._stream.read(_STEP)
            self._left = b""
            if not chunk:
                if self._fed:
                    raise EOFError
                return b""
            self._ready = memoryview(self._frame.decompress(chunk))
            self._fed = True
            if self._frame.eof:
                self._left = self._frame.unused_data
                self._frame = self._context.decompressobj()
                self._fed = False
        given, self._ready = self._ready[:size], self._ready[size:]
        return bytes(given)

    def close(self) -> None:
        self._stream.close()
