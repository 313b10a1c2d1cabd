"""Between a plan and the outbox: what exactly would be written, and the hash that a person's leave binds to.

The hash covers what is said about someone and not the Provenance beside it, which carries the time, nor the
versions it is based on: another version on the server makes the same words no other words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from adapter.store.outbox import Draft, OutboxRow
from adapter.writeback.plan import Change, SubjectPlan
from adapter.writeback.resources import Json, content_sha256, decode, encode
from adapter.writeback.rungs import Rung


def draft_of(one: SubjectPlan, study: str, purpose: str, rung: Rung) -> Draft:
    fingerprint = next((change.fingerprint for change in one.changes if change.fingerprint), "")
    return Draft(
        study,
        purpose,
        one.subject,
        rung,
        _hash(one.changes),
        fingerprint,
        one.verdict,
        one.after,
        encode({"changes": [_kept(change) for change in one.changes]}),
    )


def changes_in(row: OutboxRow) -> tuple[Change, ...]:
    """The changes of a row as they were planned."""
    return tuple(Change(**one) for one in decode(row.body)["changes"])


def is_explanation(change: Change) -> bool:
    return change.reference.startswith("Provenance/")


def _hash(changes: Iterable[Change]) -> str:
    every = tuple(changes)
    said = [change for change in every if not is_explanation(change)] or every
    content = [[one.reference, one.owned_status, content_sha256(one.resource)] for one in said]
    return hashlib.sha256(encode({"content": content})).hexdigest()


def _kept(change: Change) -> Json:
    return {
        "resource": change.resource,
        "based_on": change.based_on,
        "owned_status": change.owned_status,
        "fingerprint": change.fingerprint,
        "address": change.address,
    }
