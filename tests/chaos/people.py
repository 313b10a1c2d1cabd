"""The people of one schedule on a real server, and what persons do to their records there; plain HTTP."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx

from tests.chaos.schedule import Edit

JSON = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}
NOTE_TYPES = ("List", "Task", "Basic", "Communication", "DocumentReference")
_BY_PATIENT = {"ResearchSubject": "patient", "Flag": "patient", "Basic": "patient"}
Json = dict[str, Any]


class Done(NamedTuple):
    """A person's change: what has to stand there in the end; ``fields`` is empty for a deletion."""

    reference: str
    version: str
    fields: dict[str, Any]


class People:
    def __init__(self, http: httpx.AsyncClient, base: str, key: str, number: int) -> None:
        self.http = http
        self.base = base
        self.study = f"NCT{key}"
        self.ids = tuple(f"{name}-{key}" for name in ("anna", "bao", "chen")[:number])
        self.done: list[Done] = []
        self.skipped = 0
        self.version = 0

    async def admit(self) -> None:
        await self._transact([{"resourceType": "Patient", "id": one} for one in self.ids])
        await self.measure()

    async def measure(self) -> None:
        """A new result for everybody, which the next decisions rest on."""
        self.version += 1
        await self._transact(
            [
                {
                    "resourceType": "Observation",
                    "id": f"protein-{one}",
                    "status": "final",
                    "code": {"text": "24 h urinary protein"},
                    "subject": {"reference": f"Patient/{one}"},
                    "valueString": f"{self.version}.0",
                }
                for one in self.ids
            ]
        )

    async def subjects(self, patient: str) -> list[Json]:
        found = await self.found(f"ResearchSubject?patient=Patient/{patient}&_count=50")
        return [one for one in found if one["resourceType"] == "ResearchSubject"]

    async def flags(self, patient: str) -> list[Json]:
        return await self.found(f"Flag?patient=Patient/{patient}&_count=50")

    async def notes(self, kind: str, patient: str) -> list[Json]:
        parameter = "subject" if kind == "Communication" else "patient"
        found = await self.found(f"{kind}?{parameter}=Patient/{patient}&_count=50")
        # sekmet-fhir takes no notice of parameters that it does not know
        return [one for one in found if self.study in str(one) and patient in str(one)]

    async def found(self, query: str) -> list[Json]:
        answer = await self.http.get(f"{self.base}/{query}", headers=JSON)
        assert answer.status_code == 200, f"{query.split('?')[0]}: {answer.status_code} {answer.text[:300]}"
        wanted = query.partition("?")[0]
        entries = [one["resource"] for one in answer.json().get("entry", [])]
        return [one for one in entries if one["resourceType"] == wanted]

    async def get(self, path: str) -> tuple[int, Json]:
        answer = await self.http.get(f"{self.base}/{path}", headers=JSON)
        return answer.status_code, answer.json() if answer.content else {}

    async def change(self, edit: Edit, types: frozenset[str]) -> bool:
        """Whether there was something for the person to change; ``types`` are those the server has."""
        patient = self.ids[edit.who]
        if edit.what == "note touched":
            return await self._touch_note(patient, types)
        if "ResearchSubject" not in types:
            return False
        if edit.what == "recorded by a person":
            return await self._record(patient)
        if edit.what == "flag taken back":
            ours = [one for one in await self.flags(patient) if one["status"] == "active"]
            return bool(ours) and await self._set(ours[0], {"status": "entered-in-error"})
        there = await self.subjects(patient)
        if not there:
            return False
        if edit.what == "screening":
            return await self._set(there[0], {"status": "screening"})
        if edit.what == "period":
            return await self._set(there[0], {"period": {"start": f"2026-02-{len(self.done) + 1:02}"}})
        return await self._delete(there[0])

    async def _touch_note(self, patient: str, types: frozenset[str]) -> bool:
        for kind in NOTE_TYPES:
            for note in await self.notes(kind, patient) if kind in types else ():
                if kind == "Task" and note["status"] == "requested":
                    return await self._set(note, {"status": "accepted"})
                if kind != "Task" and note.get("status") not in ("entered-in-error", "superseded"):
                    return await self._set(note, {"language": "zh"})
        return False

    async def _record(self, patient: str) -> bool:
        studies = await self.found(f"ResearchStudy?identifier={self.study}&_count=5")
        if not studies or await self.subjects(patient):
            return False
        own = {
            "resourceType": "ResearchSubject",
            "id": f"own-{patient}",
            "status": "candidate",
            "study": {"reference": f"ResearchStudy/{studies[0]['id']}"},
            "individual": {"reference": f"Patient/{patient}"},
        }
        return await self._set(own, {"status": "candidate"})

    async def _set(self, resource: Json, fields: dict[str, Any]) -> bool:
        """With If-Match where it was there, as a careful client does; a lost race is no change."""
        reference = f"{resource['resourceType']}/{resource['id']}"
        version = resource.get("meta", {}).get("versionId")
        guard = {"If-Match": f'W/"{version}"'} if version else {}
        body = {**resource, **fields}
        answer = await self.http.put(f"{self.base}/{reference}", json=body, headers={**JSON, **guard})
        if answer.status_code in (409, 412):
            return False
        assert answer.status_code in (200, 201), answer.text[:500]
        _, now = await self.get(reference)
        self.done.append(Done(reference, now["meta"]["versionId"], fields))
        return True

    async def _delete(self, resource: Json) -> bool:
        reference = f"ResearchSubject/{resource['id']}"
        for one in await self.found(f"Provenance?target={reference}&_count=50"):
            await self.http.delete(f"{self.base}/Provenance/{one['id']}")
        answer = await self.http.delete(f"{self.base}/{reference}")
        assert answer.status_code in (200, 204), answer.text[:500]
        self.done.append(Done(reference, "", {}))
        return True

    async def _transact(self, resources: list[Json]) -> None:
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in resources
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = await self.http.post(self.base, json=bundle, headers=JSON)
        assert answer.status_code == 200, answer.text[:500]
