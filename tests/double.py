"""A FHIR server of a page, for what no real server does on demand: it takes what it is told to take, gives
ids of its own if it is told to, and loses, delays or refuses answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx

from tests.spec.test_rungs import statement

Json = dict[str, Any]
BASE = "https://hospital.example/fhir"
EVERYTHING = "read search-type create update"


class Double(httpx.AsyncBaseTransport):
    """``offers`` is one line a type with its interactions; what is not offered answers 404 to a search and
    405 to a write. ``faults`` are asked for every write before and after it happened."""

    def __init__(self, offers: str, bundles: str = "", *, client_ids: bool = True) -> None:
        self.said = statement(offers, bundles, client_ids=client_ids)
        self._offers = {line.split()[0]: set(line.split()[1:]) for line in offers.strip().splitlines()}
        self._client_ids = client_ids
        self.held: dict[str, Json] = {}
        self.writes: list[str] = []
        self.refusals: dict[str, int] = {}
        self.before: Callable[[str], None] = lambda what: None
        self.after: Callable[[str], None] = lambda what: None
        self._next = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/fhir").strip("/")
        body = json.loads(await request.aread() or b"null")
        if request.method == "GET":
            answer = self._read(path, request.url.params)
        else:
            what = f"{request.method} {path}"
            self.before(what)
            self.writes.append(what)
            answer = (
                self._bundle(body) if not path else self._write(request.method, path, body, request.headers)
            )
            self.after(what)
        answer.request = request
        return answer

    def of(self, kind: str) -> list[Json]:
        return [one for reference, one in sorted(self.held.items()) if reference.startswith(f"{kind}/")]

    def put(self, resource: Json) -> None:
        """What a person does, past all refusals."""
        self._keep(resource)

    def _read(self, path: str, parameters: httpx.QueryParams) -> httpx.Response:
        if path == "metadata":
            return httpx.Response(200, json=self.said)
        kind, _, key = path.partition("/")
        if not {"search-type", "read" if key else ""} & self._offers.get(kind, set()):
            return _outcome(404, "not-supported")
        if key:
            one = self.held.get(path)
            return httpx.Response(200, json=one) if one else _outcome(404, "not-found")
        found = [one for one in self.of(kind) if all(_has(one, *pair) for pair in parameters.items())]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})

    def _bundle(self, bundle: Json) -> httpx.Response:
        kept, entries = dict(self.held), []
        for entry in bundle["entry"]:
            request = entry["request"]
            headers = {
                "If-Match": request.get("ifMatch", ""),
                "If-None-Match": request.get("ifNoneMatch", ""),
            }
            answer = self._write(request["method"], request["url"], entry["resource"], httpx.Headers(headers))
            if answer.status_code >= 400:
                self.held = kept
                return answer
            entries.append({"response": {"status": str(answer.status_code), "etag": answer.headers["ETag"]}})
        return httpx.Response(
            200, json={"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        )

    def _write(self, method: str, path: str, resource: Json, headers: httpx.Headers) -> httpx.Response:
        kind = path.partition("/")[0]
        if kind in self.refusals:
            return _outcome(self.refusals[kind], "forbidden")
        wanted = "create" if method == "POST" else "update"
        if wanted not in self._offers.get(kind, ()):
            return _outcome(405, "not-supported")
        if method == "POST":
            assert "id" not in resource
            self._next += 1
            return self._keep({**resource, "id": f"s{self._next}"})
        there = self.held.get(path)
        if there is None and not self._client_ids:
            return _outcome(405, "not-supported")
        matched = re.fullmatch(r'W/"(.+)"', headers.get("If-Match") or "")
        version = there["meta"]["versionId"] if there else ""
        if (matched and matched[1] != version) or (headers.get("If-None-Match") == "*" and there):
            return _outcome(412, "conflict")
        return self._keep(resource)

    def _keep(self, resource: Json) -> httpx.Response:
        reference = f"{resource['resourceType']}/{resource['id']}"
        before = self.held.get(reference)
        version = str(int(before["meta"]["versionId"]) + 1) if before else "1"
        stored = {**resource, "meta": {**resource.get("meta", {}), "versionId": version}}
        self.held[reference] = stored
        location = f"{BASE}/{reference}/_history/{version}"
        headers = {"ETag": f'W/"{version}"', "Location": location}
        return httpx.Response(200 if before else 201, json=stored, headers=headers)


def _outcome(status: int, code: str) -> httpx.Response:
    issue = [{"severity": "error", "code": code, "diagnostics": "Zhang San may not"}]
    return httpx.Response(status, json={"resourceType": "OperationOutcome", "issue": issue})


def _has(one: Json, name: str, value: str) -> bool:
    if name in ("patient", "subject", "study"):
        element = {"ResearchSubject": "individual", "Task": "for"}.get(one["resourceType"], "subject")
        reference = one.get("study" if name == "study" else element, {}).get("reference", "")
        return reference in value.split(",")
    if name == "_id":
        return one["id"] in value.split(",")
    if name == "identifier":
        return any(each.get("value") == value for each in one.get("identifier", []))
    return True
