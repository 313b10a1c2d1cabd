"""What has to hold when the disturbances are over; each check gives what is wrong, in words, or nothing.

Everything about the server is read by plain HTTP from the server itself, past the proxy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, text

from adapter.store import audit
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database, reading
from adapter.store.ledger import Ledger, Receipt
from adapter.store.outbox import Outbox
from adapter.store.outbox_state import FINAL
from adapter.trial import Workspace
from tests.chaos.people import NOTE_TYPES, Json, People
from tests.writeback_cases import decision, source

FILE = "file"
STATUS = {"eligible": "candidate", "undetermined": "potential-candidate", "ineligible": "ineligible"}


class Scene(NamedTuple):
    """A schedule that is over. ``verdicts`` are the last by patient, ``served`` the address that the ledger
    knows, ``types`` those the server has; ``closed`` if it refuses the first rung or all, ``approval`` if
    nothing may be sent that no person allowed."""

    people: People
    verdicts: Mapping[str, str]
    root: Path
    database: Path | str
    served: str
    types: frozenset[str]
    closed: bool = False
    approval: bool = False

    def fingerprint(self, patient: str) -> str:
        evidence = (source(f"Observation/protein-{patient}", str(self.people.version)),)
        made = decision(self.verdicts[patient], patient, study=self.people.study, evidence=evidence)
        return made.fingerprint

    def evidence(self, patient: str) -> str:
        return f"Observation/protein-{patient}"

    def deleted(self) -> set[str]:
        return {one.reference for one in self.people.done if not one.fields}

    def by_people(self) -> set[tuple[str, str]]:
        return {(one.reference, one.version) for one in self.people.done}

    def engine(self) -> Engine:
        return open_database(self.database)

    def receipts(self) -> tuple[Receipt, ...]:
        """Of the server, then of the files."""
        engine = self.engine()
        try:
            found: list[Receipt] = []
            for place in (self.served, f"{self.served} {FILE}"):
                with Ledger(engine, place) as ledger:
                    found += ledger.receipts()
            return tuple(found)
        finally:
            engine.dispose()

    def filed(self) -> list[Json]:
        """Every resource in the files that the last rung left."""
        bundles = (json.loads(path.read_bytes()) for path in sorted(self.root.rglob("told/*.json")))
        return [entry["resource"] for bundle in bundles for entry in bundle["entry"]]


Check = Callable[[Scene], Awaitable[list[str]]]


async def no_lost_decision(scene: Scene) -> list[str]:
    """Whoever is not ineligible is told of once, with the status proposed and the evidence; whoever became
    ineligible is, if anything was said before."""
    wrong: list[str] = []
    rungs = {one.subject: one.rung for one in scene.receipts() if one.subject}
    for patient, verdict in scene.verdicts.items():
        rung = rungs.get(patient, "")
        there = await scene.people.subjects(patient) if "ResearchSubject" in scene.types else []
        if rung == FILE:
            wrong += _in_file(scene, patient)
        elif rung == "ResearchSubject" or (there and not rung):
            wrong += await _on_first_rung(scene, patient, verdict)
        elif rung:
            wrong += await _on_note(scene, patient, rung)
        elif verdict != "ineligible" and not _withdrawn(scene, patient):
            wrong.append(f"{patient}: nothing was ever written")
    return wrong


def _in_file(scene: Scene, patient: str) -> list[str]:
    told = [one for one in scene.filed() if one["resourceType"] == "ResearchSubject" and patient in str(one)]
    if any(scene.fingerprint(patient) in str(one) for one in told):
        return []
    return [f"{patient}: none of {len(told)} filed ResearchSubjects carries the last decision"]


def _withdrawn(scene: Scene, patient: str) -> bool:
    return any(patient in one for one in scene.deleted())


async def _on_first_rung(scene: Scene, patient: str, verdict: str) -> list[str]:
    subjects = await scene.people.subjects(patient)
    if not subjects:
        return [] if scene.deleted() else [f"{patient}: the ResearchSubject is not there"]
    (subject, *_) = subjects
    reference = f"ResearchSubject/{subject['id']}"
    touched = {name for one in scene.people.done if one.reference == reference for name in one.fields}
    wrong = []
    if scene.fingerprint(patient) not in str(subject.get("extension")):
        wrong.append(f"{patient}: the ResearchSubject does not carry the last decision")
    if not touched and subject["status"] != STATUS[verdict]:
        wrong.append(f"{patient}: status {subject['status']} for {verdict}")
    why = await scene.people.found(f"Provenance?target={reference}&_count=50")
    if not any(scene.evidence(patient) in str(one.get("entity")) for one in why):
        wrong.append(f"{patient}: no Provenance names the evidence")
    active = {
        one["code"]["coding"][0]["code"]
        for one in await scene.people.flags(patient)
        if one["status"] == "active"
    }
    by_hand = {one.reference for one in scene.people.done}
    flags = {f"Flag/{one['id']}" for one in await scene.people.flags(patient)}
    if not touched and not flags & by_hand and ("candidate" in active) != (verdict == "eligible"):
        wrong.append(f"{patient}: flags {sorted(active)} for {verdict}")
    return wrong


async def _on_note(scene: Scene, patient: str, rung: str) -> list[str]:
    notes = await scene.people.notes(rung, patient)
    current = _current(notes)
    return (
        []
        if len(current) == 1 and scene.fingerprint(patient) in str(current[0])
        else [
            f"{patient}: {len(current)} of {len(notes)} notes stand on {rung}, or not with the last decision"
        ]
    )


def _current(notes: list[Json]) -> list[Json]:
    """Those that no other note replaces and nobody took back."""
    said = [(one, _parts(one)) for one in notes]
    replaced = {parts.get("supersedes", "") for _, parts in said}
    return [
        one
        for one, parts in said
        if one.get("status") != "entered-in-error"
        and not any(_names(one, reference) for reference in replaced)
    ]


def _names(note: Json, reference: str) -> bool:
    identifiers = {str(one.get("value")) for one in note.get("identifier", [])}
    return bool(reference) and (reference.rpartition("/")[2] in {note["id"], *identifiers})


def _parts(note: Json) -> dict[str, str]:
    for extension in note.get("extension", []):
        if extension["url"].endswith("/trial-note"):
            return {part["url"]: str(part.get("valueString", "")) for part in extension["extension"]}
    return {}


async def no_doubled_resource(scene: Scene) -> list[str]:
    """One ResearchSubject, one Flag of a kind, one Provenance of a write, one note of one identifier."""
    wrong: list[str] = []
    for patient in scene.verdicts:
        if "ResearchSubject" in scene.types:
            subjects = await scene.people.subjects(patient)
            if len(subjects) > 1:
                wrong.append(f"{patient}: {len(subjects)} ResearchSubjects")
            flags = Counter(one["code"]["coding"][0]["code"] for one in await scene.people.flags(patient))
            wrong += [f"{patient}: {number} Flags {code}" for code, number in flags.items() if number > 1]
            for one in subjects:
                wrong += await _explained(scene, one)
        for kind in NOTE_TYPES:
            notes = await scene.people.notes(kind, patient) if kind in scene.types else []
            standing = [note for note in notes if note.get("status") != "entered-in-error"]
            names = Counter(str(note.get("identifier")) for note in standing)
            wrong += [f"{patient}: {number} {kind} of one name" for number in names.values() if number > 1]
            if len(_current(notes)) > 1:
                wrong.append(f"{patient}: {len(_current(notes))} {kind} notes count")
    filed = Counter(
        (one["id"], str(one.get("extension")))
        for one in scene.filed()
        if one["resourceType"] == "ResearchSubject"
    )
    wrong += [f"{name}: filed {number} times" for (name, _), number in filed.items() if number > 1]
    rungs: dict[str, set[str]] = {}
    for receipt in scene.receipts():
        if receipt.subject:
            rungs.setdefault(receipt.fingerprint, set()).add(receipt.rung)
    return wrong + [f"one decision on the rungs {sorted(some)}" for some in rungs.values() if len(some) > 1]


async def _explained(scene: Scene, subject: Json) -> list[str]:
    reference = f"ResearchSubject/{subject['id']}"
    why = await scene.people.found(f"Provenance?target={reference}&_count=50")
    version = str(subject["meta"]["versionId"])
    if version.isdecimal() and len(why) > int(version):
        return [f"{reference}: {len(why)} Provenances for {version} versions"]
    return []


async def no_overwritten_change(scene: Scene) -> list[str]:
    """What a person set last stands; what a person deleted is gone."""
    wrong: list[str] = []
    last: dict[tuple[str, str], object] = {}
    gone: set[str] = set()
    for one in scene.people.done:
        if not one.fields:
            gone.add(one.reference)
            last = {key: value for key, value in last.items() if key[0] != one.reference}
        for name, value in one.fields.items():
            last[one.reference, name] = value
            gone.discard(one.reference)
    for (reference, name), value in last.items():
        status, found = await scene.people.get(reference)
        if status != 200 or found.get(name) != value:
            wrong.append(f"{reference}: a person set {name} to {value!r}, there is {found.get(name)!r}")
    for reference in gone:
        status, _ = await scene.people.get(reference)
        if status == 200:
            wrong.append(f"{reference}: a person deleted it, and it is there again")
    return wrong


async def receipts_are_true(scene: Scene) -> list[str]:
    """Each receipt names a version that the server has, and each version that stands has a receipt or is a
    person's."""
    wrong: list[str] = []
    receipts = scene.receipts()
    filed = {f"{one['resourceType']}/{one['id']}" for one in scene.filed()}
    for one in receipts:
        if one.rung == FILE:
            if one.reference not in filed and one.fingerprint:
                wrong.append(f"{one.reference}: a receipt for a file that does not hold it")
            continue
        if one.reference in scene.deleted() or not one.version or one.reference.startswith("Provenance/"):
            continue
        status, found = await scene.people.get(f"{one.reference}/_history/{one.version}")
        if status != 200:
            wrong.append(f"{one.reference}: a receipt for version {one.version}, the server says {status}")
        elif one.reference.startswith("ResearchSubject/") and one.fingerprint not in str(found):
            wrong.append(f"{one.reference}: version {one.version} is not what the receipt says")
    known = {(one.reference, one.version) for one in receipts} | scene.by_people()
    for patient in scene.verdicts:
        standing = await scene.people.subjects(patient) if "ResearchSubject" in scene.types else []
        for kind in NOTE_TYPES:
            standing += await scene.people.notes(kind, patient) if kind in scene.types else []
        for found in standing:
            place = (f"{found['resourceType']}/{found['id']}", str(found["meta"]["versionId"]))
            if place not in known and not await _repeated(scene, receipts, found):
                wrong.append(f"{'/_history/'.join(place)}: neither a receipt nor a person's")
    return wrong


