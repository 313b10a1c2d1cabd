"""100,000 resources gone wrong: nothing crashes, everything is accounted for, time and memory stay bounded.

More of them: ``python -m tests.faults.mutants --help``.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from tests.faults.mutants import (
    DECODE,
    Account,
    Failure,
    Mutant,
    Reader,
    mutants,
    run,
    seeds,
    simplest,
    smallest,
)

SEED, COUNT = 2026, 100_000
SECONDS = 600  # about 50 on an idle core; what we look for is an input that costs minutes by itself
KILOBYTES = 400_000  # growth of the process's peak; a batch is about 1 MB of lines


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return seeds(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def reader(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("reader"), lines)


def test_what_is_hurt_was_well(lines: list[bytes], reader: Reader) -> None:
    """Hospital and third-party lines as they are: all read, none refused; of many types."""
    account = reader.read(lines)
    assert account.issues == account.codes["DUPLICATE_RESOURCE"]  # the Patients, who are read twice
    assert len({DECODE(line)["resourceType"] for line in lines}) >= 20
    assert len(lines) > 600


def test_a_hundred_thousand_mutants(lines: list[bytes], reader: Reader) -> None:
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        total = run(lines, reader, SEED, COUNT)
    except Failure as failure:
        pytest.fail(str(failure), pytrace=False)
    spent = time.monotonic() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"\n{COUNT} mutants, {total.lines} lines in {spent:.0f} s, {grown // 1024} MB more:", end=" ")
    print(f"{total.facts} facts + {total.issues} issues + {total.not_relevant} not relevant")
    assert total.lines == total.facts + total.issues + total.not_relevant
    assert total.lines >= COUNT
    # They go deep enough: a third still become facts, and what is wrong has many names.
    assert total.facts > COUNT // 3
    assert len(total.codes) >= 30
    assert spent < SECONDS
    assert grown < KILOBYTES


def test_each_mutant_depends_on_seed_and_number_alone(lines: list[bytes]) -> None:
    some = list(mutants(lines, SEED, 40))
    assert list(mutants(lines, SEED, 10, start=30)) == some[30:]
    assert list(mutants(lines, SEED + 1, 40)) != some
    assert len({one.line for one in some}) == 40


def test_a_failure_is_shrunk_to_what_matters(lines: list[bytes], tmp_path: Path) -> None:
    """A reader that cannot bear a gender: of 1,000 lines one is shown, and of that one element."""

    class Delicate(Reader):
        def read(self, some: list[bytes]) -> Account:  # type: ignore[override]
            if any(b'"gender":"female"' in line for line in some):
                raise ZeroDivisionError
            return super().read([])

    with pytest.raises(Failure) as caught:
        run(lines, Delicate(tmp_path, []), SEED, 1000)
    text = str(caught.value)
    assert text.startswith("ZeroDivisionError")
    assert text.count("number") == 1
    assert """b'{"gender":"female"}'""" in text


def test_shrinking_keeps_a_pair_that_fails_together() -> None:
    items = [Mutant(number, b"%d" % number, ()) for number in range(50)]
    found = smallest(items, lambda some: {3, 41} <= {one.number for one in some})
    assert [one.number for one in found] == [3, 41]
    assert simplest(b"not json", lambda line: True) == b"not json"
