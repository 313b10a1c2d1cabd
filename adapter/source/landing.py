"""What arrived, kept as it arrived, with an account of it: the landing.

A landing is a folder of NDJSON and a ``manifest.json``: what was asked, what came (files, lines, bytes,
SHA-256), what was wrong with it, and coverage. It appears whole or not at all: everything is written to a
sibling folder first (``generations.py``). The same input and the same clock give the same bytes.

A folder of Bulk Data files is landed by :func:`land_folder`; what comes over REST through :class:`Landing
Writer <LandingWriter>`. What a bulk ``$export`` brings is downloaded into a folder and landed from there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from adapter.errors import ConfigError, SourceUntrustworthy
from adapter.model import wire
from adapter.model.candidates import CandidateQuery, Candidates
from adapter.model.coverage import Coverage
from adapter.model.issue import Issue
from adapter.model.resource import RawResource
from adapter.source import bulk_manifest, generations, nominate
from adapter.source.changes import HISTORY, Key, difference, write_history
from adapter.source.generations import MANIFEST
from adapter.source.moved import Pairs, Versions
from adapter.source.ndjson import (
    Block,
    Limits,
    NdjsonFile,
    files_in,
    numbered_lines,
    one_line,
    type_of,
)
from adapter.source.sieve import sieve

FORMAT = "adapter-landing/1"


class LandedFile(msgspec.Struct, frozen=True):
    """One file: its name, what is in it, and its ``path`` if that is another (absolute when referenced).

    ``lines`` counts lines that are not blank; ``types`` are the resource types of its lines, with "" when
    the type of some line cannot be read; ``sha256`` is of the file as stored.
    """

    name: str
    lines: int
    bytes: int
    sha256: str
    types: tuple[str, ...] = ()
    path: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """The account of one landing; ``asked`` holds no personal data and no secrets.

    ``generation`` counts up each time a landing takes the place of another. ``reread`` are the charts
    (``Type/patient``) read again alone since everything was last looked at. ``moved`` are pairs of Patient
    ids to whom different versions of one resource belong (:mod:`adapter.source.moved`); older programs did
    not note them.
    """

    format: str
    landed_at: str
    asked: dict[str, str]
    files: tuple[LandedFile, ...]
    coverage: tuple[Coverage, ...]
    issues: tuple[Issue, ...] = ()
    generation: int = 1
    reread: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    moved: Pairs | msgspec.UnsetType = msgspec.UNSET


class Tally(msgspec.Struct):
    """How many lines the files read hold, and how many were given: the rest were proven others'."""

    read: int = 0
    given: int = 0

    @property
    def sieved(self) -> int:
        return self.read - self.given