async def _repeated(scene: Scene, receipts: Iterable[Receipt], found: Json) -> bool:
    """Whether it is what a receipt speaks of, word for word: a request of ours that arrived late, after its
    repetition, at a server that takes no notice of If-None-Match."""
    reference = f"{found['resourceType']}/{found['id']}"
    for one in receipts:
        if one.reference == reference and one.version:
            _, before = await scene.people.get(f"{reference}/_history/{one.version}")
            if {**before, "meta": {}} == {**found, "meta": {}}:
                return True
    return False


async def outbox_is_final(scene: Scene) -> list[str]:
    engine = scene.engine()
    try:
        rows = Outbox(engine).rows()
    finally:
        engine.dispose()
    numbers = {row.number for row in rows}
    at_rest = FINAL | ({"refused"} if scene.closed else set())
    wrong = [f"outbox row {row.number} is {row.state}" for row in rows if row.state not in at_rest]
    told = [one for one in scene.receipts() if one.subject and one.outbox not in numbers]
    return wrong + [f"{one.reference}: a receipt of no outbox row" for one in told]


async def audit_verifies(scene: Scene) -> list[str]:
    """The chain and its checkpoints fit, and every receipt stands in the audit."""
    engine = scene.engine()
    try:
        checkpoints = CheckpointFile(Workspace(scene.root, embedded=True).checkpoints).read()
        verdict = audit.verify(engine, checkpoints)
        wrong = [str(flaw) for flaw in verdict.flaws]
        if verdict.rows and not checkpoints:
            wrong.append("no checkpoint was written")
        with reading(engine) as connection:
            told = "".join(row[0] for row in connection.execute(text("SELECT * FROM audit")).columns("what"))
    finally:
        engine.dispose()
    return wrong + [
        f"{one.reference}: a receipt that the audit does not tell of"
        for one in scene.receipts()
        if f"{one.reference}/_history/{one.version}" not in told
    ]


async def only_what_was_allowed(scene: Scene) -> list[str]:
    """Each receipt about a person leads to a person's leave for exactly what its row holds."""
    wrong: list[str] = []
    engine = scene.engine()
    try:
        outbox = Outbox(engine)
        for one in scene.receipts() if scene.approval else ():
            if one.subject:
                row = outbox.row(one.outbox)
                words = {word.number: word for word in outbox.approvals(row.number)}
                word = words.get(one.approval)
                if word is None or (word.verdict, word.content_sha256) != ("approved", row.content_sha256):
                    wrong.append(f"{one.reference}: sent in row {row.number} without leave")
    finally:
        engine.dispose()
    return wrong


LEAVE = "only what was allowed was sent"
CHECKS: Mapping[str, Check] = {
    "no lost decision": no_lost_decision,
    "no doubled resource": no_doubled_resource,
    "no overwritten change": no_overwritten_change,
    "receipts are true": receipts_are_true,
    "outbox is final": outbox_is_final,
    "audit verifies": audit_verifies,
    LEAVE: only_what_was_allowed,
}
