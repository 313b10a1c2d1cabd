"""How the nouns are written to and read from disk: JSON with exact numbers.

``Fraction`` is written as ``"n/d"`` and read back as the same number; msgspec does the rest. Field
order is declaration order, so the same value gives the same bytes.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def _encode(value: Any) -> Any:
    if isinstance(value, Fraction):
        numerator, denominator = value.as_integer_ratio()
        return f"{numerator}/{denominator}"
    raise NotImplementedError(f"cannot write {type(value).__name__}")


def _decode(wanted: type, value: Any) -> Any:
    if wanted is Fraction and isinstance(value, str):
        return _fraction(value)
    raise NotImplementedError(f"cannot read {wanted.__name__}")


# Few numbers are met over and over. Both bounds of an exact one are then the same object, as they were when
# it was mapped: comparing two equal fractions costs a microsecond.
@lru_cache(maxsize=4096)
def _fraction(text: str) -> Fraction:
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator), int(denominator or 1))


_ENCODER = msgspec.json.Encoder(enc_hook=_encode)
_IN_ORDER = msgspec.json.Encoder(enc_hook=_encode, order="deterministic")


def encode(value: Any) -> bytes:
    return _ENCODER.encode(value)


def encode_in_order(value: Any) -> bytes:
    """:func:`encode` with sets and mappings in one order, for hashes."""
    return _IN_ORDER.encode(value)


def decode(data: bytes, wanted: type[T]) -> T:
    return msgspec.json.decode(data, type=wanted, dec_hook=_decode)


def decoder(wanted: type[T]) -> msgspec.json.Decoder[T]:
    """:func:`decode` for many values of one type."""
    return msgspec.json.Decoder(wanted, dec_hook=_decode)


def write_rows(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line and return how many; the caller owns atomic replacement."""
    count = 0
    with path.open("wb") as out:
        for row in rows:
            out.write(_ENCODER.encode(row))
            out.write(b"\n")
            count += 1
    return count


def read_rows(path: Path, wanted: type[T]) -> Iterator[T]:
    """Read back what :func:`write_rows` wrote; raises ``msgspec.ValidationError`` on anything else."""
    row = decoder(wanted)
    with path.open("rb") as lines:
        for line in lines:
            yield row.decode(line)
