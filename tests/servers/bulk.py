"""A bulk export server that does what a script says, faults included: real HTTP on loopback.

``Exports`` holds a small hospital; each path answers from a list of :class:`Answer`, the last one for ever.
The wire is written by hand, because faults live there: bodies cut short, ends that nobody told, one byte at
a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

TIME = "2026-11-01T08:00:00+08:00"
TOKEN = "s3cret-token"


@dataclass(frozen=True)
class Answer:
    """One answer; ``cut`` sends so many bytes of the body, ``drip`` one byte each so many seconds."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Literal["length", "chunked", "close"] = "length"
    cut: int | None = None
    drip: float = 0
    delay: float = 0


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


Reply = Callable[[Request], Answer]


class Server:
    """Answers by method and path; everything it was asked is in ``requests``."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.replies: dict[tuple[str, str], list[Answer | Reply]] = {}
        self.otherwise: Reply = lambda request: Answer(404)
        self.port = 0
        self.most_at_once = 0
        self._now = 0

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, method: str, path: str, *answers: Answer | Reply) -> None:
        self.replies[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Request]:
        return [one for one in self.requests if (one.method, one.path) == (method, path)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await _request(reader):
                self.requests.append(request)
                self._now += 1
                self.most_at_once = max(self.most_at_once, self._now)
                try:
                    answer = self._answer(request)
                    await asyncio.sleep(answer.delay)
                    if not await _write(writer, answer):
                        break
                finally:
                    self._now -= 1
        writer.close()

    def _answer(self, request: Request) -> Answer:
        waiting = self.replies.get((request.method, request.path))
        found = (waiting.pop(0) if len(waiting) > 1 else waiting[0]) if waiting else self.otherwise
        return found(request) if callable(found) else found

    @contextmanager
    def running(self) -> Iterator[Server]:
        loop = asyncio.new_event_loop()
        started = threading.Event()

        async def main() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            async with server:
                await server.serve_forever()

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)

        task = loop.create_task(main())
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        started.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join(5)


async def _request(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length") or 0))
    return Request(method, target, headers, body)


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Send an answer; whether the connection lives on."""
    headers = dict(answer.headers)
    body = answer.body
    if answer.framing == "length":
        headers["Content-Length"] = str(len(body))
    elif answer.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _parts(body)) + b"0\r\n\r\n"
    else:
        headers["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {answer.status} Told\r\n{lines}\r\n".encode("latin-1"))
    body = body if answer.cut is None else body[: answer.cut]
    if answer.drip:
        for at in range(len(body)):
            writer.write(body[at : at + 1])
            await writer.drain()
            await asyncio.sleep(answer.drip)
    else:
        writer.write(body)
    await writer.drain()
    return answer.cut is None and answer.framing != "close"


def _parts(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


def ndjson(*resources: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)


def patient(name: str, version: str = "1") -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "meta": {"versionId": version}}


def observation(name: str, subject: str, value: float = 3.5, version: str = "1") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "meta": {"versionId": version},
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
        "subject": {"reference": f"Patient/{subject}"},
        "valueQuantity": {
            "value": value,
            "unit": "g/dL",
            "system": "http://unitsofmeasure.org",
            "code": "g/dL",
        },
        "effectiveDateTime": "2026-10-01T08:00:00+08:00",
    }


def outcome(severity: str, code: str) -> dict[str, Any]:
    said = {"severity": severity, "code": code, "diagnostics": "Zhang San p1"}
    return {"resourceType": "OperationOutcome", "issue": [said]}


def deletions(*references: str) -> bytes:
    entries = [{"request": {"method": "DELETE", "url": reference}} for reference in references]
    return ndjson({"resourceType": "Bundle", "type": "transaction", "entry": entries})


PATIENTS = ndjson(patient("p1"), patient("p2"))
OBSERVATIONS = ndjson(observation("o1", "p1"), observation("o2", "p2", 2.25), observation("o3", "p2", 4))


class Exports(Server):
    """A hospital of two patients whose export works; tests change what should not.

    ``files`` maps a path below ``/files/`` to its type and bytes; ``more`` is merged into the manifest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, tuple[str, bytes]] = {
            "1.ndjson": ("Patient", PATIENTS),
            "2.ndjson": ("Observation", OBSERVATIONS),
        }
        self.counts = True
        self.more: dict[str, Any] = {}
        self.token = TOKEN
        self.ranges = False
        self.jobs = 0
        self.otherwise = self._usual

    @property
    def base(self) -> str:
        return f"{self.root}/fhir"

    def manifest(self, names: Iterable[str] | None = None, **more: Any) -> dict[str, Any]:
        output = []
        for name in self.files if names is None else names:
            kind, body = self.files[name]
            item: dict[str, Any] = {"type": kind, "url": f"{self.root}/files/{name}"}
            if self.counts:
                item["count"] = body.count(b"\n")
            output.append(item)
        return {
            "transactionTime": TIME,
            "request": f"{self.base}/Patient/$export",
            "requiresAccessToken": True,
            "output": output,
            "error": [],
            **self.more,
            **more,
        }

    def ready(self, **more: Any) -> Answer:
        return Answer(
            body=json.dumps(self.manifest(**more)).encode(), headers={"Content-Type": "application/json"}
        )

    def accepted(self) -> Answer:
        self.jobs += 1
        return Answer(202, headers={"Content-Location": f"{self.base}/status/{self.jobs}"})

    def file(self, request: Request, body: bytes) -> Answer:
        etag = '"' + hashlib.sha256(body).hexdigest()[:12] + '"'
        known = {"Content-Type": "application/fhir+ndjson", "ETag": etag}
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if self.ranges and asked and request.headers.get("if-range") == etag:
            start = int(asked[1])
            known["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return Answer(206, body[start:], known)
        return Answer(200, body, known)

    def _usual(self, request: Request) -> Answer:
        path = request.path
        if path.startswith("/files/") and (found := self.files.get(path.removeprefix("/files/"))):
            needs = self.more.get("requiresAccessToken", True)
            if needs and request.headers.get("authorization") != f"Bearer {self.token}":
                return Answer(401)
            return self.file(request, found[1])
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401)
        if path.endswith("$export"):
            return self.accepted()
        if path.startswith("/fhir/status/"):
            return self.ready() if request.method == "GET" else Answer(202)
        return Answer(404)


def zipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)
