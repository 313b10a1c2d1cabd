"""``python -m tests.chaos --seed N``: run one schedule, or many, and print what was found.

A failing seed of the test run is reproduced by its number and server:
``python -m tests.chaos --seed 17 --server medplum``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import ExitStack

from tests.chaos.run import LANES, run_all
from tests.chaos.schedule import schedule
from tests.conftest import SERVERS
from tests.servers import hapi, medplum, postgres, sekmet
from tests.servers.process import ServerUnavailable

RUNNING = {"hapi": hapi.running, "medplum": medplum.running, "sekmet": sekmet.running}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--schedules", type=int, default=1, help="how many, seeds counting up (default: 1)")
    parser.add_argument("--server", choices=sorted(SERVERS), default="medplum")
    parser.add_argument("--lanes", type=int, default=LANES, help="how many side by side")
    parser.add_argument("--show", action="store_true", help="print the schedules without running them")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.schedules)
    schedules = [schedule(seed, options.server) for seed in seeds]
    if options.show:
        print(*schedules, sep="\n")
        return 0
    with ExitStack() as stack:
        base = stack.enter_context(RUNNING[options.server]())
        try:
            postgres_url = stack.enter_context(postgres.running())
        except ServerUnavailable as reason:
            print(f"all stores are SQLite: {reason}", file=sys.stderr)
            postgres_url = ""
        tally = asyncio.run(
            run_all(
                schedules,
                {options.server: base},
                postgres=postgres_url,
                lanes=min(options.lanes, len(schedules)),
                told=lambda line: print(line, flush=True),
            )
        )
    print(*tally.lines(), sep="\n")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
