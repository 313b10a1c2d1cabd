"""Notes as resources: which carries them on which rung, under which name, and how to know them again.

A note's name (its identifier, and its id where a server lets us give one) says whose it is, what it replaced
and what it said: ``note-<scope>-<after>-<basis>``. So a note is known again even on a server that drops
extensions and gives ids of its own, and the same news after the same note always has the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from adapter.writeback.basic_note import basic_of
from adapter.writeback.communication_note import communication_of
from adapter.writeback.document_note import document_of
from adapter.writeback.identity import profile_url
from adapter.writeback.list_note import list_of
from adapter.writeback.note import NOTE, SYSTEM, Note
from adapter.writeback.resources import Json, validated
from adapter.writeback.rungs import Rung
from adapter.writeback.task_note import task_of

_SIGNS = 16
# What a person says of a note that should never have been, or is done with.
_TAKEN_BACK = frozenset({"entered-in-error", "superseded"})


def scope_of(purpose: str, study: str, subject: str) -> str:
    return _short(purpose, study, subject)


def name_of(note: Note, replaced: str = "") -> str:
    """``replaced`` is the name of the note before, or ""."""
    scope = scope_of(note.purpose, note.study, note.subject)
    return f"note-{scope}-{_short(replaced)}-{note.basis[:_SIGNS]}"


def as_resource(rung: Rung, note: Note, name: str, *, replaced: str = "", address: str = "") -> Json:
    """The resource of this rung; ``replaced`` is the name and ``address`` the reference of the note before.

    Raises :class:`adapter.errors.ExportError` if it would not be valid.
    """
    resource = document_of(note, address) if rung == "DocumentReference" else _PLAIN[rung](note)
    one = {"system": SYSTEM, "value": name}
    own: Json = {
        "id": name,
        "meta": {"profile": [f"{_PROFILES}{rung}"]},
        "extension": note.extensions(replaced),
        "identifier": [one],
    }
    return validated({**resource, **own}, f"TrialNote{rung}")


def with_news(rung: Rung, found: Json, note: Note) -> Json:
    """Our note as it stands on the server, saying the news; its name and what others added stay."""
    name = named(found)
    fresh = as_resource(rung, note, name, replaced=part_of(found, "supersedes"))
    ours = {one["url"] for one in fresh["extension"]}
    others = [one for one in found.get("extension", []) if one.get("url") not in ours]
    meta = {**found.get("meta", {}), "profile": fresh["meta"]["profile"]}
    merged = {**found, **fresh, "meta": meta, "extension": [*fresh["extension"], *others]}
    if rung == "Task":
        merged["status"] = found["status"]
    return validated(merged, f"TrialNote{rung}")


def named(resource: Json) -> str:
    """The name in our identifier, "" if it is none of our notes."""
    found = resource.get("identifier", [])
    several = found if isinstance(found, list) else [found]
    return next((str(one.get("value", "")) for one in several if one.get("system") == SYSTEM), "")


def is_in(scope: str, name: str) -> bool:
    return name.startswith(f"note-{scope}-")


def says(resource: Json, note: Note) -> bool:
    """Whether this note, as it stands, already says all that the other would."""
    basis = part_of(resource, "basis")
    return basis == note.basis if basis else named(resource).endswith(f"-{note.basis[:_SIGNS]}")


def taken_back(resource: Json) -> bool:
    return resource.get("status") in _TAKEN_BACK


def latest(found: Iterable[Json]) -> Json | None:
    """The note that no other one replaced; of several (duplicates) the first by name and id."""
    several = sorted(found, key=lambda one: (named(one), str(one.get("id", ""))))
    followed = {_after(named(one)) for one in several}
    open_ends = [one for one in several if _short(named(one)) not in followed]
    return open_ends[0] if open_ends else None


def _after(name: str) -> str:
    parts = name.split("-")
    return parts[2] if len(parts) == 4 else ""


def part_of(resource: Json, name: str) -> str:
    parts = [
        part for one in resource.get("extension", []) if one.get("url") == NOTE for part in one["extension"]
    ]
    return next((str(part.get("valueString", "")) for part in parts if part.get("url") == name), "")


def _short(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_SIGNS]


_PLAIN = {"List": list_of, "Task": task_of, "Basic": basic_of, "Communication": communication_of}
_PROFILES = profile_url("TrialNote")
