"""``make bench``: the byte sieve and the mappers against ``wc -l``, msgspec on everything, and DuckDB.

All in one run on one generated file, CPU seconds (user and system, children included) of the best of some
rounds, so the ratios hold on any machine even where the absolute numbers do not.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from adapter import mappers
from adapter.config import product_folder
from adapter.mappers.terminology import Terminology
from adapter.model.candidates import CandidateQuery
from adapter.source.landing import Landing, Tally, land_folder
from benchmarks import data, peers

QUERY = CandidateQuery(
    codes=frozenset({data.DIAGNOSIS, "722168002", "N04.2", "N02.2", "N05.2", "73737-1", "82991-1"}),
    texts=frozenset({"膜性肾病", "membranous", "PLA2R", "磷脂酶A2受体"}),
    studies=frozenset({"NCT03864250"}),
)


def cpu() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in spent)


def best(work: Callable[[], int], rounds: int) -> tuple[float, int]:
    """Least CPU seconds over some rounds, and what the work returned."""
    seconds, result = float("inf"), 0
    for _ in range(rounds):
        started = cpu()
        result = work()
        seconds = min(seconds, cpu() - started)
    return seconds, result


def sieved(landing: Landing, folder: data.Folder) -> int:
    tally = Tally()
    kept = sum(
        1 for _ in landing.resources(frozenset({"Observation"}), candidates=folder.candidates, tally=tally)
    )
    assert (tally.read, tally.given) == (folder.lines, kept)
    return kept


def sieved_and_mapped(landing: Landing, folder: data.Folder, terminology: Terminology) -> int:
    resources = landing.resources(frozenset({"Observation"}), candidates=folder.candidates)
    facts = mappers.map_resources(resources, terminology=terminology, zone=ZoneInfo("Asia/Shanghai"))
    return sum(1 for finding in facts.findings if not finding.derived_from)


def nominated(landing: Landing, folder: data.Folder) -> int:
    assert landing.candidates(QUERY).ids == folder.candidates
    return folder.lines_of_candidates


def main() -> int:
    """Generate, measure, print; fails if any contestant finds other rows than were planted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--megabytes", type=int, default=200, help="size of Observation.ndjson (default: 200)"
    )
    parser.add_argument("--candidates", type=float, default=0.002, help="share of patients (default: 0.002)")
    parser.add_argument("--seed", type=int, default=20190603)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        root = Path(temporary)
        (root / "export").mkdir()
        folder = data.write(root / "export", options.megabytes, options.candidates, options.seed)
        print(
            f"{folder.bytes / 1e6:.0f} MB, {folder.lines} Observations, {folder.lines_of_candidates} of them "
            f"of {len(folder.candidates)} candidates; Python {sys.version.split()[0]}, one core, CPU seconds"
        )
        return compare(folder, root, options.rounds)


def compare(folder: data.Folder, root: Path, rounds: int) -> int:
    """Measure every contestant and print one line for each."""
    terminology = Terminology.load(product_folder("mappings"))
    path, now = folder.observations, datetime(2026, 1, 1, tzinfo=UTC)
    landing = land_folder(folder.path, root / "landing", now=now, copy=False)
    contestants: list[tuple[str, Callable[[], int]]] = [
        ("wc -l (the floor)", lambda: peers.wc(path) and folder.lines_of_candidates),
        ("land: hash, count, types", lambda: land(folder, root, now)),
        ("find candidates", lambda: nominated(landing, folder)),
        ("sieve", lambda: sieved(landing, folder)),
        ("sieve + map", lambda: sieved_and_mapped(landing, folder, terminology)),
        ("msgspec, everything", lambda: peers.msgspec_everything(path, folder.candidates)),
    ]
    if importlib.util.find_spec("duckdb"):
        contestants.append(("DuckDB, typed structs", lambda: peers.duckdb_typed(path, folder.candidates)))
    else:
        print("DuckDB left out: pip install 'trial-fhir-adapter[bench]'")
    floor = 0.0
    wrong = 0
    print(f"{'':26}{'seconds':>9}{'MB/s':>8}{'x wc -l':>9}  rows")
    for name, work in contestants:
        seconds, rows = best(work, rounds)
        floor = floor or seconds
        agrees = rows == folder.lines_of_candidates
        wrong += not agrees
        print(
            f"{name:26}{seconds:9.3f}{folder.bytes / 1e6 / seconds:8.0f}{seconds / floor:9.1f}  "
            f"{rows}{'' if agrees else '  <- expected ' + str(folder.lines_of_candidates)}"
        )
    return 1 if wrong else 0


def land(folder: data.Folder, root: Path, now: datetime) -> int:
    landed = land_folder(folder.path, root / "again", now=now, copy=False)
    assert any(file.lines == folder.lines for file in landed.manifest.files)
    return folder.lines_of_candidates


if __name__ == "__main__":
    sys.exit(main())
