"""The contests behind ``make bench``: who takes part in which figure, on which data."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter import mappers, pipeline
from adapter.source.ndjson import read_folder
from benchmarks import data, peers
from benchmarks.data import Population, Recipe
from benchmarks.measuring import measured
from benchmarks.screening import screened

GOALS = {
    "screen_vs_scan": 0.25,
    "screen_vs_duckdb": 3.0,
    "screen_vs_spark": 25.0,
    "screen_vs_pandas": 100.0,
    "screen_gzip_vs_gunzip": 1.0,
    "map_vs_msgspec": 0.5,
}
_SLICE, _SLICE_FHIRY = 200, 20
"""People whom the pandas-based flatteners are given: about 10 MB, and 1 MB for fhiry."""
_MAPPED = 1000


class Speed(NamedTuple):
    """Bytes a second by CPU and by wall time."""

    cpu: float
    wall: float

    def over(self, other: Speed, by: str) -> float:
        return float(getattr(self, by) / getattr(other, by))


class Contest(msgspec.Struct):
    """One run; ``wrong`` names contestants that found other rows than were planted."""

    recipe: Recipe
    cores: int
    rounds: int
    by: str
    cache: Path | None = None
    wrong: list[str] = []

    def figures(self, wanted: frozenset[str]) -> Iterator[tuple[str, float]]:
        """Name and ratio of each figure that this machine can give."""
        tell(f"{'':26}{'MB':>9}{'CPU s':>9}{'wall s':>9}{'MB/s CPU':>11}{'MB/s wall':>11}")
        if any(name.startswith("screen_vs") for name in wanted):
            yield from self._screen(wanted)
        if "screen_gzip_vs_gunzip" in wanted:
            packed = self._population(msgspec.structs.replace(self.recipe, compression="gzip"))
            gunzip = self._race("gzip -dc", packed, lambda: peers.gunzip(packed, self.cores), self.rounds)
            yield "screen_gzip_vs_gunzip", self._ours("screen, gzip", packed).over(gunzip, self.by)
        if "map_vs_msgspec" in wanted:
            yield "map_vs_msgspec", self._map()

    def _screen(self, wanted: frozenset[str]) -> Iterator[tuple[str, float]]:
        whole = self._population(self.recipe)
        peers.wc(whole, self.cores)  # so that all of it is in the page cache
        ours = self._ours("screen", whole)
        if "screen_vs_scan" in wanted:
            scan = self._race("wc -l", whole, lambda: peers.wc(whole, self.cores), 2 * self.rounds)
            yield "screen_vs_scan", ours.over(scan, self.by)
        if "screen_vs_duckdb" in wanted and has("duckdb"):
            duckdb = self._race("DuckDB", whole, lambda: peers.duckdb_typed(whole, self.cores), self.rounds)
            yield "screen_vs_duckdb", ours.over(duckdb, self.by)
        if "screen_vs_pandas" in wanted and has("fhir_pyrate") and has("fhiry"):
            some, few = self._slice(_SLICE), self._slice(_SLICE_FHIRY)
            pyrate = self._race("fhir-pyrate", some, lambda: peers.fhir_pyrate_flattened(some, self.cores))
            fhiry = self._race("fhiry", few, lambda: peers.fhiry_flattened(few))
            yield "screen_vs_pandas", min(ours.over(other, self.by) for other in (pyrate, fhiry))
        if "screen_vs_spark" in wanted and has("pyspark") and has_java():
            with peers.spark_session(self.cores) as session:
                peers.spark_typed(session, self._slice(_SLICE))  # classes loaded, code compiled
                spark = self._race("Spark", whole, lambda: peers.spark_typed(session, whole), 2)
            yield "screen_vs_spark", ours.over(spark, self.by)

    def _map(self) -> float:
        """One core each; the same lines in memory, decoded by msgspec, and decoded and mapped by us."""
        sick = self._population(Recipe(patients=_MAPPED, share=1, seed=self.recipe.seed))
        trial = pipeline.open_trial()
        resources = [
            one for one in read_folder(sick.folder) if one.resource_type in dict(peers.present(sick))
        ]

        def mapped() -> dict[str, int]:
            facts = mappers.map_resources(resources, terminology=trial.terminology, zone=trial.site.zone)
            return {account.resource_type: account.read for account in facts.accounts}

        decoded = self._race("msgspec", sick, lambda: peers.msgspec_typed(sick), self.rounds)
        return self._race("map", sick, mapped, self.rounds).over(decoded, self.by)

    def _slice(self, patients: int) -> Population:
        """Few people, one in twenty of them a candidate, in as many files as there are cores."""
        return self._population(
            Recipe(patients=patients, share=0.05, parts=self.cores, seed=self.recipe.seed)
        )

    def _population(self, recipe: Recipe) -> Population:
        return data.population(recipe, self.cache)

    def _ours(self, name: str, population: Population) -> Speed:
        """Ours runs in a process of its own and checks every verdict there."""
        found = screened(population, cores=self.cores, rounds=self.rounds)
        self._tell(f"({name}: landing)", population, found.landing_cpu, found.landing_wall)
        return self._tell(name, population, found.cpu, found.wall)

    def _race(
        self, name: str, population: Population, work: Callable[[], int | dict[str, int]], rounds: int = 1
    ) -> Speed:
        best = measured(work, rounds)
        found = best.result
        if isinstance(found, dict):
            right = {kind: count for kind, count in found.items() if count} == population.wanted
        else:
            right = found == population.lines
        if not right:
            self.wrong.append(name)
        return self._tell(name, population, best.cpu, best.wall)

    def _tell(self, name: str, population: Population, cpu: float, wall: float) -> Speed:
        size = population.bytes / 1e6
        tell(f"{name:26}{size:9.1f}{cpu:9.3f}{wall:9.3f}{size / cpu:11.2f}{size / wall:11.2f}")
        return Speed(population.bytes / cpu, population.bytes / wall)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def has(module: str) -> bool:
    """Whether a peer is installed; says so if not."""
    if importlib.util.find_spec(module):
        return True
    tell(f"{module} left out: pip install 'trial-fhir-adapter[bench]'")
    return False


def has_java() -> bool:
    if shutil.which("java"):
        return True
    tell("Spark left out: it needs Java 17")
    return False


def machine(cores: int) -> str:
    """Processor, memory, versions and how busy it is: what the absolute numbers depend on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in PEERS)
    scan = subprocess.run(["wc", "--version"], capture_output=True, text=True, check=False)
    return (
        f"{model}, {cores} of {os.cpu_count()} cores, {memory:.0f} GB, load {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, {versions}, {scan.stdout.partition(chr(10))[0]}"
    )


PEERS = ("msgspec", "duckdb", "pyspark", "fhir-pyrate", "fhiry", "pandas")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
