"""The last rung, for servers that take nothing: the same transaction as a file for the CTMS or a person.

The file is not blind: every create says ``If-None-Match: *`` and every update ``If-Match``, so a server that
loads it later refuses what a person has changed meanwhile (HAPI ignores the former). The rungs between
(List, Task, Basic, Communication, DocumentReference) come with the ladder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from adapter.model.decision import Decision
from adapter.store.ledger import Memory
from adapter.writeback.plan import CurrentState, plan_writeback, transaction
from adapter.writeback.research_study import StudyReference
from adapter.writeback.resources import encode

RUNG = "file"


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
    key = "\n".join(f"{c.reference} {c.based_on} {c.fingerprint}" for c in changes)
    path = folder / f"bundle-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(encode(transaction(changes)) + b"\n")
        os.replace(partial, path)
    return path