class Landing:
    """A landed folder, opened for reading."""

    def __init__(self, folder: Path, manifest: Manifest, limits: Limits | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.limits = limits

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        return self.manifest.coverage

    @property
    def issues(self) -> tuple[Issue, ...]:
        return self.manifest.issues

    @cached_property
    def moved(self) -> Pairs:
        """Pairs of Patient ids to whom different versions of one resource belong; looked for now if an older
        program landed this and did not note them."""
        if self.manifest.moved is not msgspec.UNSET:
            return self.manifest.moved
        versions = Versions()
        for file in self.manifest.files:
            versions.look_at(NdjsonFile(self.path(file), self.limits, name=file.name))
        return versions.moved()

    @property
    def lines(self) -> int:
        """Resources landed, candidates or not."""
        return sum(file.lines for file in self.manifest.files)

    def resources(
        self,
        types: frozenset[str] | None = None,
        *,
        candidates: frozenset[str] | None = None,
        tally: Tally | None = None,
    ) -> Iterator[RawResource]:
        """Landed resources in file and line order.

        ``types`` limits to these resource types (a line whose type cannot be read is always given);
        ``candidates`` sieves: lines proven to be other patients' are dropped before parsing. ``tally`` is
        filled while iterating.
        """
        for file in self.files(types):
            yield from self.resources_of(file, types, candidates=candidates, tally=tally)

    def resources_of(
        self,
        file: LandedFile,
        types: frozenset[str] | None = None,
        *,
        candidates: frozenset[str] | None = None,
        tally: Tally | None = None,
    ) -> Iterator[RawResource]:
        """:meth:`resources` of one of the manifest's files."""
        tally = tally if tally is not None else Tally()
        tally.read += file.lines
        for block in self._blocks_of(file):
            if candidates is None:
                found = numbered_lines(block)
            else:
                kept = sieve(block.data, candidates)
                found = iter((block.first_line + position, line) for position, line in kept)
            for number, line in found:
                kind = type_of(line)
                if types is None or not kind or kind in types:
                    tally.given += 1
                    yield RawResource(line, f"{file.name}:{number}", kind)

    def candidates(self, query: CandidateQuery) -> Candidates:
        """Every patient the query nominates, merged records included."""
        return nominate.candidate_ids(self._blocks, query, self.moved)

    def verify(self) -> None:
        """Compare every file with its hash; raises SourceUntrustworthy naming the first that differs."""
        for file in self.manifest.files:
            with self.path(file).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                    raise SourceUntrustworthy(
                        "the file is not the one that was landed",
                        where=file.name,
                        fix="land the source again; a landing is never edited",
                    )

    def blocks(self, file: LandedFile) -> Iterator[tuple[str, Block]]:
        """The name of one of the manifest's files with each of its blocks."""
        return ((file.name, block) for block in self._blocks_of(file))

    def _blocks(self, types: frozenset[str] | None = None) -> Iterator[tuple[str, Block]]:
        return (block for file in self.files(types) for block in self.blocks(file))

    def _blocks_of(self, file: LandedFile) -> Iterator[Block]:
        return NdjsonFile(self.path(file), self.limits, name=file.name).blocks()

    def files(self, types: frozenset[str] | None) -> Iterator[LandedFile]:
        """Files that may hold one of the types."""
        for file in self.manifest.files:
            if types is None or not types.isdisjoint(file.types) or "" in file.types:
                yield file

    def path(self, file: LandedFile) -> Path:
        """Where the bytes of one of the manifest's files lie."""
        return self.folder / (file.path or file.name)


def open_landing(folder: Path, limits: Limits | None = None) -> Landing:
    """Open a landed folder; raises ConfigError if there is none or its manifest cannot be read."""
    path = folder / MANIFEST
    try:
        manifest = wire.decode(path.read_bytes(), Manifest)
    except FileNotFoundError as fault:
        raise ConfigError("nothing has been landed here", where=str(path), fix="run fetch first") from fault
    except msgspec.MsgspecError as fault:
        raise ConfigError(f"no landing manifest: {fault}", where=str(path), fix="run fetch again") from fault
    if manifest.format != FORMAT:
        raise ConfigError(f"landing format {manifest.format!r}", where=str(path), fix="run fetch again")
    return Landing(folder, manifest, limits)


def land_folder(
    source: Path,
    target: Path,
    *,
    now: datetime,
    copy: bool = True,
    limits: Limits | None = None,
    asked: Mapping[str, str] | None = None,
    issues: Iterable[Issue] = (),
    revises: Landing | None = None,
) -> Landing:
    """Land a folder of ``*.ndjson``, plain, ``.gz`` or ``.zst``, with its Bulk Data manifest if it has one.

    With ``copy=False`` files stay where they are and are referenced by absolute path; they are hashed either
    way; ``issues`` are those known beforehand, ``revises`` is as for :class:`LandingWriter`;
    ``now`` is in the zone of the site. A manifest without files is an export that found nothing, or none of
    whose files came. Raises ConfigError if the folder holds neither, SourceUntrustworthy over a limit.
    """
    export = bulk_manifest.read(source) if source.is_dir() else bulk_manifest.Export()
    paths = files_in(source) if source.is_dir() else []
    if not paths and not export.known:
        raise ConfigError(
            "no *.ndjson, *.ndjson.gz or *.ndjson.zst here",
            where=str(source),
            fix="name the folder of a bulk export",
        )
    with LandingWriter(target, revises) as writer:
        found: list[Issue] = [*export.issues, *issues]
        files = []
        versions = Versions()
        for path in paths:
            if bulk_manifest.is_not_data(export, path.name):
                continue
            stored = path
            if copy:
                stored = writer.staging / path.name
                shutil.copyfile(path, stored)
            landed, wrong = _examine(stored, path.name, limits, versions)
            files.append(landed if copy else msgspec.structs.replace(landed, path=str(path.resolve())))
            found += wrong
        if copy and export.file:
            shutil.copyfile(source / export.file, writer.staging / "bulk-manifest.json")
        counts = {file.name: file.lines for file in files}
        found += bulk_manifest.compare(export, counts)
        present = {file.name: frozenset(file.types) for file in files}
        coverage = bulk_manifest.coverage(export, present, found, bulk_manifest.asked_on(export, now))
        manifest = Manifest(
            FORMAT,
            now.isoformat(),
            {"kind": "folder", "folder": source.name, **export.asked, **(asked or {})},
            tuple(files),
            coverage,
            tuple(found),
            moved=versions.moved(),
        )
        return writer.commit(manifest, limits)


def _examine(
    path: Path, name: str, limits: Limits | None, versions: Versions
) -> tuple[LandedFile, list[Issue]]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    file = NdjsonFile(path, limits, name=name)
    lines, types = versions.look_at(file)
    return LandedFile(name, lines, path.stat().st_size, digest, tuple(sorted(types))), file.issues


class LandingWriter:
    """Stages a landing beside its target; :meth:`commit` makes it appear, anything else leaves no trace.

    With ``revises`` the differences from that landing become part of the history (``changes.py``); ``why``
    then says of a resource that is gone how that is known.
    """

    def __init__(self, target: Path, revises: Landing | None = None) -> None:
        self.target = target
        self.staging = target.with_name(f".{target.name}.partial-{os.getpid()}")
        self.revises = revises
        self.why: dict[Key, str] = {}
        self.changes: Counter[str] = Counter()
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        generations.remove_abandoned(self.target)
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        shutil.rmtree(self.staging, ignore_errors=True)

    def write(self, resource_type: str, raw: bytes) -> None:
        """Append one resource, byte for byte but for line breaks between its tokens."""
        if not re.fullmatch("[A-Za-z]{1,64}", resource_type):
            raise SourceUntrustworthy("a resource type that is no name", where=self.target.name)
        name = f"{resource_type}.ndjson"
        if name not in self._files:
            self._files[name] = (self.staging / name).open("wb")
        self._files[name].write(one_line(raw) + b"\n")

    def finish(
        self,
        *,
        now: datetime,
        asked: Mapping[str, str],
        coverage: Iterable[Coverage],
        issues: Iterable[Issue] = (),
        limits: Limits | None = None,
        standing: Iterable[LandedFile] = (),
        reread: Iterable[str] = (),
    ) -> Landing:
        """Account for the files written and make the landing appear; ``standing`` files of the landing
        revised stay as they are."""
        self._close()
        versions = Versions()
        paths = files_in(self.staging)
        written = [_examine(path, path.name, limits, versions)[0] for path in paths]
        kept = (msgspec.structs.replace(one, path=one.path or one.name) for one in standing)
        files = tuple(sorted((*written, *kept), key=lambda one: one.name))
        manifest = Manifest(
            FORMAT,
            now.isoformat(),
            dict(asked),
            files,
            tuple(coverage),
            tuple(issues),
            reread=tuple(sorted(reread)) or msgspec.UNSET,
            moved=versions.moved(),
        )
        return self.commit(manifest, limits)

    def commit(self, manifest: Manifest, limits: Limits | None = None) -> Landing:
        """Write the manifest and make the landing the one that stands; an older one gives way to it."""
        if not self.target.exists():
            generations.write_whole(self.staging / MANIFEST, _written(manifest))
            self.staging.rename(self.target)
            return Landing(self.target, manifest, limits)
        number = generations.next_generation(self.target)
        place = generations.folder_of(number)
        files = tuple(
            file if file.path else msgspec.structs.replace(file, path=f"{place}/{file.name}")
            for file in manifest.files
        )
        manifest = msgspec.structs.replace(manifest, files=files, generation=number)
        self.staging.rename(self.target / place)
        latest = Landing(self.target, manifest, limits)
        if self.revises is not None:
            both = [{f.path or f.name for f in one.files} for one in (self.revises.manifest, manifest)]
            types = {
                name
                for one in (self.revises.manifest, manifest)
                for f in one.files
                if (f.path or f.name) not in both[0] & both[1]
                for name in f.types
            }
            found = difference(self.revises, latest, types - {""}, self.why)
            stands = self.revises.manifest.generation
            self.changes = write_history(self.target / HISTORY, number, found, stands=stands)
        in_use = [file.path or file.name for one in (manifest, *self._former()) for file in one.files]
        generations.write_whole(self.target / MANIFEST, _written(manifest))
        generations.sweep(self.target, [*in_use, place])
        return latest

    def _former(self) -> list[Manifest]:
        try:
            return [wire.decode((self.target / MANIFEST).read_bytes(), Manifest)]
        except (OSError, msgspec.MsgspecError):
            return []

    def _close(self) -> None:
        for stream in self._files.values():
            stream.close()
        self._files.clear()


def _written(manifest: Manifest) -> bytes:
    return msgspec.json.format(wire.encode(manifest), indent=1) + b"\n"
