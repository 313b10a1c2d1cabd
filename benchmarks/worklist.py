"""How long pages of the worklist take with ten thousand candidates: the first after a run, and the others.

``python -m benchmarks.worklist WORKSPACE [--people 10000]`` copies the rows of a screened workspace (``make
demo`` leaves one) under new ids into a temporary one, so that each person has as much evidence as a real one.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from adapter import pipeline
from adapter.access import Grant, Principal
from adapter.pipeline import Workspace
from adapter.store.database import open_database
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app
from adapter.web.worklist.counter import Counter

TABLES = ("decisions.ndjson", "facts/subjects.ndjson", "facts/findings.ndjson", "facts/events.ndjson")
TABLES += ("facts/interventions.ndjson",)


def grown(source: Workspace, target: Path, people: int) -> Workspace:
    """A workspace with as many candidates, its rows copied person by person."""
    made = Workspace(target, embedded=True)
    shutil.copytree(source.screening, made.screening)
    ids = [
        line.split(b'"', 4)[3]
        for line in (source.screening / "facts/subjects.ndjson").read_bytes().splitlines()
    ]
    copies = -(-people // len(ids))
    for table in TABLES:
        lines = (source.screening / table).read_bytes().splitlines(keepends=True)
        with (made.screening / table).open("wb") as out:
            for copy in range(copies):
                end = f'-{copy}"'.encode()
                for line in lines:
                    head, quote, rest = line.partition(b'":"')
                    subject, _, tail = rest.partition(b'"')
                    out.write(head + quote + subject + end + tail)
    return made


async def measure(workspace: Workspace) -> None:
    trial = pipeline.open_trial()
    engine = open_database(workspace.database)
    counter = Counter(trial, workspace, engine, lambda: datetime.now(UTC))
    grants = (Grant("investigator", trial.protocol.id, trial.site.site_id),)
    premises = Premises(trial.protocol.id, trial.site.site_id, Inside(Principal("bench", grants)))
    app = create_app(engine, site=trial.site, premises=premises, people=counter)
    began = time.perf_counter()
    board = counter.board()
    print(f"{len(board.rows)} people read in {time.perf_counter() - began:.1f} s")
    one = next(row for row in board.rows if row.state == "undetermined")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as client:
        for path in (
            "/worklist",
            "/worklist?state=undetermined&sort=missing",
            "/worklist?cause=attest&sort=age&down=1",
            f"/worklist?sort=id&after={board.rows[len(board.rows) // 2].key}",
            f"/worklist/patients/{one.key}",
            "/study",
        ):
            took = []
            for _ in range(10):
                began = time.perf_counter()
                answer = await client.get(path, headers={"Accept": "text/html"})
                took.append(time.perf_counter() - began)
                assert answer.status_code == 200, answer.text[:200]
            shown = path.replace(one.key, "KEY")
            print(f"{shown:<60} median {sorted(took)[5] * 1000:6.0f} ms, slowest {max(took) * 1000:6.0f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--people", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = grown(Workspace(asked.workspace, embedded=True), Path(folder) / "workspace", asked.people)
        asyncio.run(measure(made))


if __name__ == "__main__":
    main()
