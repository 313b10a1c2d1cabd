"""Reads what the server holds of our notes, and how far people have moved the subject where it shows that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from adapter.errors import SourceRefused
from adapter.store.ledger import Memory
from adapter.writeback import notes
from adapter.writeback import status as statuses
from adapter.writeback.current import find_study, subjects_of
from adapter.writeback.note_plan import NoteState
from adapter.writeback.research_study import StudyReference
from adapter.writeback.resources import Json, reference_of
from adapter.writeback.rungs import NEVER_CHANGED, Way
from adapter.writeback.server import Server

PEOPLE_IN_ONE_SEARCH = 20


async def read_notes(
    server: Server,
    study: StudyReference,
    subjects: Iterable[str],
    memory: Memory,
    aliases: Mapping[str, str],
    way: Way,
) -> NoteState:
    """Raises what :class:`Server` raises; a server that shows no ResearchSubjects is none the worse."""
    wanted = sorted(subjects)
    people = await _statuses(server, study, aliases)
    both = {one: one for one in wanted} | {old: new for old, new in aliases.items() if new in wanted}
    found: dict[str, list[Json]] = {one: [] for one in wanted}
    addresses: dict[str, str] = {}
    for resource in await _held(server, sorted(both), memory, way):
        name = notes.named(resource)
        subject = both.get(_patient(resource))
        if not name or subject is None:
            continue
        known = {**resource, "id": name}
        first = addresses.setdefault(reference_of(known), reference_of(resource))
        if first == reference_of(resource):
            found[subject].append(known)
    there = {reference_of(one) for several in found.values() for one in several}
    ours = [one for one in memory.written if one.startswith(f"{way.rung}/note-") and one not in there]
    addressed = {one: memory.written[one].address or one for one in ours}
    gone = await asyncio.gather(*(server.is_gone(addressed[one]) for one in sorted(ours)))
    deleted = frozenset(one for one, was in zip(sorted(ours), gone, strict=True) if was)
    former = {one: tuple(sorted(old for old, new in aliases.items() if new == one)) for one in wanted}
    return NoteState(
        {one: tuple(several) for one, several in found.items()}, people, addresses, deleted, former
    )


async def doubled(server: Server, subjects: Iterable[str], way: Way) -> dict[str, list[Json]]:
    """Notes of ours that are there more than once under one name, the oldest first, by name."""
    by_name: dict[str, list[Json]] = {}
    for resource in await _held(server, sorted(subjects), Memory(), way):
        if notes.named(resource) and not notes.taken_back(resource):
            by_name.setdefault(notes.named(resource), []).append(resource)
    return {
        name: sorted(several, key=lambda one: (str(one.get("meta", {}).get("lastUpdated", "")), one["id"]))
        for name, several in by_name.items()
        if len(several) > 1
    }


async def _held(server: Server, people: list[str], memory: Memory, way: Way) -> list[Json]:
    """All of the rung's type about these people; without a search, what the ledger knows by its address."""
    if not way.look:
        known = [one.address or one.reference for one in memory.written.values()]
        known += memory.intents if way.client_ids else []
        ours = sorted(one for one in known if one.startswith(f"{way.rung}/"))
        read = await asyncio.gather(*(server.read(one) for one in ours))
        return [one for one in read if one is not None]
    size = 1 if way.rung in NEVER_CHANGED else PEOPLE_IN_ONE_SEARCH
    found: list[Json] = []
    for start in range(0, len(people), size):
        some = ",".join(f"Patient/{one}" for one in people[start : start + size])
        found += await server.search(way.rung, **{way.look: some, "_count": "100"})
    return found


async def _statuses(server: Server, study: StudyReference, aliases: Mapping[str, str]) -> dict[str, str]:
    try:
        people = await subjects_of(server, await find_study(server, study), aliases)
    except SourceRefused:
        return {}
    found = {
        subject: str(several[0].get("status", "")) for subject, several in people.items() if len(several) == 1
    }
    return {subject: status for subject, status in found.items() if statuses.is_code(status)}


def _patient(resource: Json) -> str:
    subject = resource.get("for" if resource.get("resourceType") == "Task" else "subject", {})
    return str(subject.get("reference", "")).split("/_history/")[0].rpartition("/")[2]
