"""The chaos run, in parts that go to whichever worker is free; docs/chaos.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest

from tests.chaos.run import run_all
from tests.chaos.schedule import schedule
from tests.chaos.tally import summed


class Part(NamedTuple):
    server: str
    first: int
    last: int


# Medplum takes the first rung, sekmet-fhir the lower ones; HAPI is slow, and one of it is enough to start.
PARTS = (
    *(Part("medplum", first, first + 39) for first in range(1, 400, 40)),
    *(Part("sekmet", first, first + 29) for first in range(401, 490, 30)),
    Part("hapi", 491, 500),
)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(
            part,
            id="-".join(map(str, part)),
            marks=[getattr(pytest.mark, part.server)]
            + [pytest.mark.xdist_group(name="hapi")] * (part.server == "hapi"),
        )
        for part in PARTS
    ],
)
def test_nothing_is_lost_doubled_or_overwritten(
    part: Part, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    base: str = request.getfixturevalue(f"{part.server}_base_url")
    postgres: str = request.getfixturevalue("postgres_url")
    schedules = [schedule(seed, part.server) for seed in range(part.first, part.last + 1)]
    tally = asyncio.run(run_all(schedules, {part.server: base}, postgres=postgres))
    record_property("chaos", tally.counts())
    assert not tally.findings, "\n".join(str(one) for one in tally.findings)
    assert sum(tally.schedules.values()) == len(schedules)


def test_there_are_five_hundred_and_no_seed_twice() -> None:
    seeds = [seed for part in PARTS for seed in range(part.first, part.last + 1)]
    assert (len(seeds), len(set(seeds))) == (500, 500)


def test_counts_of_parts_are_summed() -> None:
    one = {"schedules": {"write": 2}, "faults": {"500": 1}, "requests": 7, "seconds": 1.5, "findings": 1}
    two = {"schedules": {"write": 1, "read": 4}, "faults": {}, "requests": 3, "seconds": 2.0, "findings": 0}
    whole = summed([filled(one), filled(two)])
    assert whole["schedules"] == {"write": 3, "read": 4}
    assert (whole["faults"], whole["requests"], whole["findings"]) == ({"500": 1}, 10, 1)


def filled(counts: Mapping[str, object]) -> dict[str, object]:
    return {**summed([]), **counts}
