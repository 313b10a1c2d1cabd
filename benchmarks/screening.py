"""``python -m benchmarks.screening FOLDER``: a population screened in a process of its own, as JSON.

What is measured is what ``adapter screen`` does between reading its rules and leaving its result: nominate,
sieve, map, evaluate, write. Landing (a hash of every file) is done before and told apart. The verdicts must
be those that the population was made with.
"""

from __future__ import annotations

import argparse
import os
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from cProfile import Profile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapter import pipeline
from adapter.source.landing import land_folder
from adapter.trial import Workspace
from benchmarks import data
from benchmarks.measuring import Peak, measured, memory_of_tree


class Screened(msgspec.Struct, frozen=True):
    """Seconds of the least of some rounds; ``peak`` and ``before`` in bytes (see :class:`Peak`)."""

    wall: float
    cpu: float
    landing_wall: float
    landing_cpu: float
    peak: int
    before: int
    read: int
    kept: int
    verdicts: dict[str, int]


def screened(population: data.Population, *, cores: int = 0, rounds: int = 1) -> Screened:
    """Screen in a new process on ``cores`` processors (0: all); fails if a verdict differs."""
    command = [sys.executable, "-m", "benchmarks.screening", population.where]
    command += ["--rounds", str(rounds), "--cores", str(cores)]
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{ran.stderr.decode(errors='replace')[-4000:]}")
    return msgspec.json.decode(ran.stdout, type=Screened)


def screen(population: data.Population, cores: int, rounds: int, watch: Profile | None = None) -> Screened:
    """Land by reference, then screen in each round as if for the first time; ``watch`` sees one process."""
    trial = pipeline.open_trial()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: cores or None])
    now = datetime(data.AS_OF.year, data.AS_OF.month, data.AS_OF.day, 15, 30, tzinfo=UTC)
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        landing = Path(temporary) / "landing"
        landed = measured(lambda: land_folder(population.folder, landing, now=now, copy=False))
        workspaces = [Workspace(Path(temporary) / str(number), embedded=True) for number in range(rounds)]
        for workspace in workspaces:
            shutil.copytree(landing, workspace.landing)

        def work() -> pipeline.Screening:
            with watch or nullcontext():
                return pipeline.screen(trial, workspaces.pop(), as_of=data.AS_OF, full=True)

        before = memory_of_tree()
        with Peak() as peak:
            best = measured(work, rounds)
        found = best.result
        decisions = found.decisions  # read from where it was left, so while that is there
    verdicts = dict(Counter(decision.overall.value for decision in decisions))
    assert verdicts == population.verdicts, (verdicts, population.verdicts)
    assert {decision.subject for decision in decisions} == population.candidates
    return Screened(
        best.wall,
        best.cpu,
        landed.wall,
        landed.cpu,
        peak.bytes,
        before,
        found.sifted.landed,
        found.sifted.landed - found.sifted.sieved,
        verdicts,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screening", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="where the time goes, on standard error")
    asked = parser.parse_args()
    account = asked.folder / "population.json"
    population = msgspec.json.decode(account.read_bytes(), type=data.Population)
    watch = Profile(time.process_time) if asked.profile else None
    found = screen(population, 1 if watch else asked.cores, asked.rounds, watch)
    if watch:
        pstats.Stats(watch, stream=sys.stderr).sort_stats("tottime").print_stats(20)
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    main()
