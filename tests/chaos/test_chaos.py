"""The share of the chaos run that every test run takes; docs/chaos.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.chaos.run import run_all
from tests.chaos.schedule import schedule

# Medplum takes the first rung, sekmet-fhir the lower ones. Medplum's memory slows down with what it has to
# keep: 430 schedules on one did not end within 12 minutes on two cores, so the 500 are `make chaos`.
SHARES = {"medplum": range(1, 51), "sekmet": range(431, 461), "hapi": range(491, 496)}


@pytest.mark.parametrize("name", SHARES)
def test_nothing_is_lost_doubled_or_overwritten(
    name: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    base: str = request.getfixturevalue(f"{name}_base_url")
    schedules = [schedule(seed, name) for seed in SHARES[name]]
    tally = asyncio.run(run_all(schedules, {name: base}))
    record_property("counts", "\n".join(tally.lines()))
    assert not tally.findings, "\n".join(str(one) for one in tally.findings)
    assert sum(tally.schedules.values()) == len(SHARES[name])
