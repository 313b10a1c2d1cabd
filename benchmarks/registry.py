"""``python -m benchmarks.registry``: from the measured curves to a national registry of 10^9 resources.

Writes ``docs/national-registry.md``: the model (a cost by the gigabyte and one by the candidate), fitted to
``curves.csv``, and what follows from it. Prices and sizes that were not measured are the constants below,
and the page says of each that it is an assumption.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import msgspec

from benchmarks.curves import FOLDER, Row, read
from benchmarks.data import Recipe, population

PAGE = FOLDER.parent / "national-registry.md"
RESOURCES = 10**9
GB = 1e9


class Assumed(msgspec.Struct, frozen=True):
    """What was not measured. Prices are public on-demand list prices, rounded; nobody quoted them to us."""

    dollars_per_core_hour: float = 0.05
    dollars_per_gb_month: float = 0.023
    dollars_per_1000_reads: float = 0.0004
    read_mb: int = 8
    gzip_ratio: float = 10.0
    network_gb_per_second: float = 1.25
    disk_gb_per_second: float = 2.0
    exported_per_second: int = 10_000
    index_bytes: int = 24
    changed_per_day: float = 0.001
    share: float = 0.00002
    nodes: int = 2
    cores_per_node: int = 16


class Fitted(NamedTuple):
    """Seconds of CPU by the gigabyte of plain NDJSON and by the candidate; bytes of memory."""

    per_gb: float
    per_candidate: float
    landing_per_gb: float
    gzip_per_gb: float
    zstd_per_gb: float
    peak: int
    peak_all: int
    line: float


def fitted(rows: Sequence[Row]) -> Fitted:
    """Least squares of CPU on gigabytes and candidates, weighted so that each point counts by proportion."""
    of = {name: [row for row in rows if row.series == name] for name in {row.series for row in rows}}
    both = (*of["share"], *of["files"], *of["cores"])
    points = [(row.bytes / GB / row.cpu, row.candidates / row.cpu) for row in both]
    aa, ab, bb = (sum(p[i] * p[j] for p in points) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (sum(p[i] for p in points) for i in (0, 1))
    determinant = aa * bb - ab * ab
    by_kind = {row.compression: row for row in of["compression"]}
    plain, gzip, zstd = (by_kind[kind] for kind in ("plain", "gzip", "zstd"))
    largest = max(of["patients"], key=lambda row: row.bytes)
    everyone = max(of["share"], key=lambda row: row.candidates)
    return Fitted(
        per_gb=(a * bb - b * ab) / determinant,
        per_candidate=(b * aa - a * ab) / determinant,
        landing_per_gb=plain.landing_cpu / plain.bytes * GB,
        gzip_per_gb=(gzip.cpu + gzip.landing_cpu - plain.cpu - plain.landing_cpu) / plain.bytes * GB,
        zstd_per_gb=(zstd.cpu + zstd.landing_cpu - plain.cpu - plain.landing_cpu) / plain.bytes * GB,
        peak=largest.peak,
        peak_all=everyone.peak,
        line=plain.bytes / plain.lines,
    )


def parts_of_the_bytes() -> dict[str, float]:
    """The share of each resource type in a population's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        made = population(Recipe(patients=2000, parts=1), Path(folder))
        sizes = {path.name.split(".")[0]: path.stat().st_size for path in made.paths()}
    return {kind: size / sum(sizes.values()) for kind, size in sizes.items()}


