"""The five files of a dataset of laboratory rows: how long each takes, and how much memory.

``python -m benchmarks.formats --rows 1000000``. Times are CPU seconds as ratios to what others need for the
same rows: pyreadstat's ``write_xport`` of a pandas frame that is there already, and pyarrow's Parquet and CSV
writers of an Arrow table that is there already. Ours read the rows from where an export keeps them and check
them first. Each runs in a process of its own, whose peak (VmHWM) is shown beside that of one that only
imports: what others hold beforehand is not counted against our time, nor ours against theirs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from adapter.config import product_folder
from adapter.exports import csv_file, dataset_json, odm, parquet, xpt
from adapter.exports.dataset import Cell, Column, Dataset, Row
from adapter.exports.dataset_json import Provenance
from adapter.exports.define import Study
from adapter.exports.runs import HELD, SortedRows
from adapter.exports.spec import load_specs

WHO = Provenance("NCT.S", "MDV", "Site", "trial-fhir-adapter", "0", datetime(2020, 7, 1, tzinfo=UTC))
PER_SUBJECT = 1000
TESTS = (
    ("ALB", "Albumin", "CHEMISTRY", "g/L", "SERUM", 35, 52),
    ("CREAT", "Creatinine", "CHEMISTRY", "umol/L", "SERUM", 57, 111),
    ("PROTEXR", "Protein Excretion Rate", "URINALYSIS", "g/day", "URINE", 0, 1),
    ("GLUC", "Glucose", "CHEMISTRY", "mmol/L", "SERUM", 4, 6),
)
OURS: dict[str, Callable[[Dataset, Path], None]] = {
    "XPT": lambda dataset, path: xpt.write_xpt(dataset, path, created=WHO.created),
    "Dataset-JSON": lambda dataset, path: dataset_json.write_dataset_json(dataset, path, WHO),
    "NDJSON": lambda dataset, path: dataset_json.write_dataset_ndjson(dataset, path, WHO),
    "CSV": csv_file.write_csv,
    "Parquet": parquet.write_parquet,
}
ODM: dict[str, Callable[[Dataset, Path], None]] = {
    "ODM": lambda dataset, path: odm.write_odm(path, Study("NCT", "Title", "Site", WHO.created), [dataset])
}
"""Measured for its memory only: XML of a million rows is several gigabytes."""
THEIRS = ("pyreadstat XPT", "pyarrow Parquet", "pyarrow CSV")
PEERS = {"XPT": THEIRS[0], "Parquet": THEIRS[1], "CSV": THEIRS[2]}


def laboratory(count: int) -> Iterator[dict[str, Cell]]:
    """Rows of LB as they come out of a hospital of many subjects; the same for the same count."""
    for number in range(count):
        subject, own = divmod(number, PER_SUBJECT)
        code, name, category, unit, specimen, low, high = TESTS[own % len(TESTS)]
        value = Decimal(number * 7919 % 997) / 10 + 1
        yield {
            "STUDYID": "NCT03864250", "DOMAIN": "LB", "USUBJID": f"NCT03864250-DEMO-001-{subject:05}",
            "LBSEQ": own + 1, "LBREFID": f"{number * 2654435761 % 2**64:016x}", "LBTESTCD": code,
            "LBTEST": name, "LBCAT": category, "LBORRES": str(value), "LBORRESU": unit,
            "LBORNRLO": str(low), "LBORNRHI": str(high), "LBSTRESC": str(value), "LBSTRESN": value,
            "LBSTRESU": unit, "LBSTNRLO": Fraction(low), "LBSTNRHI": Fraction(high), "LBNRIND": "NORMAL",
            "LBNAM": "CENTRAL", "LBLOINC": "1751-7", "LBSPEC": specimen, "VISITNUM": own // 150,
            "VISIT": f"WEEK {own // 150}", "VISITDY": 1 + own // 150, "EPOCH": "TREATMENT",
            "LBDTC": f"20{20 + own // 500}-{own % 12 + 1:02}-{own % 28 + 1:02}T08:{own % 60:02}",
            "LBDY": own + 1,
        }  # fmt: skip


def columns() -> tuple[Column, ...]:
    specs = load_specs(product_folder("mappings") / "sdtm")
    return next(one.columns for one in specs.datasets if one.name == "LB")


def dataset(count: int, held: int = HELD) -> Dataset:
    """The rows as an export keeps them: up to ``held`` in memory, else on disk."""
    wanted = columns()
    kept = SortedRows(wanted, held)
    batch: list[Row] = []
    for row in laboratory(count):
        batch.append(tuple(row.get(column.name) for column in wanted))
        if len(batch) == PER_SUBJECT:
            kept.add(batch)
            batch = []
    kept.add(batch)
    return Dataset("LB", "Laboratory Test Results", wanted, kept.finished())


def peak() -> int:
    """The most memory this process ever had, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def measure(name: str, count: int, held: int, folder: Path) -> dict[str, Any]:
    """One writer, in this process: CPU seconds of the writing alone, peak of everything."""
    target = folder / "lb.out"
    if name == "imports":
        return {"seconds": 0.0, "peak": peak(), "bytes": 0}
    write: Callable[[], object]
    if ours := (OURS | ODM).get(name):
        rows = dataset(count, held)

        def write() -> object:
            return ours(rows, target)
    else:
        write = _peer(name, count, target)
    started = time.process_time()
    write()
    return {"seconds": time.process_time() - started, "peak": peak(), "bytes": target.stat().st_size}


