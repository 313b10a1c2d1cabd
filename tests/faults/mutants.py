"""Resources gone wrong: hospital and third-party lines, each hurt one to four times, always so for one seed.

``python -m tests.faults.mutants --seed 7 --count 100000`` reads that many of another seed; without ``--seed``
it takes a new one and prints it. A failure is shrunk to the fewest lines, and the line to the fewest
elements, that still fail; both are printed with the seed and number that make them again.
"""

from __future__ import annotations

import argparse
import copy
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapter import pipeline, protocol
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.mappers import map_resources
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.facts import Facts
from adapter.source.landing import land_folder
from tests.thirdparty import packages

NOW = datetime(2019, 6, 3, tzinfo=UTC)
ENCODE = msgspec.json.Encoder(decimal_format="number").encode
DECODE = msgspec.json.Decoder().decode
OF_ONE_SHAPE = 4  # lines of one type and code that are kept as seeds
BATCH = 500
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


class Mutant(NamedTuple):
    """One line (or, where a line break got into it, several) and the injuries that made it."""

    number: int
    line: bytes
    injuries: tuple[str, ...]


def seeds(folder: Path) -> list[bytes]:
    """Lines to hurt: planted patients of the demo hospital, and those of other people's programs."""
    rows = (
        row for chart, truth in everyone(20190603, PLANTED) if truth for row in (*chart.rows, *chart.late)
    )
    lines = [ENCODE(row) for row in (*formulary(), *rows)]
    for made in (packages.carebundle(folder), packages.small_clinosim(folder)):
        source = (
            made if list(made.glob("*.ndjson")) else packages.unpacked(made, folder / f"{made.name}-lines")
        )
        lines += packages.lines(source)
    seen: Counter[tuple[str, str, str]] = Counter()
    kept = []
    for line in lines:
        resource = DECODE(line)
        shape = (resource["resourceType"], str(resource.get("code")), " ".join(sorted(resource)))
        seen[shape] += 1
        if seen[shape] <= OF_ONE_SHAPE:
            kept.append(line)
    return kept


def mutants(lines: Sequence[bytes], seed: int, count: int, start: int = 0) -> Iterator[Mutant]:
    """``count`` mutants from number ``start``; each depends on the seed and its number alone."""
    for number in range(start, start + count):
        draw = random.Random(f"{seed}:{number}")  # noqa: S311 - no secret, and it must be the same each time
        yield _mutant(lines, draw, number)


def _mutant(lines: Sequence[bytes], draw: random.Random, number: int) -> Mutant:
    line = draw.choice(lines)
    injuries: list[str] = []
    if draw.random() < 0.8:
        resource = DECODE(line)
        for _ in range(draw.choice((1, 1, 2, 3, 4))):
            injury = draw.choice(STRUCTURAL)
            injuries.append(injury.__name__)
            resource = injury(resource, draw, lines)
        line = ENCODE(resource)
    if not injuries or draw.random() < 0.15:
        injury_to_text = draw.choice(TEXTUAL)
        injuries.append(injury_to_text.__name__)
        line = injury_to_text(line, draw)
    return Mutant(number, line, tuple(injuries))


# ---- injuries to the structure ----------------------------------------------------------------------


def _places(value: Any) -> list[Path_]:
    found: list[Path_] = []

    def walk(item: Any, path: Path_) -> None:
        inner = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, below in inner:
            found.append((*path, key))
            walk(below, (*path, key))

    walk(value, ())
    return found


def _at(value: Any, path: Path_) -> Any:
    for key in path:
        value = value[key]
    return value


def _place(resource: Any, draw: random.Random) -> tuple[Any, Any] | None:
    """A holder and the key in it, anywhere in the resource."""
    places = _places(resource)
    if not places:
        return None
    path = draw.choice(places)
    return _at(resource, path[:-1]), path[-1]


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
    names = [step for path in _places(DECODE(draw.choice(lines))) for step in path if isinstance(step, str)]
    holder[draw.choice(names)] = holder.pop(key)
    return resource


