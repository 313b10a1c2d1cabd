"""``python -m benchmarks.hooks``: how long a physician waits for CDS Hooks when 50 open charts at once.

The service runs in a process of its own, as ``adapter serve`` runs it, on the demo hospital's day; the
callers in this one. Every caller sends its next call as soon as the last is answered (no time to think, which
real physicians take), each with a signed statement of its own and the whole prefetch. Signatures, the check
that a token comes once, the audit and the database are all in.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapter.config import HookClient, Hooks
from adapter.demo import hospital
from adapter.source.nominate import subjects_of
from adapter.web.hooks.prefetch import templates
from tests.servers.ehr import Ehr

NOW = datetime(2019, 6, 3, 1, 0, tzinfo=UTC)
STUDY = "NCT03864250"
VIEW = "/cds-services/trial-patient-view"


class Call(NamedTuple):
    """One request, ready to send; ``patient`` to tell the answers apart."""

    patient: str
    request: bytes


class Answer(NamedTuple):
    patient: str
    seconds: float
    status: int
    cards: int


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the hospital has of each person."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.ndjson*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in data.splitlines():
            try:
                resource = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue  # the demo hospital is as dirty as hospitals are
            if isinstance(resource, dict):
                for patient in subjects_of(resource)[0]:
                    found[patient].append(resource)
    return found


def studies(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "ResearchStudy.ndjson").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def prefetches(folder: Path) -> dict[str, dict[str, Any]]:
    """The whole prefetch of each person."""
    shared, wanted = studies(folder), templates(STUDY)
    found: dict[str, dict[str, Any]] = {}
    for patient, own in records(folder).items():
        by_type: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in (*own, *shared):
            by_type[str(one.get("resourceType"))].append(one)
        prefetch = found[patient] = {}
        for key, template in wanted.items():
            kind = template.split("?")[0].split("/")[0]
            if "?" in template:
                entries = [{"resource": one, "search": {"mode": "match"}} for one in by_type[kind]]
                prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
            else:
                prefetch[key] = next((one for one in by_type[kind] if one.get("id") == patient), None)
    return found


def calls(known: dict[str, dict[str, Any]], address: str, ehr: Ehr, patients: Iterable[str]) -> list[Call]:
    """A ``patient-view`` of each person."""
    host = address.removeprefix("http://")
    made = []
    for patient in patients:
        context = {"userId": "Practitioner/1", "patientId": patient}
        call = {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "context": context,
            "prefetch": known[patient],
        }
        body = msgspec.json.encode(call)
        token = ehr.token(address + VIEW, NOW)
        head = (
            f"POST {VIEW} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(Call(patient, head.encode() + body))
    return made


def pings(address: str, number: int) -> list[Call]:
    """Calls of ``/healthz``: what the service takes for an answer that judges nobody."""
    head = f"GET /healthz HTTP/1.1\r\nHost: {address.removeprefix('http://')}\r\n\r\n"
    return [Call("", head.encode())] * number


async def caller(host: str, port: int, queue: list[Call], answers: list[Answer]) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=2**22)
    while queue:
        call = queue.pop()
        started = time.perf_counter()
        writer.write(call.request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        body = await reader.readexactly(length)
        seconds = time.perf_counter() - started
        status = int(head.split(b" ", 2)[1])
        cards = len(json.loads(body).get("cards", ())) if status == 200 else 0
        answers.append(Answer(call.patient, seconds, status, cards))
    writer.close()


async def load(host: str, port: int, several: list[Call], concurrent: int) -> tuple[list[Answer], float]:
    queue, answers = list(reversed(several)), list[Answer]()
    started = time.perf_counter()
    await asyncio.gather(*(caller(host, port, queue, answers) for _ in range(concurrent)))
    return answers, time.perf_counter() - started


def shown(name: str, answers: list[Answer], seconds: float) -> float:
    """Print one line; returns the 95th percentile in milliseconds."""
    took = sorted(one.seconds * 1000 for one in answers)
    wrong = sum(one.status != 200 for one in answers)
    at = {share: took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.95, 0.99)}
    counts = (len(answers), sum(one.cards for one in answers), wrong)
    times = (at[0.5], at[0.95], at[0.99], took[-1])
    columns = [*(f"{one:7}" for one in counts), *(f"{one:9.1f}" for one in times)]
    print(f"{name:34}{''.join(columns)}{len(answers) / seconds:9.0f}")
    return at[0.95]


def cpu(pid: int) -> float:
    """CPU seconds of the service and of the processes beside it (Linux)."""
    ticks = 0
    for one in (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def serve(folder: Path, port: int, workers: int) -> None:
    """The service, in its own process."""
    import uvicorn

    from adapter.pipeline import open_trial
    from adapter.web.app import create_app

    plain = open_trial()
    clients = {"ehr": HookClient("bench", jwks_file=str(folder / "jwks.json"))}
    hooks = Hooks(f"http://127.0.0.1:{port}", clients, workers=workers)
    trial = plain._replace(site=msgspec.structs.replace(plain.site, hooks=hooks))
    app = create_app(folder / "adapter.sqlite", lambda: NOW, trial.site, study=trial.protocol.id, trial=trial)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hooks", description=__doc__)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20190603)
    parser.add_argument("--limit", type=float, default=300.0, help="fail if p95 of everybody is above (ms)")
    parser.add_argument("--workers", type=int, default=2, help="processes that judge, beside the service")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port, options.workers)
        return 0
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        return measured(Path(temporary), options)


def measured(folder: Path, options: argparse.Namespace) -> int:
    concurrent, seed, limit = options.callers, options.seed, options.limit
    ehr = Ehr("bench")
    (folder / "jwks.json").write_text(json.dumps(ehr.jwks()))
    made = hospital.generate(folder / "hospital" / "fhir", seed=seed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "benchmarks.hooks", "--serve", str(folder), "--port", str(port)]
    command += ["--workers", str(options.workers)]
    with subprocess.Popen(command) as service:
        try:
            wait_for(port, service)
            known = prefetches(made.folder)
            people = sorted(known)
            random.Random(seed).shuffle(people)  # noqa: S311 - an order, no secret
            everybody = calls(known, address, ehr, people)
            size = sum(len(one.request) for one in everybody)
            print(
                f"{len(everybody)} people, {size / 1e6:.0f} MB of prefetch, {concurrent} callers without a "
                f"pause; Python {sys.version.split()[0]}, {os.cpu_count()} cores for service and callers, "
                f"load {os.getloadavg()[0]:.1f}"
            )
            print(
                f"{'':34}{'calls':>7}{'cards':>7}{'wrong':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}", end=""
            )
            print(f"{'max ms':>9}{'calls/s':>9}")
            asyncio.run(load("127.0.0.1", port, calls(known, address, ehr, people[:20]), 2))
            answers, seconds = asyncio.run(load("127.0.0.1", port, pings(address, 2000), concurrent))
            floor = shown("/healthz", answers, seconds)
            spent = cpu(service.pid)
            answers, seconds = asyncio.run(load("127.0.0.1", port, everybody, concurrent))
            spent = cpu(service.pid) - spent
            worst = shown("everybody, each chart once", answers, seconds)
            print(
                f"{'':34}{1000 * spent / len(answers):.1f} ms of CPU for a call, all processes of the "
                f"service; p95 is {worst / floor:.1f} x that of /healthz"
            )
            told = [one.patient for one in answers if one.cards]
            again = calls(known, address, ehr, told)
            shown(
                "who has a card, opened once more", *asyncio.run(load("127.0.0.1", port, again, concurrent))
            )
            alone = calls(known, address, ehr, told[:50])
            shown("the same, one caller", *asyncio.run(load("127.0.0.1", port, alone, 1)))
            wrong = sum(one.status != 200 for one in answers)
        finally:
            service.terminate()
    return 1 if wrong or worst > limit else 0


def wait_for(port: int, service: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if service.poll() is not None:
            raise SystemExit("the service did not start")
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("the service did not start in a minute")


if __name__ == "__main__":
    sys.exit(main())
