"""``python -m benchmarks.curves``: what a screening costs by patients, candidates, files and cores, as a CSV.

Every point is a screening in a process of its own over a generated population, whose verdicts must be those
planted. Five series, each from one starting point; 10^6 patients have few lines each, so that they are some
gigabytes. ``python -m benchmarks.curves_page`` draws what this measured.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.contest import machine, tell
from benchmarks.data import Compression, Recipe, population
from benchmarks.screening import screened

FOLDER = Path(__file__).parents[1] / "docs" / "performance"
SHORT = 8
"""Lines of a patient where there are up to a million."""


class Point(NamedTuple):
    series: str
    recipe: Recipe
    cores: int


class Row(NamedTuple):
    """One measured point: sizes in bytes, times in seconds, memory as ``measuring.Peak`` has it."""

    series: str
    patients: int
    share: float
    files: int
    cores: int
    compression: str
    lines: int
    bytes: int
    stored: int
    candidates: int
    kept: int
    landing_cpu: float
    landing_wall: float
    cpu: float
    wall: float
    peak: int
    before: int


def points(cores: int, most: int) -> Iterator[Point]:
    """The five series; ``most`` patients at the largest point."""
    for share in (0.001, 0.01, 0.1, 1.0):
        yield Point("share", Recipe(patients=min(most, 2_000), share=share), cores)
    for parts in (0, 1, 8, 62):
        yield Point("files", Recipe(patients=min(most, 5_000), parts=parts), cores)
    for used in range(1, cores + 1):
        yield Point("cores", Recipe(patients=min(most, 40_000)), used)
        yield Point("cores, one in ten", Recipe(patients=min(most, 2_000), share=0.1), used)
    kinds: tuple[Compression, ...] = ("", "gzip", "zstd")
    for compression in kinds:
        recipe = Recipe(patients=min(most, 5_000), compression=compression)
        yield Point("compression", recipe, cores)
    for patients in (1_000, 10_000, 100_000, 1_000_000):
        if patients <= most:
            yield Point("patients", Recipe(patients=patients, lines=SHORT), cores)


def measure(point: Point, rounds: int, root: Path) -> Row:
    """Screen one point; its population is removed if it is large."""
    made = population(point.recipe, root)
    for path in made.paths():
        path.read_bytes()
    found = screened(made, cores=point.cores, rounds=rounds)
    if made.stored > 2 * 10**9:
        shutil.rmtree(made.folder)
    return Row(
        series=point.series,
        patients=point.recipe.patients,
        share=point.recipe.share,
        files=made.files,
        cores=point.cores,
        compression=point.recipe.compression or "plain",
        lines=found.read,
        bytes=made.bytes,
        stored=made.stored,
        candidates=len(made.candidates),
        kept=found.kept,
        landing_cpu=round(found.landing_cpu, 3),
        landing_wall=round(found.landing_wall, 3),
        cpu=round(found.cpu, 3),
        wall=round(found.wall, 3),
        peak=found.peak,
        before=found.before,
    )


def read(path: Path) -> list[Row]:
    """What an earlier run wrote."""
    with path.open(encoding="utf-8", newline="") as rows:
        return [msgspec.convert([*row.values()], Row, strict=False) for row in csv.DictReader(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="patients at the largest point")
    parser.add_argument("--series", nargs="*", help="only these")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    root = asked.cache or Path(tempfile.gettempdir()) / f"adapter-bench-{os.getuid()}"
    tell(machine(asked.cores))
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "curves.csv").open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(Row._fields)
        for point in points(asked.cores, asked.most):
            if not asked.series or point.series in asked.series:
                row = measure(point, asked.rounds, root)
                rows.writerow(row)
                out.flush()
                tell(
                    f"{row.series:18}{row.patients:9}{row.share:7.3f}{row.files:6}{row.cores:3} "
                    f"{row.compression:6}{row.bytes / 1e6:9.1f} MB {row.cpu:8.2f} s CPU "
                    f"{row.wall:8.2f} s {row.peak / 1e6:7.0f} MB peak"
                )
    (asked.out / "machine.txt").write_text(machine(asked.cores) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