def _peer(name: str, count: int, target: Path) -> Callable[[], object]:
    import pandas

    wanted = columns()
    cells: dict[str, list[object]] = {column.name: [] for column in wanted}
    for row in laboratory(count):
        for column in wanted:
            cell = row.get(column.name)
            number = float(cell) if isinstance(cell, int | Fraction | Decimal) else None
            cells[column.name].append(number if column.is_numeric else cell or "")
    if name == "pyreadstat XPT":
        import pyreadstat

        frame = pandas.DataFrame(
            {
                column.name: pandas.Series(
                    cells[column.name], dtype="float64" if column.is_numeric else "object"
                )
                for column in wanted
            }
        )
        return lambda: pyreadstat.write_xport(frame, str(target), table_name="LB", file_format_version=5)
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table(
        {
            column.name: pa.array(cells[column.name], pa.float64() if column.is_numeric else pa.string())
            for column in wanted
        }
    )
    if name == "pyarrow CSV":
        return lambda: csv.write_csv(table, str(target))
    return lambda: parquet.write_table(table, str(target), compression="zstd")


def apart(name: str, count: int, held: int = HELD) -> dict[str, Any]:
    """:func:`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.formats", "--rows", str(count), "--held", str(held)]
    done = subprocess.run([*command, "--one", name], capture_output=True, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(count: int) -> None:
    """One line for each writer; the ratio is to the peer that writes the same kind of file."""
    base = apart("imports", 0)["peak"]
    peers = {name: apart(name, count) for name in THEIRS}
    arrow = peers["pyarrow Parquet"]["seconds"]
    print(f"{count} rows of LB, {len(columns())} variables; CPU seconds, peak above the {base / 1e6:.0f} MB")
    print("of a process that only imports, size of the file")
    print(f"{'':18}{'seconds':>9}{'x peer':>8}{'x Arrow':>9}{'peak MB':>9}{'MB':>7}")
    found = {name: apart(name, count) for name in OURS} | peers
    for name, told in found.items():
        peer = peers[PEERS[name]]["seconds"] if name in PEERS else None
        ratio = f"{told['seconds'] / peer:8.2f}" if peer else " " * 8
        print(
            f"{name:18}{told['seconds']:9.2f}{ratio}{told['seconds'] / arrow:9.1f}"
            f"{(told['peak'] - base) / 1e6:9.0f}{told['bytes'] / 1e6:7.0f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--held", type=int, default=HELD, help="rows that an export keeps in memory")
    parser.add_argument("--one", choices=["imports", *OURS, *ODM, *THEIRS], help="measure one, print JSON")
    options = parser.parse_args(arguments)
    if not options.one:
        compare(options.rows)
        return 0
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as folder:
        print(json.dumps(measure(options.one, options.rows, options.held, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
