"""Whose a resource is: ours only in the very version that we wrote last, or meant to write."""

from __future__ import annotations

from collections.abc import Iterable

from adapter.store.ledger import Memory, Written
from adapter.writeback.resources import Json, content_sha256, reference_of


def version_of(found: Json | None) -> str:
    return str((found or {}).get("meta", {}).get("versionId", ""))


def owned_status(found: Json, memory: Memory) -> str:
    """The status if it is our own; "" where a person's stands or nothing is known."""
    reference = reference_of(found)
    intent = memory.intents.get(reference)
    if intent is not None and intent.content_sha256 == content_sha256(found):
        return intent.status
    last = memory.written.get(reference)
    return last.status if last is not None and last.version == version_of(found) else ""


def adopted(on_server: Iterable[Json], memory: Memory) -> tuple[Written, ...]:
    """Own writes whose answer was lost and which stand on the server."""
    found = []
    for resource in on_server:
        intent = memory.intents.get(reference_of(resource))
        if intent is not None and intent.content_sha256 == content_sha256(resource):
            fields = (intent.status, intent.content_sha256, intent.fingerprint)
            found.append(Written(intent.reference, version_of(resource), *fields))
    return tuple(found)
