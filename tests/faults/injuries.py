"""Ways in which a resource goes wrong: in its structure (decoded JSON) or in its text (bytes of a line).

Each takes what it hurts and a seeded source of chance; structural ones also take the other lines,
to splice from.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

ENCODE = msgspec.json.Encoder(decimal_format="number").encode
DECODE = msgspec.json.Decoder().decode
Path_ = tuple[str | int, ...]

# Values that stand where nobody expects them: other types, other dates, other scripts, other people.
STRANGERS: tuple[Any, ...] = (
    None, True, 0, -1, 10**22, 1e300, 5e-324, "", " ", "NaN", "<0.15", "25,3", "2024-13-01", "2018-11",
    "9999", "T", "9999-12-31T23:59:59-12:00", "0000-00-00", "\u202e3.52", "=cmd|' /C calc'!A0",
    "Patient/p00007",
    "Patient/p00007/_history/2", "http://elsewhere.example/Patient/1", "#", "#s", "urn:uuid:1", "\x00",
    "\u2028", "µ" * 500, "１２", "٣", "10^9/L", "g/24h", "<script>alert(1)</script>", "阳性", "\U0010ffff",
    [], {}, [[]], [None], [{}], {"a": {}}, {"reference": "Patient/p00007"}, {"reference": "#"},
    {"value": 1, "comparator": "~"},
    [{"url": "http://elsewhere.example", "valueBoolean": True}], {"coding": {"code": "x"}},
    {"coding": [None]},
)  # fmt: skip
# Tokens that no JSON writer makes; they take the place of a number or a string in the text.
TOKENS = (
    b"1e400", b"-1e-400", b"NaN", b"Infinity", b"-0", b"12345678901234567890123", b"0." + b"1" * 400,
    b"9" * 5000, b"01", b"1.", b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\xff\xfe"', b"'x'",
    b"undefined", b"",
    b'{"a":' * 1200 + b"1" + b"}" * 1200, b"[" * 60_000 + b"]" * 60_000, b'{"a":' * 300 + b"1" + b"}" * 300,
)  # fmt: skip


# ---- injuries to the structure ----------------------------------------------------------------------


def paths_in(value: Any) -> list[Path_]:
    found: list[Path_] = []

    def walk(item: Any, path: Path_) -> None:
        inner = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, below in inner:
            found.append((*path, key))
            walk(below, (*path, key))

    walk(value, ())
    return found


def value_at(value: Any, path: Path_) -> Any:
    for key in path:
        value = value[key]
    return value


def _place(resource: Any, draw: random.Random) -> tuple[Any, Any] | None:
    """A holder and the key in it, anywhere in the resource."""
    places = paths_in(resource)
    if not places:
        return None
    path = draw.choice(places)
    return value_at(resource, path[:-1]), path[-1]


def _changed(resource: Any, draw: random.Random, change: Callable[[Any, Any], Any]) -> Any:
    place = _place(resource, draw)
    if place is not None:
        holder, key = place
        holder[key] = change(holder, key)
    return resource


def drop(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    if (place := _place(resource, draw)) is not None:
        del place[0][place[1]]
    return resource


def stranger(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    return _changed(resource, draw, lambda holder, key: copy.deepcopy(draw.choice(STRANGERS)))


def wrap(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    return _changed(resource, draw, lambda holder, key: [holder[key]])


def unwrap(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    def first(holder: Any, key: Any) -> Any:
        value = holder[key]
        inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
        return inner[0] if inner else value

    return _changed(resource, draw, first)


def retype(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    return _changed(
        resource,
        draw,
        lambda holder, key: str(holder[key]) if draw.random() < 0.5 else {"value": holder[key]},
    )


def move(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """A value under another name, of the same resource or another's."""
    place = _place(resource, draw)
    if place is None or not isinstance(place[0], dict):
        return resource
    holder, key = place
    names = [step for path in paths_in(DECODE(draw.choice(lines))) for step in path if isinstance(step, str)]
    holder[draw.choice(names)] = holder.pop(key)
    return resource


