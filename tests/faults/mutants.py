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
from typing import NamedTuple

import msgspec

from adapter import pipeline, protocol
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.mappers import map_resources
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.facts import Facts
from adapter.source.landing import land_folder
from tests.faults.injuries import DECODE, ENCODE, STRUCTURAL, TEXTUAL, paths_in, value_at
from tests.thirdparty import packages

NOW = datetime(2019, 6, 3, tzinfo=UTC)
OF_ONE_SHAPE = 4  # lines of one type and code that are kept as seeds
BATCH = 500


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
        for path in sorted(paths_in(resource), key=len):
            less = copy.deepcopy(resource)
            del value_at(less, path[:-1])[path[-1]]
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