def page(rows: Sequence[Row], machine: str, assumed: Assumed) -> str:
    """The page with every number worked out."""
    fit, of_type = fitted(rows), parts_of_the_bytes()
    size = RESOURCES * fit.line / GB
    people = round(RESOURCES / (max(row.lines / row.patients for row in rows if row.series == "files")))
    candidates = people * assumed.share
    sick = people * 0.002
    scan_hours = size * fit.per_gb / 3600
    landing_hours = size * fit.landing_per_gb / 3600
    gzip_hours = size * fit.gzip_per_gb / 3600
    judge_hours, judge_hours_sick = (count * fit.per_candidate / 3600 for count in (candidates, sick))
    total = scan_hours + landing_hours + gzip_hours + judge_hours
    cores = assumed.nodes * assumed.cores_per_node
    each = fit.per_gb + fit.landing_per_gb + fit.gzip_per_gb
    core_rate = GB / each / 1e6
    stored = size / assumed.gzip_ratio
    nominating = sum(of_type.get(kind, 0) for kind in ("Condition", "ResearchSubject"))
    narrowed = nominating + assumed.share
    index = RESOURCES * assumed.index_bytes / GB
    reads = stored * 1000 / assumed.read_mb
    link_cores = assumed.network_gb_per_second * 1000 * assumed.gzip_ratio / core_rate
    plain_link_cores = assumed.network_gb_per_second * 1000 / (GB / (fit.per_gb + fit.landing_per_gb) / 1e6)

    def dollars(hours: float) -> str:
        return _money(hours * assumed.dollars_per_core_hour)

    words: dict[str, object] = {
        "machine": machine.strip(),
        "size": f"{size:,.0f}",
        "line": f"{fit.line:.0f}",
        "people": f"{people / 1e6:.0f}",
        "share": f"{assumed.share:.3%}",
        "candidates": f"{candidates:,.0f}",
        "sick": f"{sick:,.0f}",
        "per_gb": f"{fit.per_gb:.2f}",
        "per_candidate": f"{fit.per_candidate * 1000:.1f}",
        "landing_per_gb": f"{fit.landing_per_gb:.2f}",
        "gzip_per_gb": f"{fit.gzip_per_gb:.2f}",
        "zstd_per_gb": f"{fit.zstd_per_gb:.2f}",
        "scan_hours": f"{scan_hours:.2f}",
        "landing_hours": f"{landing_hours:.2f}",
        "gzip_hours": f"{gzip_hours:.2f}",
        "judge_hours": f"{judge_hours:.3f}",
        "judge_hours_sick": f"{judge_hours_sick:.2f}",
        "total": f"{total:.1f}",
        "dollars": dollars(total),
        "dollars_month": _money(stored * assumed.dollars_per_gb_month),
        "dollars_reads": _money(reads / 1000 * assumed.dollars_per_1000_reads),
        "reads": f"{reads:,.0f}",
        "read_mb": assumed.read_mb,
        "core_price": assumed.dollars_per_core_hour,
        "gb_price": assumed.dollars_per_gb_month,
        "read_price": assumed.dollars_per_1000_reads,
        "ratio": f"{assumed.gzip_ratio:g}",
        "stored": f"{stored:,.0f}",
        "cores": cores,
        "nodes": assumed.nodes,
        "per_node": assumed.cores_per_node,
        "minutes": f"{total / cores * 60:.1f}",
        "core_rate": f"{core_rate:,.0f}",
        "network": assumed.network_gb_per_second,
        "disk": assumed.disk_gb_per_second,
        "link_cores": f"{link_cores:,.0f}",
        "plain_link_cores": f"{plain_link_cores:,.1f}",
        "disk_minutes": f"{size / assumed.disk_gb_per_second / 60:.0f}",
        "one_in": f"{fit.per_candidate / (size / people * each):,.0f}",
        "export_rate": f"{assumed.exported_per_second:,}",
        "export_hours": f"{RESOURCES / assumed.exported_per_second / 3600:,.0f}",
        "kept": f"{candidates * 41 * fit.line / GB:.2f}",
        "kept_sick": f"{sick * 41 * fit.line / GB:.1f}",
        "peak": f"{fit.peak / 1e6:.0f}",
        "peak_all": f"{fit.peak_all / 1e6:.0f}",
        "ids": f"{candidates * 40 / 1e3:,.0f}",
        "ids_sick": f"{sick * 40 / 1e6:.1f}",
        "nominating": f"{nominating:.1%}",
        "narrowed_gb": f"{size * narrowed:,.1f}",
        "narrowed_hours": f"{narrowed * (scan_hours + landing_hours + gzip_hours) + judge_hours:.2f}",
        "narrowed_dollars": dollars(narrowed * (scan_hours + landing_hours + gzip_hours) + judge_hours),
        "times": f"{1 / narrowed:,.0f}",
        "index": f"{index:,.0f}",
        "index_bytes": assumed.index_bytes,
        "index_times": f"{size / index:,.0f}",
        "changed": f"{assumed.changed_per_day:.1%}",
        "delta_gb": f"{size * assumed.changed_per_day:.1f}",
        "delta_minutes": f"{(total * assumed.changed_per_day) * 60:.1f}",
        "every_day": dollars(total * 365),
        "delta_year": dollars(total * assumed.changed_per_day * 365),
    }
    text = (Path(__file__).parent / "national-registry.template.md").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _money(dollars: float) -> str:
    """Dollars and cents; what is less than a cent to one figure."""
    return f"{dollars:,.2f}" if dollars >= 0.01 else f"{dollars:.1g}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=PAGE)
    asked = parser.parse_args()
    machine = (asked.folder / "machine.txt").read_text(encoding="utf-8")
    asked.out.write_text(page(read(asked.folder / "curves.csv"), machine, Assumed()), encoding="utf-8")


if __name__ == "__main__":
    main()
