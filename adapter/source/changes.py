"""What became of each resource between one landing and the next, and the bytes that no longer stand.

A landing is compared with the one it revises, resource by resource. Each difference is a :class:`Change`; the
former bytes are kept beside it, so that "result corrected on ..." can be shown long after the server has
forgotten. Both lie under ``history/`` of the landing, named by generation, and are only ever added.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import msgspec

from adapter.model import wire
from adapter.model.resource import RawResource
from adapter.model.versions import Version, compare, version_of

HISTORY = "history"
Key = tuple[str, str]
Kind = Literal["new", "corrected", "rewritten", "set back", "gone"]


class Change(msgspec.Struct, frozen=True):
    """One resource that is not as it was.

    ``kind``: ``new``; ``corrected`` (a newer version); ``rewritten`` (other bytes, no newer version: the
    server writes it otherwise); ``set back`` (an older version than before, as after a restored backup);
    ``gone``. ``why`` says how a resource that is gone is known to be. ``former_sha256`` is the hash of the
    bytes kept in ``history/NNNN.superseded.ndjson``, ``sha256`` of those that stand now; "" if none are.
    """

    reference: str
    kind: Kind
    why: str = ""
    former_version: str = ""
    former_updated: str = ""
    former_sha256: str = ""
    version: str = ""
    updated: str = ""
    sha256: str = ""


class Meta(msgspec.Struct):
    versionId: str = ""
    lastUpdated: str = ""


class Head(msgspec.Struct):
    """What tells one resource from another, and its versions apart; "" where it is not said."""

    resourceType: str = ""
    id: str = ""
    meta: Meta = msgspec.field(default_factory=Meta)

    @property
    def key(self) -> Key:
        return self.resourceType, self.id

    @property
    def version(self) -> Version:
        return version_of(self.meta.versionId, self.meta.lastUpdated)


class Readable(Protocol):
    """A landing as far as it is compared."""

    def resources(self, types: frozenset[str] | None = None) -> Iterator[RawResource]: ...


_HEAD = msgspec.json.Decoder(Head)


def head_of(line: bytes) -> Head:
    """Type, id and version of a line; empty if it cannot be read."""
    try:
        return _HEAD.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Head()


def is_older(line: bytes, than: bytes) -> bool:
    """Whether one version of a resource is known to be older than another: then it must not replace it."""
    return compare(head_of(line).version, head_of(than).version) < 0


class _Was(NamedTuple):
    version_id: str
    updated: str
    sha256: str

    @property
    def version(self) -> Version:
        return version_of(self.version_id, self.updated)


def difference(
    former: Readable, latest: Readable, types: Iterable[str], why: Mapping[Key, str]
) -> Iterator[tuple[Change, bytes]]:
    """Each change with the former bytes (b"" for what is new), by type and id.

    Resources without an id cannot be told apart and are left out. What is held in memory at a time are the
    versions of one type, and the bytes of those of its resources that no longer stand.
    """
    for kind in sorted(types):
        before = _by_id(former, kind)
        after = _by_id(latest, kind)
        changes = [
            change
            for name in sorted(before.keys() | after.keys())
            for change in _changes((kind, name), before.get(name, []), after.get(name, []), why)
        ]
        lost = {change.former_sha256 for change in changes} - {""}
        lines = (
            {raw.sha256: raw.line for raw in former.resources(frozenset({kind})) if raw.sha256 in lost}
            if lost
            else {}
        )
        for change in changes:
            yield change, lines.get(change.former_sha256, b"")


def _by_id(landing: Readable, kind: str) -> dict[str, list[_Was]]:
    found: dict[str, list[_Was]] = {}
    for raw in landing.resources(frozenset({kind})):
        head = head_of(raw.line)
        if head.resourceType == kind and head.id:
            was = _Was(head.meta.versionId, head.meta.lastUpdated, raw.sha256)
            found.setdefault(head.id, []).append(was)
    return found


def _changes(key: Key, before: list[_Was], after: list[_Was], why: Mapping[Key, str]) -> Iterator[Change]:
    stand = {one.sha256 for one in after}
    lost = [one for one in before if one.sha256 not in stand]
    known = {one.sha256 for one in before}
    added = [one for one in after if one.sha256 not in known]
    for was in lost:
        now = added[-1] if added else after[-1] if after else None
        yield _change(key, was, now, why)
    if not lost:
        for now in added:
            yield _change(key, None, now, why)


def _change(key: Key, was: _Was | None, now: _Was | None, why: Mapping[Key, str]) -> Change:
    return Change(
        "/".join(key),
        _kind(was, now),
        why.get(key, ""),
        was.version_id if was else "",
        was.updated if was else "",
        was.sha256 if was else "",
        now.version_id if now else "",
        now.updated if now else "",
        now.sha256 if now else "",
    )


def _kind(was: _Was | None, now: _Was | None) -> Kind:
    if was is None:
        return "new"
    if now is None:
        return "gone"
    order = compare(was.version, now.version)
    return "corrected" if order < 0 else "set back" if order > 0 else "rewritten"


def write_history(
    folder: Path, generation: int, changes: Iterable[tuple[Change, bytes]], *, stands: int
) -> Counter[str]:
    """``NNNN.changes.ndjson`` and ``NNNN.superseded.ndjson``; how many changes there were of each kind.

    ``stands`` is the generation revised: what lies here of later ones was written and never came to be.
    """
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.ndjson"):
        if int(path.name.partition(".")[0]) > stands:
            path.unlink()
    counts: Counter[str] = Counter()
    with (
        (folder / f"{generation:04}.changes.ndjson").open("wb") as told,
        (folder / f"{generation:04}.superseded.ndjson").open("wb") as kept,
    ):
        for change, line in changes:
            counts[change.kind] += 1
            told.write(wire.encode(change) + b"\n")
            if line:
                kept.write(line + b"\n")
    return counts


def read_changes(landing: Path, generation: int) -> Iterator[tuple[int, Change]]:
    """Every change up to a generation, with the generation that brought it, oldest first."""
    for path in sorted((landing / HISTORY).glob("*.changes.ndjson")):
        number = int(path.name.partition(".")[0])
        if number <= generation:
            yield from ((number, change) for change in wire.read_rows(path, Change))


def superseded(landing: Path, sha256: str) -> bytes | None:
    """The bytes that once stood, by their hash; None if they are not in the history."""
    for path in sorted((landing / HISTORY).glob("*.superseded.ndjson")):
        with path.open("rb") as lines:
            for line in lines:
                if hashlib.sha256(line.rstrip(b"\n")).hexdigest() == sha256:
                    return line.rstrip(b"\n")
    return None
