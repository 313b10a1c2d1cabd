"""What of a file is sent: which encoding, the whole, a range or nothing. Pure; RFC 9110, by section.

Each representation (as it is, and gzip) has a strong ETag of its own, the SHA-256 of its bytes (8.8.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Encoding = Literal["identity", "gzip"]
_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_TAGS = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Answer(NamedTuple):
    """A status and the bytes to send: ``first`` to before ``end``."""

    status: int
    first: int = 0
    end: int = 0


def encoding(accept: str | None, *, compressible: bool) -> Encoding:
    """gzip where the client takes it at least as gladly as the plain bytes (12.5.3); plain if in doubt."""
    if not compressible or not accept:
        return "identity"
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        found = [match for one in parameters if (match := _WEIGHT.fullmatch(one))]
        weights[name.lower()] = float(found[0][1]) if found else 0.0 if parameters else 1.0
    gzip = max(weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))), 0.0)
    plain = weights.get("identity", 0.0)
    return "gzip" if gzip > 0 and gzip >= plain else "identity"


def answer(headers: Mapping[str, str], tag: str, size: int, *, head: bool = False) -> Answer:
    """What to send of a representation of ``size`` bytes, in the order of 13.2.2.

    412 If-Match names another one; 304 the client has it; 206 and 416 by Range, which counts only for
    GET, for one range, and if If-Range names this very representation (13.1.5); else the whole.
    """
    wanted = headers.get("if-match")
    if wanted is not None and not _names(wanted, tag, strong=True):
        return Answer(412)
    known = headers.get("if-none-match")
    if known is not None and _names(known, tag, strong=False):
        return Answer(304)
    asked = headers.get("range")
    guard = headers.get("if-range")
    if asked is None or head or (guard is not None and guard.strip() != tag):
        return Answer(200, 0, size)
    return _range(asked, size)


def _range(asked: str, size: int) -> Answer:
    """One range of bytes (14.1.2). Several at once, or what cannot be read, may be ignored (14.2)."""
    match = _RANGE.fullmatch(asked.strip())
    if match is None:
        return Answer(200, 0, size)
    if match[3] is not None:
        first, end = max(0, size - int(match[3])), size
    else:
        first, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < first:
            return Answer(200, 0, size)
    return Answer(206, first, end) if first < end else Answer(416)


def _names(header: str, tag: str, *, strong: bool) -> bool:
    """Whether a list of entity tags, or ``*``, names this one (8.8.3.2)."""
    if header.strip() == "*":
        return True
    return any(value == tag and not (strong and weak) for weak, value in _TAGS.findall(header))
