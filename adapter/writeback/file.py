"""The last rung, for servers that take nothing: the same resources as a file for the CTMS or a person.

What is new is a transaction that a server can load: every create says ``If-None-Match: *``, so a server that
loads it later refuses what a person has written meanwhile (HAPI ignores that). What changes something told
by an earlier file is a collection, to be read and not loaded: nobody here knows what became of the first.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from adapter.model.decision import Decision
from adapter.store.ledger import Memory
from adapter.store.outbox import OutboxRow
from adapter.writeback.carry import At
from adapter.writeback.drafts import changes_in
from adapter.writeback.identity import patient_of
from adapter.writeback.plan import Change, CurrentState, plan_writeback, transaction
from adapter.writeback.research_study import StudyReference
from adapter.writeback.resources import Json, encode
from adapter.writeback.server import Stored

RUNG = "file"
FILED = "filed"  # the version of what lies in a file


class FileCarrier:
    """Writes into a folder; ``files`` are those it left, in order."""

    encloses_shared = True
    subjects_at_once = 1_000_000

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: list[Path] = []

    async def __call__(self, changes: Sequence[Change], at: At) -> list[Stored]:
        new = [change for change in changes if not change.based_on]
        news = [change for change in changes if change.based_on]
        about = {change.reference for change in news}
        told = [c for c in new if c.reference.startswith("Provenance/") and about & _targets(c)]
        loadable = [change for change in new if change not in told]
        if any(change.fingerprint for change in loadable):  # study and device alone are no news
            self.files.append(_keep(self._folder, "bundle", loadable, transaction(loadable)))
        if news or told:
            self.files.append(_keep(self._folder, "changes", [*news, *told], _collection([*news, *told])))
        return [Stored(201, FILED) for _ in changes]

    async def holds(self, reference: str) -> bool:
        return False

    async def check(self, study: str, written: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (), ()


def state_of_files(rows: Iterable[OutboxRow], base_url: str) -> CurrentState:
    """What the files written so far say, the latest of each resource."""
    latest: dict[str, Json] = {}
    for row in rows:
        for change in changes_in(row):
            meta = {**change.resource.get("meta", {}), "versionId": FILED}
            latest[change.reference] = {**change.resource, "meta": meta}
    subjects: dict[str, tuple[Json, ...]] = {}
    for reference, resource in latest.items():
        if reference.startswith("ResearchSubject/"):
            patient = patient_of(resource["individual"]["reference"], base_url)
            subjects[patient] = (*subjects.get(patient, ()), resource)
    flags = {reference: one for reference, one in latest.items() if reference.startswith("Flag/")}
    return CurrentState(subjects=subjects, flags=flags)


def write_bundle_file(
    folder: Path,
    decisions: Iterable[Decision],
    *,
    study: StudyReference,
    now: datetime,
    current: CurrentState | None = None,
    memory: Memory | None = None,
) -> Path | None:
    """Write ``bundle-<hash of the decisions>.json`` and return its path; None if there is nothing to say.

    The same decisions give the same name, and a file that is there is left as it is, so a second run changes
    nothing. Pass ``current`` where the server can at least be read.
    """
    plan = plan_writeback(decisions, current or CurrentState(), memory or Memory(), study, now)
    subjects = [one for one in plan.subjects if one.changes]
    if not subjects:
        return None
    changes = [*plan.shared, *(change for one in subjects for change in one.changes)]
    return _keep(folder, "bundle", changes, transaction(changes))


def _keep(folder: Path, kind: str, changes: Sequence[Change], bundle: Json) -> Path:
    key = "\n".join(f"{c.reference} {c.based_on} {c.fingerprint}" for c in changes)
    path = folder / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(encode(bundle) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    return path


def _collection(changes: Iterable[Change]) -> Json:
    entries = [{"resource": change.resource} for change in changes]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _targets(provenance: Change) -> set[str]:
    return {str(one.get("reference", "")) for one in provenance.resource.get("target", ())}
