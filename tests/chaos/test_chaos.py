"""The share of the chaos run that every test run takes; docs/chaos.md."""

from __future__ import annotations

import asyncio

from tests.chaos.run import run_all
from tests.chaos.schedule import write_schedule

SCHEDULES = 100


def test_nothing_is_lost_doubled_or_overwritten(medplum_base_url: str) -> None:
    schedules = [write_schedule(seed, "medplum") for seed in range(1, SCHEDULES + 1)]
    tally = asyncio.run(run_all(schedules, {"medplum": medplum_base_url}))
    print(*tally.lines(), sep="\n")
    assert not tally.findings, "\n".join(str(one) for one in tally.findings)
    assert sum(tally.schedules.values()) == SCHEDULES
