"""``python -m benchmarks.event``: from a changed result at the hospital to the decision on the worklist.

A real FHIR server in a process of its own holds candidates and people on the study of the demo hospital;
``adapter serve`` and ``adapter follow`` run as a hospital runs them. An Observation is changed by PUT, the
hospital tells of it (HAPI by itself; for ``sekmet-fhir``, which has no subscriptions, we do, by a backport
notification as soon as the PUT is answered), and the clock stops when the board that the worklist's pages are
made of shows that version as evidence. CPU seconds of both processes beside it, and what one read of the same
resource takes at the same server in the same minute.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from adapter import monitoring, pipeline
from adapter.config import product_folder
from adapter.demo import hospital
from adapter.trial import Trial, Workspace
from adapter.worklist.board import Boards
from benchmarks.hooks import cpu, records, studies
from tests.servers import hapi, sekmet

SECRET = "Bearer the-secret-of-this-channel"  # noqa: S105 - of a channel that lives for a minute
TYPE = {"Content-Type": "application/fhir+json"}
ADAPTER = (sys.executable, "-c", "from adapter.cli import main; main()")
Json = dict[str, Any]


class Taken(NamedTuple):
    """Seconds: until the hospital answered the PUT, until the board showed it, and one plain read."""

    put: float
    shown: float
    read: float


def chosen(folder: Path, number: int, seed: int) -> list[Json]:
    """Whole records of so many people whom the demo hospital made to be candidates or on the study."""
    everybody = records(folder)
    sick = [name for name, own in everybody.items() if any(_marks(one) for one in own)]
    people = random.Random(seed).sample(sorted(sick), min(number, len(sick)))  # noqa: S311 - no secret
    drugs = [json.loads(line) for line in (folder / "Medication.ndjson").read_bytes().splitlines()]
    found = {(one["resourceType"], one["id"]): one for one in (*studies(folder), *drugs)}
    for name in sorted(people):
        found |= {(one["resourceType"], one["id"]): one for one in everybody[name] if "id" in one}
    return [{key: value for key, value in one.items() if key != "meta"} for one in found.values()]


def _marks(one: Json) -> bool:
    coding = (one.get("code") or {}).get("coding") or [{}] if one["resourceType"] == "Condition" else [{}]
    return coding[0].get("code") in ("77182004", "N04.2", "722168002") or (
        one["resourceType"] == "ResearchSubject"
    )


def fill(http: httpx.Client, resources: Sequence[Json]) -> int:
    """Put everything; what the server does not take is left out. How many it took."""
    order = {"Patient": 0, "Medication": 0, "ResearchStudy": 0, "Encounter": 1, "Specimen": 1}
    taken = 0
    for one in sorted(resources, key=lambda one: order.get(one["resourceType"], 2)):
        answer = http.put(f"/{one['resourceType']}/{one['id']}", json=one)
        taken += answer.status_code in (200, 201)
    return taken


def site(root: Path, base_url: str) -> Path:
    """A copy of the mappings with this hospital as the demo site."""
    mappings = root / "mappings"
    shutil.copytree(product_folder("mappings"), mappings)
    (root / "header").write_text(SECRET)
    settings = mappings / "sites" / "demo" / "site.toml"
    lines = [one for one in settings.read_text().splitlines() if not one.startswith("base_url")]
    channel = ["[subscriptions.lab]", f'header_file = "{root / "header"}"']
    settings.write_text("\n".join([f'base_url = "{base_url}"', *lines, *channel, ""]))
    return mappings


@contextmanager
def running(command: Sequence[str], env: dict[str, str], log: Path) -> Iterator[int]:
    with log.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=out) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Watched:
    """The board of the workspace, as the pages have it."""

    def __init__(self, trial: Trial, workspace: Workspace) -> None:
        self._boards = Boards(trial, workspace, b"benchmark")
        self._seen = ""

    def people(self) -> list[str]:
        return [row.subject for row in self._boards.current().rows]

    def shows(self, subject: str, reference: str, version: str) -> bool:
        former, board = self._seen, self._boards.current(newest=True)
        self._seen = board.version
        if board.version == former:
            return False
        row = board.row(board.key_of(subject))
        assert row is not None
        findings = board.facts(row).findings
        return any(one.source.reference == reference and one.source.version == version for one in findings)

    def results(self) -> list[tuple[str, str]]:
        """(Patient.id, Observation/id) of results that decide."""
        board = self._boards.current()
        return [
            (row.subject, one.source.reference)
            for row in board.rows
            for one in board.facts(row).findings
            if one.concept and not one.excluded and one.source.reference.startswith("Observation/")
        ]


def subscribe(http: httpx.Client, endpoint: str) -> None:
    """A classic R4 subscription, which HAPI serves by itself."""
    body = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to hear of changes",
        "criteria": "Observation?",
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "header": [f"Authorization: {SECRET}"],
        },
    }
    made = http.post("/Subscription", json=body).raise_for_status().json()
    for _ in range(600):
        if http.get(f"/Subscription/{made['id']}").json()["status"] == "active":
            return
        time.sleep(0.1)
    raise SystemExit("the subscription was not activated within a minute")


def tell(http: httpx.Client, endpoint: str, reference: str, number: int) -> None:
    event = {
        "name": "notificationEvent",
        "part": [{"name": "focus", "valueReference": {"reference": reference}}],
    }
    event["part"].append({"name": "eventNumber", "valueString": str(number)})  # type: ignore[attr-defined]
    status = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "type", "valueCode": "event-notification"},
            {"name": "status", "valueCode": "active"},
            {"name": "eventsSinceSubscriptionStart", "valueString": str(number)},
            event,
        ],
    }
    body = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}
    http.post(endpoint, json=body, headers={**TYPE, "Authorization": SECRET}).raise_for_status()


def changed(http: httpx.Client, reference: str, step: int) -> tuple[Json, float]:
    """The resource with another value, and how long one read of it took."""
    began = time.perf_counter()
    one = http.get(f"/{reference}").raise_for_status().json()
    took = time.perf_counter() - began
    if "valueQuantity" in one:
        one["valueQuantity"]["value"] = round(float(one["valueQuantity"]["value"]) * 1.01 + 0.01 * step, 3)
    else:
        one["status"] = "amended" if one.get("status") != "amended" else "corrected"
    return one, took


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event", description=__doc__)
    parser.add_argument("--server", choices=("sekmet", "hapi"), default="sekmet")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--events", type=int, default=30)
    parser.add_argument("--seed", type=int, default=20190603)
    parser.add_argument("--limit", type=float, default=1.0, help="fail if the median is above (s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary, ExitStack() as stack:
        root = Path(temporary)
        started = {"sekmet": sekmet, "hapi": hapi}[options.server]
        base_url = stack.enter_context(started.running())
        http = stack.enter_context(
            httpx.Client(base_url=base_url, headers=TYPE, timeout=120, trust_env=False)
        )
        made = hospital.generate(root / "fhir", seed=options.seed, gzip=False)
        taken = fill(http, chosen(made.folder, options.people, options.seed))
        return measured(stack, root, base_url, http, taken, options)


def measured(
    stack: ExitStack, root: Path, base_url: str, http: httpx.Client, taken: int, options: argparse.Namespace
) -> int:
    env = {**os.environ, "ADAPTER_MAPPINGS": str(site(root, base_url))}
    trial = pipeline.open_trial(mappings=root / "mappings")
    here = Workspace(root / "work")
    subprocess.run([*ADAPTER, "fetch", "--site", "demo", "--workspace", str(here.root)], env=env, check=True)
    today = datetime.now(UTC).astimezone(trial.site.zone).date()
    pipeline.screen(trial, here, as_of=today)
    monitoring.monitor(trial, here, as_of=today)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}/subscriptions/lab"
    options_of = ["--site", "demo", "--workspace", str(here.root)]
    serve = [*ADAPTER, "serve", *options_of, "--port", str(port)]
    serving = stack.enter_context(running(serve, env, root / "serve.log"))
    following = stack.enter_context(running([*ADAPTER, "follow", *options_of], env, root / "follow.log"))
    for _ in range(300):
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    if options.server == "hapi":
        subscribe(http, endpoint)
    watched = Watched(trial, here)
    results = watched.results()
    time.sleep(5)  # the first look at everything, of a channel that nobody looked behind yet
    several = random.Random(options.seed).sample(results, min(options.events, len(results)))  # noqa: S311
    print(
        f"{options.server}: {taken} resources, {len(watched.people())} people on the board; Python "
        f"{sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    spent = cpu(serving) + cpu(following)
    found = []
    for step, (subject, reference) in enumerate(several, 1):
        one, read = changed(http, reference, step)
        began = time.perf_counter()
        version = http.put(f"/{reference}", json=one).raise_for_status().json()["meta"]["versionId"]
        put = time.perf_counter() - began
        if options.server != "hapi":
            tell(http, endpoint, reference, step)
        while not watched.shows(subject, reference, version):
            if time.perf_counter() - began > 60:
                print((root / "follow.log").read_text()[-2000:])
                raise SystemExit(f"{reference} was not on the board within a minute")
            time.sleep(0.005)
        found.append(Taken(put, time.perf_counter() - began, read))
    spent = cpu(serving) + cpu(following) - spent
    return shown(found, spent, options.limit, (root / "follow.log").read_text())


def shown(found: list[Taken], spent: float, limit: float, log: str) -> int:
    for name, values in (
        ("one read of the resource", [one.read for one in found]),
        ("PUT answered by the hospital", [one.put for one in found]),
        ("PUT sent -> on the board", [one.shown for one in found]),
    ):
        took = sorted(1000 * one for one in values)
        at = {share: took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.95)}
        print(f"{name:30} p50 {at[0.5]:8.0f} ms  p95 {at[0.95]:8.0f} ms  max {took[-1]:8.0f} ms")
    middle = statistics.median(one.shown for one in found)
    base = statistics.median(one.read + one.put for one in found)
    print(f"{1000 * spent / len(found):.0f} ms of CPU for an event, serve and follow together")
    print(
        f"{middle / base:.1f} x reading and writing the resource; {log.count('directly')} looks were direct"
    )
    return 1 if middle > limit else 0


if __name__ == "__main__":
    sys.exit(main())
