"""The snippets of docs/sponsor-pull.md, run as they stand there, on demo datasets from a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as parquet
import pytest

from adapter import pipeline
from adapter.client import SponsorClient
from adapter.demo import hospital
from adapter.exports.difference import difference
from adapter.exports.snapshots import named
from adapter.model import wire
from adapter.trial import Workspace
from tests.servers import r
from tests.shelves import Served, serving

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "sponsor-pull.md"
KEY = b"0123456789abcdef0123456789abcdef"
NOW = datetime(2019, 12, 2, 8, tzinfo=UTC)


class Site(NamedTuple):
    """A served workspace with two snapshots, and a file with a token."""

    served: Served
    token_file: Path
    first: str
    latest: str


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    made = hospital.generate(folder / "bulk", patients=100)
    workspace = Workspace(folder / "workspace")
    trial = pipeline.open_trial()
    pipeline.land(made.folder, workspace, now=NOW)
    kept = []
    for day in (date(2019, 9, 2), date(2019, 12, 2)):
        pipeline.screen(trial, workspace, as_of=day)
        kept.append(pipeline.export(trial, workspace, key=KEY).sdtm.snapshot)
    with serving(workspace.root) as served:
        (folder / "token").write_text(f"{served.token}\n")
        yield Site(served, folder / "token", *kept)


def test_the_docs_have_the_snippets_that_are_run_here() -> None:
    assert [len(snippets(one)) for one in ("python", "r", "sas")] == [2, 2, 1]


@pytest.mark.parametrize("number", [0, 1])
def test_python(site: Site, tmp_path: Path, number: int) -> None:
    told = f"URL = {site.served.url!r}\nTOKEN_FILE = {str(site.token_file)!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", told + snippets("python")[number]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept = site.served.snapshots / site.latest
    if number == 0:
        rows = parquet.read_metadata(kept / "parquet" / "lb.parquet").num_rows
        assert done.stdout.splitlines()[-1] == f"{site.latest} {rows} 0"
        assert (tmp_path / "data/demo/define.xml").read_bytes() == (kept / "define.xml").read_bytes()
    else:
        assert (tmp_path / "lb.xpt").read_bytes() == (kept / "xpt" / "lb.xpt").read_bytes()
    assert SponsorClient(site.served.url, token_file=site.token_file).last_pull() == site.latest


@pytest.mark.parametrize("number", [0, 1])
def test_r(site: Site, tmp_path: Path, number: int) -> None:
    r.needed()
    program = snippets("r")[number]
    told = f"URL <- {json.dumps(site.served.url)}; TOKEN_FILE <- {json.dumps(str(site.token_file))}\n"
    said = r.run(told + program, tmp_path)
    kept = site.served.snapshots / site.latest
    name = ("lb", "dm")[number]
    assert (tmp_path / f"{name}.xpt").read_bytes() == (kept / "xpt" / f"{name}.xpt").read_bytes()
    table = parquet.read_table(kept / "parquet" / f"{name}.parquet")
    rows, columns = table.num_rows, table.num_columns
    expected = f"{rows} rows, {columns} variables" if number == 0 else f"{rows} subjects"
    assert expected in said


def test_the_difference_is_the_one_that_the_site_sees_without_its_sources(site: Site) -> None:
    client = SponsorClient(site.served.url, token_file=site.token_file)
    told = client.difference(since=site.first)
    one, other = (named(site.served.snapshots, name) for name in (site.first, site.latest))
    assert told == json.loads(wire.encode(difference(one, other, ((), ()))))
    assert len(told["records"]) > 10
    assert all(record.get("causes", []) == [] for record in told["records"])


READ = """
library(haven)
for (file in jsonlite::fromJSON("files.json")) {
  table <- read_xpt(file)
  cat("FILE", file, sep = "\\t")
  cat("\\n")
  for (name in names(table)) {
    cell <- table[[name]]
    # haven makes R's dates of SAS's, which count days from 1960-01-01
    if (inherits(cell, "Date")) cell <- as.numeric(cell - as.Date("1960-01-01"))
    attributes(cell) <- NULL
    text <- if (is.numeric(cell)) ifelse(is.na(cell), "", sprintf("%.17g", cell)) else cell
    cat(name, jsonlite::toJSON(text, na = "string"), sep = "\\t")
    cat("\\n")
  }
}
"""


def test_haven_reads_the_rows_that_parquet_has(site: Site, tmp_path: Path) -> None:
    """Every dataset of SDTM and ADaM, every row and cell, as R's haven reads XPT and pyarrow Parquet."""
    r.needed()
    kept = site.served.snapshots / site.latest
    names = sorted(str(path.relative_to(kept)) for path in kept.rglob("*.xpt"))
    assert len(names) >= 24
    (tmp_path / "files.json").write_text(json.dumps([str(kept / name) for name in names]))
    read: dict[str, dict[str, list[str]]] = {}
    for line in r.run(READ, tmp_path).splitlines():
        name, _, rest = line.partition("\t")
        if name == "FILE":
            current = read.setdefault(str(Path(rest).relative_to(kept)), {})
        else:
            current[name] = json.loads(rest)
    assert list(read) == names
    cells = 0
    for name in names:
        path = kept / name.replace("xpt/", "parquet/").replace(".xpt", ".parquet")
        table = parquet.read_table(path)
        assert list(read[name]) == table.column_names, name
        for column in table.column_names:
            here = [plain(cell) for cell in table[column].to_pylist()]
            both = zip(read[name][column], here, strict=True)
            there = [float(cell) if isinstance(one, float) else cell for cell, one in both]
            assert there == here, (name, column)
            cells += len(here)
    assert cells > 10_000


def plain(cell: Any) -> Any:
    """As a transport file can say it: text without spaces at its end, the nearest double, "" for nothing."""
    if cell is None:
        return ""
    return cell.rstrip(" ") if isinstance(cell, str) else float(cell)
