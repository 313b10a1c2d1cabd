"""Which notes to write, decided without touching anything: at most one that counts, per person and rung.

A note is changed in place only where the rung allows it and it is in the very version we wrote; otherwise the
news goes into a new one that names the old. A note that a person took back or deleted is not repeated until
there is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from adapter.errors import ExportError
from adapter.store.ledger import Memory, Written
from adapter.writeback import notes
from adapter.writeback import status as statuses
from adapter.writeback.note import Note
from adapter.writeback.ownership import owned_status, version_of
from adapter.writeback.plan import Change, Plan, SubjectPlan
from adapter.writeback.resources import Json, reference_of
from adapter.writeback.rungs import Way

STANDS = "told"  # what the ledger remembers as the status of a note of ours


class NoteState(msgspec.Struct, frozen=True):
    """What the server holds. ``found`` are our notes by Patient.id, under the ids we know them by (see
    ``addresses``, from those references to the server's own); ``people`` the statuses of ResearchSubjects
    by Patient.id, where the server shows them; ``gone`` references that were deleted; ``former`` the ids of
    records that were merged into one, by its id."""

    found: Mapping[str, tuple[Json, ...]] = {}
    people: Mapping[str, str] = {}
    addresses: Mapping[str, str] = {}
    gone: frozenset[str] = frozenset()
    former: Mapping[str, tuple[str, ...]] = {}


class Told(msgspec.Struct, frozen=True):
    """A note to plan; ``needed`` is false where it only matters if something was said before, ``refused`` a
    name from GLOSSARY.md if it must not be written at all."""

    note: Note
    needed: bool = True
    refused: str = ""


def plan_notes(told: Iterable[Told], state: NoteState, memory: Memory, way: Way) -> Plan:
    """One plan a person, in the order of their ids."""
    ordered = sorted(told, key=lambda one: one.note.subject)
    return Plan((), tuple(_subject(one, state, memory, way) for one in ordered))


def _subject(one: Told, state: NoteState, memory: Memory, way: Way) -> SubjectPlan:
    note, before = one.note, state.people.get(one.note.subject, "")
    said = SubjectPlan(note.subject, "unchanged", (), before, before, note.verdict)
    if one.refused:
        return msgspec.structs.replace(said, outcome="refused", reason=one.refused)
    if note.purpose == "screening" and before and statuses.stage_of(before) in ("registered", "over"):
        return msgspec.structs.replace(said, outcome="respected_human", reason="SCREENING_OVER")
    same = (note.subject, *state.former.get(note.subject, ()))
    scopes = tuple(notes.scope_of(note.purpose, note.study, one) for one in same)
    held = [
        one
        for one in state.found.get(note.subject, ())
        if any(notes.is_in(scope, notes.named(one)) for scope in scopes)
    ]
    said = msgspec.structs.replace(said, adopted=_arrived(held, state, memory))
    last = notes.latest(held)
    blind = not way.look and not way.client_ids and _under_way(way, scopes, memory)
    if last is None and blind:
        return msgspec.structs.replace(said, outcome="unknown", reason="NO_WAY_TO_LOOK")
    if last is None and not one.needed:
        return msgspec.structs.replace(said, outcome="not_needed", reason="NEVER_A_CANDIDATE")
    if last is not None and notes.says(last, note):
        if notes.taken_back(last):
            return msgspec.structs.replace(said, outcome="respected_human", reason="CLOSED_BY_PERSON")
        return said
    try:
        change = _change(note, last, state, memory, way)
    except ExportError as fault:
        return msgspec.structs.replace(said, outcome="refused", reason=f"INVALID: {fault.message}")
    if change.reference in state.gone:
        return msgspec.structs.replace(said, outcome="respected_human", reason="DELETED_BY_PERSON")
    if blind:
        return msgspec.structs.replace(said, outcome="unknown", reason="NO_WAY_TO_LOOK")
    outcome = "created" if last is None else "updated"
    return msgspec.structs.replace(said, outcome=outcome, changes=(change,), after=note.proposed_status)


def _change(note: Note, last: Json | None, state: NoteState, memory: Memory, way: Way) -> Change:
    address = state.addresses.get(reference_of(last), reference_of(last)) if last is not None else ""
    if last is not None and _may_change(last, memory, way):
        fresh = notes.with_news(way.rung, last, note)
        return Change(fresh, version_of(last), STANDS, note.fingerprint, address)
    before = notes.named(last) if last is not None else ""
    name = notes.name_of(note, before)
    resource = notes.as_resource(way.rung, note, name, replaced=before, address=address)
    return Change(resource, "", STANDS, note.fingerprint)


def _under_way(way: Way, scopes: Iterable[str], memory: Memory) -> bool:
    """Whether a note about this person was sent and never answered, whatever it said."""
    sent = [name for kind, _, name in (one.partition("/") for one in memory.intents) if kind == way.rung]
    return any(notes.is_in(scope, name) for scope in scopes for name in sent)


def _may_change(last: Json, memory: Memory, way: Way) -> bool:
    """Only with a version can an update be guarded against a person's change."""
    ours = bool(owned_status(last, memory)) and not notes.taken_back(last)
    return ours and way.updates and bool(version_of(last))


def _arrived(held: Iterable[Json], state: NoteState, memory: Memory) -> tuple[Written, ...]:
    """Notes whose answer was lost and which are there: known by name, because servers add to what they keep.
    One that was to be changed counts only if it says what was meant."""
    found = []
    for resource in held:
        reference = reference_of(resource)
        intent = memory.intents.get(reference)
        if intent is None or (reference in memory.written and fingerprint_of(resource) != intent.fingerprint):
            continue
        fields = (intent.status, intent.content_sha256, intent.fingerprint)
        address = state.addresses.get(reference, reference)
        known = "" if address == reference else address
        found.append(Written(reference, version_of(resource), *fields, known))
    return tuple(found)


def fingerprint_of(resource: Json) -> str:
    return notes.part_of(resource, "fingerprint")
