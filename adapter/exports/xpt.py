"""SAS transport files, version 5, byte for byte the same for the same data.

Layout: SAS Institute, *TS-140, The Record Layout of a Data Set in SAS Transport (XPORT) Format*.
Numbers are IBM System/360 hexadecimal floating point. A Fraction or Decimal is first rounded, once
and correctly, to the nearest IEEE double, which SAS itself computes with; every double in range fits
the 56-bit IBM mantissa exactly, so any reader gets that double back. Why there is a writer of our
own: ``docs/decisions/xpt-writer.md``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from adapter.errors import ExportError
from adapter.exports.columns import Remembered, columns_of
from adapter.exports.dataset import DAY_FORMATS, Cell, Column, Dataset, check

_CARD = 80
_NAMESTR_LENGTH = 140
_ZEROES = b"0" * 30
_MISSING = b"." + b"\0" * 7
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NAMESTR = struct.Struct(">hhhh8s40s8shhh2s8shhi52x")


def write_xpt(
    dataset: Dataset, path: Path, *, created: datetime, version: str = "9.4", system: str = ""
) -> None:
    """Write ``dataset`` as a one-member library stamped ``created`` (its own clock, no conversion).

    Raises :class:`ExportError`, before a byte is written, for anything the format would cut or change.
    """
    check(dataset)
    write_checked(dataset, path, created=created, version=version, system=system)


def write_checked(
    dataset: Dataset, path: Path, *, created: datetime, version: str = "9.4", system: str = ""
) -> None:
    """:func:`write_xpt` of a dataset that has passed :func:`check`."""
    with path.open("wb") as out:
        _write(dataset, out, created=created, version=version, system=system)


def _write(dataset: Dataset, out: BinaryIO, *, created: datetime, version: str, system: str) -> None:
    stamp = _stamp(created)
    release = _padded(version, 8) + _padded(system, 8) + b" " * 24
    out.write(_header("LIBRARY", _ZEROES))
    out.write(b"SAS     SAS     SASLIB  " + release + stamp)
    out.write(stamp.ljust(_CARD))
    out.write(_header("MEMBER", b"000000000000000001600000000140"))
    out.write(_header("DSCRPTR", _ZEROES))
    out.write(b"SAS     " + _padded(dataset.name, 8) + b"SASDATA " + release + stamp)
    out.write(stamp + b" " * 16 + _padded(dataset.label, 40) + b" " * 8)
    out.write(_header("NAMESTR", b"000000%04d00000000000000000000" % len(dataset.columns)))
    names = b"".join(_namestrs(dataset.columns))
    out.write(names + _filler(len(names)))
    out.write(_header("OBS", _ZEROES))
    encoded = [Remembered(_encoder(column)) for column in dataset.columns]
    written = 0
    for columns in columns_of(dataset.rows):
        cells = [one.of(column) for one, column in zip(encoded, columns, strict=True)]
        written += out.write(b"".join(chain.from_iterable(zip(*cells, strict=True))))
    out.write(_filler(written))


def ibm_float(number: float) -> bytes:
    """Eight bytes of IBM hexadecimal floating point with the very value of ``number``.

    Raises :class:`ExportError` for what the format has no place for: infinities, NaN, |x| >= 16**63
    (7.2e75) and, other than zero, |x| < 16**-65 (5.4e-79).
    """
    if not math.isfinite(number):
        raise ExportError("a number that is not finite", fix="leave the cell empty instead")
    if number == 0:
        return b"\0" * 8
    mantissa, exponent = math.frexp(abs(number))
    exponent_16 = -(-exponent // 4)
    fraction = int(math.ldexp(mantissa, 56 - (4 * exponent_16 - exponent)))
    if not 0 <= exponent_16 + 64 <= 127:
        raise ExportError(f"{number!r} is outside the range of a transport file")
    sign = 0x80 if number < 0 else 0
    return bytes([sign | (exponent_16 + 64)]) + fraction.to_bytes(7, "big")


def ieee_float(data: bytes) -> float | None:
    """The value of an IBM float of up to 8 bytes; None for SAS missing (``.``, ``._``, ``.A``-``.Z``)."""
    data = data.ljust(8, b"\0")
    if data[0] in b"._ABCDEFGHIJKLMNOPQRSTUVWXYZ" and not any(data[1:]):
        return None
    fraction = int.from_bytes(data[1:], "big")
    value = math.ldexp(float(fraction), 4 * ((data[0] & 0x7F) - 64) - 56)
    return -value if data[0] & 0x80 else value


def read_xpt(path: Path) -> Dataset:
    """The first member of a transport file; numeric columns come back as ``float``, text unpadded.

    Raises :class:`ExportError` if the file is not version 5.
    """
    data = path.read_bytes()
    if not data.startswith(b"HEADER RECORD*******LIBRARY"):
        raise ExportError("not a version 5 transport file", where=str(path))
    label = data[6 * _CARD + 32 : 6 * _CARD + 72]
    name = data[5 * _CARD + 8 : 5 * _CARD + 16]
    count = int(data[7 * _CARD + 54 : 7 * _CARD + 58])
    start = 8 * _CARD
    columns: list[Column] = []
    places: list[tuple[int, int]] = []
    for index in range(count):
        fields = _NAMESTR.unpack_from(data, start + index * _NAMESTR_LENGTH)
        kind, length, position = fields[0], fields[2], fields[14]
        columns.append(
            Column(
                name=_text(fields[4]), label=_text(fields[5]), kind="float" if kind == 1 else "text",
                length=length,
            )
        )  # fmt: skip
        places.append((position, length))
    size = count * _NAMESTR_LENGTH
    body = data[start + size + len(_filler(size)) + _CARD :]
    width = sum(length for _, length in places)
    rows = []
    for offset in range(0, len(body) - width + 1, width):
        record = body[offset : offset + width]
        if not record.strip(b" "):
            break  # the blanks that fill the last card
        rows.append(
            tuple(
                _read_cell(column, record[position : position + length])
                for column, (position, length) in zip(columns, places, strict=True)
            )
        )
    return Dataset(_text(name), _text(label), tuple(columns), tuple(rows))


def _read_cell(column: Column, data: bytes) -> Cell:
    if not column.is_numeric:
        return _text(data)
    return ieee_float(data)  # type: ignore[return-value]  # a float only ever leaves a file, never enters one


def _header(name: str, rest: bytes) -> bytes:
    return b"HEADER RECORD*******" + _padded(name, 8) + b"HEADER RECORD!!!!!!!" + rest + b"  "


def _namestrs(columns: tuple[Column, ...]) -> Iterator[bytes]:
    position = 0
    for number, column in enumerate(columns, start=1):
        length = 8 if column.is_numeric else column.length
        form, width = DAY_FORMATS[column.format] if column.is_day else ("", 0)
        yield _NAMESTR.pack(
            1 if column.is_numeric else 2, 0, length, number, _padded(column.name, 8),
            _padded(column.label, 40), _padded(form, 8), width, 0, 0, b"\0\0", b" " * 8, 0, 0, position,
        )  # fmt: skip
        position += length


def _encoder(column: Column) -> Callable[[Cell], bytes]:
    if column.is_numeric:
        # Only numbers reach a numeric column: check() has seen every cell.
        return lambda cell: _MISSING if cell is None else ibm_float(float(cell))
    return lambda cell: _padded(str(cell or ""), column.length)


def _padded(text: str, length: int) -> bytes:
    return text.encode("ascii").ljust(length)


def _filler(length: int) -> bytes:
    return b" " * (-length % _CARD)


def _stamp(moment: datetime) -> bytes:
    day = f"{moment.day:02d}{_MONTHS[moment.month - 1]}{moment.year % 100:02d}"
    return f"{day}:{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}".encode("ascii")


def _text(data: bytes) -> str:
    return data.decode("ascii").rstrip(" \0")
