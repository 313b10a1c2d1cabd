"""A small FHIR server in memory whose habits can be chosen, answering through respx."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import respx

from adapter.source.crawl import BY_PATIENT

BASE = "https://ehr.example/fhir"
_SUBJECTS = ("subject", "patient", "individual")
Resource = dict[str, Any]


class FhirServer:
    """Keeps versions and stamps by its own clock; ``habits`` are the lies it tells.

    ``ignores`` leaves ``_lastUpdated`` out of search and self link, ``echoes`` repeats it and ignores it,
    ``shifts`` takes it for eight hours later, ``silent`` gives no self link, ``no listing`` refuses
    ``_elements``, ``stale`` answers searches from the state of ``freeze()``.
    """

    def __init__(self, clock: datetime, *habits: str) -> None:
        self.clock = clock
        self.habits = set(habits)
        self.store: dict[tuple[str, str], Resource] = {}
        self.deleted: set[tuple[str, str]] = set()
        self.refused: set[str] = set()
        self.dies_after: int | None = None
        self.requests: list[str] = []
        self.page = 3
        self._frozen: dict[tuple[str, str], Resource] = {}

    def put(self, resource: Resource) -> None:
        """Store the next version, stamped by the server's clock."""
        key = (resource["resourceType"], resource["id"])
        before = self.store.get(key)
        number = int(before["meta"]["versionId"]) + 1 if before else 1
        stamp = self.clock.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.store[key] = {
            **copy.deepcopy(resource),
            "meta": {"versionId": str(number), "lastUpdated": stamp},
        }
        self.deleted.discard(key)
        self.clock += timedelta(seconds=1)

    def delete(self, kind: str, name: str) -> None:
        if self.store.pop((kind, name), None):
            self.deleted.add((kind, name))

    def freeze(self) -> None:
        self._frozen = copy.deepcopy(self.store)

    @contextmanager
    def answering(self) -> Iterator[None]:
        with respx.mock(assert_all_called=False) as mock:
            mock.route(url__startswith=BASE).mock(side_effect=self._answer)
            yield

    def _answer(self, request: httpx.Request) -> httpx.Response:
        parts = urlsplit(str(request.url))
        path = parts.path.removeprefix("/fhir/")
        self.requests.append(f"{path}?{parts.query}")
        if self.dies_after is not None and len(self.requests) > self.dies_after:
            return httpx.Response(503)
        if path == "metadata":
            return self._ok(self._statement())
        kind, _, name = path.partition("/")
        if name:
            key = (kind, name)
            known = self.store.get(key)
            return self._ok(known) if known else httpx.Response(410 if key in self.deleted else 404)
        if kind in self.refused:
            return httpx.Response(403)
        return self._search(kind, parse_qsl(parts.query, keep_blank_values=True))

    def _ok(self, body: Resource) -> httpx.Response:
        return httpx.Response(200, json=body, headers={"Content-Type": "application/fhir+json"})

    def _statement(self) -> Resource:
        types = [*BY_PATIENT, "Patient", "Medication", "ResearchStudy"]
        includes = [f"{kind}:medication" for kind in types if kind.startswith("Medication")]
        listed = [{"type": kind, "searchInclude": includes} for kind in types]
        return {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "resource": listed}]}

    def _search(self, kind: str, params: list[tuple[str, str]]) -> httpx.Response:
        asked = dict(params)
        if "_elements" in asked and "no listing" in self.habits:
            return httpx.Response(400)
        since = asked.get("_lastUpdated", "")
        if since and self.habits & {"ignores"}:
            params = [(name, value) for name, value in params if name != "_lastUpdated"]
        if since and self.habits & {"ignores", "echoes"}:
            since = ""
        source = self._frozen if "stale" in self.habits else self.store
        found = [one for (of, _), one in sorted(source.items()) if of == kind and _fits(one, asked)]
        if since:
            moment = datetime.fromisoformat(since.removeprefix("ge"))
            moment += timedelta(hours=8) if "shifts" in self.habits else timedelta()
            found = [one for one in found if datetime.fromisoformat(one["meta"]["lastUpdated"]) >= moment]
        at = int(asked.get("_page", "0"))
        page = found[at : at + self.page]
        entries = [{"resource": _cut(one, asked), "search": {"mode": "match"}} for one in page]
        if "_include" in asked:
            entries += [{"resource": one, "search": {"mode": "include"}} for one in self._drugs(page)]
        links = (
            []
            if "silent" in self.habits
            else [{"relation": "self", "url": f"{BASE}/{kind}?{urlencode(params)}"}]
        )
        if at + self.page < len(found):
            more = urlencode(
                [*((name, value) for name, value in params if name != "_page"), ("_page", at + self.page)]
            )
            links.append({"relation": "next", "url": f"{BASE}/{kind}?{more}"})
        return self._ok(
            {
                "resourceType": "Bundle",
                "type": "searchset",
                "total": len(found),
                "link": links,
                "entry": entries,
            }
        )

    def _drugs(self, page: list[Resource]) -> Iterator[Resource]:
        names = {one.get("medicationReference", {}).get("reference", "") for one in page}
        yield from (self.store[key] for key in sorted(self.store) if "/".join(key) in names)


def _fits(resource: Resource, asked: dict[str, str]) -> bool:
    for name, value in asked.items():
        text = json.dumps(resource)
        if name in _SUBJECTS:
            if value not in {resource.get(key, {}).get("reference") for key in _SUBJECTS}:
                return False
        elif name == "link":
            if value not in json.dumps(resource.get("link", [])):
                return False
        elif (
            name in ("code", "reason-code", "identifier", "study")
            and not any(f'"{one}"' in text for one in value.split(","))
        ) or name.endswith(":text"):
            return False
    return True


def _cut(resource: Resource, asked: dict[str, str]) -> Resource:
    if "_elements" not in asked:
        return resource
    return {"resourceType": resource["resourceType"], "id": resource["id"]}