def swap(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    places = paths_in(resource)
    if not places:
        return resource
    value = copy.deepcopy(value_at(resource, draw.choice(places)))
    return _changed(resource, draw, lambda holder, key: value)


def splice(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """A part of another resource."""
    other = DECODE(draw.choice(lines))
    value = value_at(other, draw.choice(paths_in(other)))
    return _changed(resource, draw, lambda holder, key: value)


def graft(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """Another resource's value of the same name: of the right type, and wrong all the same."""
    other = DECODE(draw.choice(lines))
    names: dict[Any, Any] = {path[-1]: value_at(other, path) for path in paths_in(other)}
    mine = [path for path in paths_in(resource) if path[-1] in names]
    if mine:
        path = draw.choice(mine)
        value_at(resource, path[:-1])[path[-1]] = names[path[-1]]
    return resource


def scribble(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """A text with some characters changed, or a number multiplied."""
    places = [path for path in paths_in(resource) if isinstance(value_at(resource, path), str | int | float)]
    if not places:
        return resource
    path = draw.choice(places)
    value = value_at(resource, path)
    if isinstance(value, str):
        at = draw.randrange(len(value) + 1)
        value = (
            value[:at]
            + draw.choice(("", "0", "9", "-", "/", "<", ">", " ", "Z", "µ", "×", "\u202e", "e5"))
            + (value[at + draw.choice((0, 1, 3)) :])
        )
    elif not isinstance(value, bool):
        value = value * draw.choice((-1, 0, 10, 1000, 1e12))
    value_at(resource, path[:-1])[path[-1]] = value
    return resource


def chimera(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """Half of the members are another resource's, its type and id perhaps too."""
    other = DECODE(draw.choice(lines))
    if isinstance(resource, dict):
        resource.update({name: value for name, value in other.items() if draw.random() < 0.5})
    return resource


def repeat(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """A list's item many times over."""
    place = _place(resource, draw)
    if place is not None and isinstance(place[0], list):
        place[0].extend(copy.deepcopy(place[0][place[1]]) for _ in range(draw.choice((1, 3, 40))))
    return resource


def inside(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """Itself or another resource contained, or in a Bundle or Parameters."""
    other = copy.deepcopy(resource) if draw.random() < 0.5 else DECODE(draw.choice(lines))
    if draw.random() < 0.5 and isinstance(resource, dict):
        return {**resource, "contained": [other]}
    kind = draw.choice(("Bundle", "Parameters"))
    return {"resourceType": kind, "entry" if kind == "Bundle" else "parameter": [{"resource": other}]}


# Gentle ones are more frequent: what stays readable goes deepest into the mappers.
STRUCTURAL = (
    drop, drop, drop, drop, graft, graft, graft, graft, graft, scribble, scribble, scribble, scribble,
    stranger, stranger, wrap, unwrap, retype, move, swap, splice, chimera, repeat, repeat, inside,
)  # fmt: skip


# ---- injuries to the text ---------------------------------------------------------------------------


def flip(line: bytes, draw: random.Random) -> bytes:
    hurt = bytearray(line)
    for _ in range(draw.choice((1, 2, 8)) if hurt else 0):
        hurt[draw.randrange(len(hurt))] ^= 1 << draw.randrange(8)
    return bytes(hurt)


def truncate(line: bytes, draw: random.Random) -> bytes:
    return line[: draw.randrange(len(line) + 1)]


def cut_out(line: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(line) + 1) for _ in range(2))
    return line[:start] + line[end:]


def twice(line: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(line) + 1) for _ in range(2))
    return line[:end] + line[start:]


def token(line: bytes, draw: random.Random) -> bytes:
    """After some colon, another token."""
    colons = [at for at, byte in enumerate(line) if byte == ord(":")]
    if not colons:
        return line
    at = draw.choice(colons) + 1
    end = min((where for sign in b",}]" if (where := line.find(bytes([sign]), at)) >= 0), default=len(line))
    return line[:at] + draw.choice(TOKENS) + line[end:]


def member(line: bytes, draw: random.Random) -> bytes:
    """A member written a second time, with another value."""
    names = [one.split(b'"')[-1] for one in line.split(b'":')[:-1]]
    name = draw.choice(names) if names else b"a"
    return line[:-1] + b',"' + name + b'":' + ENCODE(draw.choice(STRANGERS)) + b"}"


def encoding(line: bytes, draw: random.Random) -> bytes:
    text = line.decode("utf-8", "replace")
    return draw.choice(
        (text.encode("gb18030"), text.encode("utf-16"), b"\xef\xbb\xbf" + line, line + b"\x00")
    )


def line_break(line: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(line) + 1)
    return line[:at] + draw.choice((b"\n", b"\r\n", b"\r", b"\xe2\x80\xa8", b"\n\n")) + line[at:]


TEXTUAL = (flip, flip, truncate, cut_out, twice, token, token, token, member, encoding, line_break)