def swap(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    places = _places(resource)
    if not places:
        return resource
    value = copy.deepcopy(_at(resource, draw.choice(places)))
    return _changed(resource, draw, lambda holder, key: value)


def splice(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """A part of another resource."""
    other = DECODE(draw.choice(lines))
    value = _at(other, draw.choice(_places(other)))
    return _changed(resource, draw, lambda holder, key: value)


def graft(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """Another resource's value of the same name: of the right type, and wrong all the same."""
    other = DECODE(draw.choice(lines))
    names: dict[Any, Any] = {path[-1]: _at(other, path) for path in _places(other)}
    mine = [path for path in _places(resource) if path[-1] in names]
    if mine:
        path = draw.choice(mine)
        _at(resource, path[:-1])[path[-1]] = names[path[-1]]
    return resource


def scribble(resource: Any, draw: random.Random, lines: Sequence[bytes]) -> Any:
    """A text with some characters changed, or a number multiplied."""
    places = [path for path in _places(resource) if isinstance(_at(resource, path), str | int | float)]
    if not places:
        return resource
    path = draw.choice(places)
    value = _at(resource, path)
    if isinstance(value, str):
        at = draw.randrange(len(value) + 1)
        value = (
            value[:at]
            + draw.choice(("", "0", "9", "-", "/", "<", ">", " ", "Z", "µ", "×", "\u202e", "e5"))
            + (value[at + draw.choice((0, 1, 3)) :])
        )
    elif not isinstance(value, bool):
        value = value * draw.choice((-1, 0, 10, 1000, 1e12))
    _at(resource, path[:-1])[path[-1]] = value
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


# ---- reading them -----------------------------------------------------------------------------------


class Account(NamedTuple):
    """What became of a batch: lines in, and out as facts, issues, not relevant."""

    lines: int
    facts: int
    issues: int
    not_relevant: int
    codes: Counter[str]


class Reader:
    """Lands lines as a bulk folder, looks for candidates, maps all of it, checks that it adds up, and judges.

    ``well`` are lines that nothing happened to; their Patients are read with each batch as owners.
    """

    def __init__(self, folder: Path, well: Sequence[bytes]) -> None:
        self._folder = folder
        self._well = [line for line in well if b'"resourceType":"Patient"' in line]
        self._trial = pipeline.open_trial()
        trial = self._trial
        self._query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)

    def read(self, lines: Sequence[bytes]) -> Account:
        """Raises whatever the adapter raises, and AssertionError where the numbers do not add up."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            source = Path(name) / "export"
            source.mkdir()
            body = b"".join(line + b"\n" for line in (*self._well, *lines))
            (source / "mutants.ndjson").write_bytes(body)
            landing = land_folder(source, Path(name) / "landing", now=NOW)
            landing.candidates(self._query)
            facts = map_resources(
                landing.resources(),
                terminology=self._trial.terminology,
                zone=self._trial.site.zone,
                coverage=landing.coverage,
                options=self._trial.site.options,
            )
        written = sum(bool(line.strip()) for line in body.split(b"\n"))
        for own in facts.by_subject().values():
            protocol.evaluate(self._trial.protocol, own, as_of=NOW.date(), zone=self._trial.site.zone)
        return _checked(facts, written, landing.lines)


def _checked(facts: Facts, written: int, landed: int) -> Account:
    accounts = facts.accounts
    account = Account(
        written,
        sum(one.facts for one in accounts),
        sum(one.issues for one in accounts),
        sum(one.not_relevant for one in accounts),
        Counter(one.code for one in facts.issues),
    )
    assert landed == written, f"{written} lines were written and {landed} landed"
    assert account.facts + account.issues + account.not_relevant == written, account
    fatal = sum(one.fatal_for_resource for one in facts.issues)
    assert fatal == account.issues, f"{account.issues} resources became issues, {fatal} issues say so"
    return account


class Failure(Exception):
    """What failed, shrunk."""


def run(lines: Sequence[bytes], reader: Reader, seed: int, count: int, start: int = 0) -> Account:
    """Read ``count`` mutants in batches; raises Failure with the smallest input that still fails."""
    total = Account(0, 0, 0, 0, Counter())
    source = mutants(lines, seed, count, start)
    while batch := list(islice(source, BATCH)):
        try:
            one = reader.read([mutant.line for mutant in batch])
        except Exception as fault:
            raise Failure(_report(batch, reader, seed, fault)) from fault
        total = Account(*(had + more for had, more in zip(total, one, strict=True)))
    return total


def _report(batch: Sequence[Mutant], reader: Reader, seed: int, fault: Exception) -> str:
    def fails(some: Sequence[bytes]) -> bool:
        try:
            reader.read(some)
        except Exception:  # noqa: BLE001 - any fault is what we look for
            return True
        return False

    lines = smallest(batch, lambda some: fails([mutant.line for mutant in some]))
    shown = [f"{type(fault).__name__}: {fault}"[:2000]]
    for mutant in lines:
        others = [one.line for one in lines if one is not mutant]
        small = simplest(mutant.line, lambda line, others=others: fails([*others, line]))
        shown.append(f"seed {seed}, number {mutant.number}, {' + '.join(mutant.injuries)}:\n{small[:2000]!r}")
    return "\n".join(shown)


def smallest(items: Sequence[Mutant], fails: Callable[[Sequence[Mutant]], bool]) -> list[Mutant]:
    """Fewest items that still fail: halves are left out while that can be done, then single ones."""
    kept = list(items)
    size = max(len(kept) // 2, 1)
    while size:
        at = 0
        while at < len(kept) and len(kept) > 1:
            fewer = kept[:at] + kept[at + size :]
            if fewer and fails(fewer):
                kept = fewer
            else:
                at += size
        size //= 2
    return kept


def simplest(line: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """The line with every element left out that can be; as it is where it does not parse."""
    try:
        resource = DECODE(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return line
    shorter = True
    while shorter:
        shorter = False
        for path in sorted(_places(resource), key=len):
            less = copy.deepcopy(resource)
            del _at(less, path[:-1])[path[-1]]
            if fails(ENCODE(less)):
                resource, shorter = less, True
                break
    return ENCODE(resource) if fails(ENCODE(resource)) else line


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0, help="number of the first mutant (default: 0)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(2**32)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as name:
        lines = seeds(Path(name))
        begun = time.monotonic()
        try:
            total = run(lines, Reader(Path(name), lines), seed, options.count, options.start)
        except Failure as failure:
            print(failure)
            return 1
        spent = time.monotonic() - begun
    print(f"{len(lines)} seeds, {options.count} mutants in {spent:.0f} s, {total.lines} lines in")
    print(f"{total.facts} facts + {total.issues} issues + {total.not_relevant} not relevant")
    print(*(f"{count:>8} {code}" for code, count in total.codes.most_common()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
