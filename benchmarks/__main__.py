"""``make bench``: the read path against ``wc -l`` and against others who do the same, as ratios.

One line a figure on standard output, ``NAME RATIO``; the seconds behind them go to standard error.

screen_vs_scan         screen (nominate, sieve, map, evaluate, write) over ``wc -l`` of the same files
screen_vs_duckdb       ... over DuckDB parsing everything into typed structs
screen_vs_spark        ... over Spark doing so; its start is not counted, a round before warms it
screen_vs_pandas       ... over the faster of fhir-pyrate and fhiry, on a slice, by the megabyte
screen_gzip_vs_gunzip  screen of gzip files over ``gzip -dc`` of them into nothing
map_vs_msgspec         mapping over msgspec's typed decode, every patient a candidate, one core

A ratio is throughput by throughput: more is better for us. It is of CPU seconds (user and system, of every
process that takes part) unless ``--by wall``: on a machine that others use too, CPU seconds still hold. Files
are in the page cache, all have the same cores, and whoever finds other rows than were planted fails the run.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.charts import HOSPITAL_SEED
from benchmarks.contest import GOALS, Contest, machine, tell
from benchmarks.data import Recipe


def main() -> int:
    """Generate, measure, print; 1 if any contestant found other rows than were planted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=20_000, help="48 kB each (default: 20000)")
    parser.add_argument("--share", type=float, default=0.002, help="of candidates (default: 0.002)")
    parser.add_argument("--seed", type=int, default=HOSPITAL_SEED)
    parser.add_argument("--rounds", type=int, default=3, help="the one that took least counts (default: 3)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--by", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--only", nargs="+", choices=sorted(GOALS), default=sorted(GOALS), metavar="FIGURE")
    parser.add_argument("--cache", type=Path, help="where generated files are kept (default: temporary)")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    tell(machine(asked.cores))
    contest = Contest(
        recipe=Recipe(patients=asked.patients, share=asked.share, seed=asked.seed),
        cores=asked.cores,
        rounds=asked.rounds,
        by=asked.by,
        cache=asked.cache,
    )
    for name, ratio in contest.figures(frozenset(asked.only)):
        print(f"{name} {ratio:.3g}", flush=True)
    for name in contest.wrong:
        tell(f"FAILED: {name} found other rows than were planted")
    return 1 if contest.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
