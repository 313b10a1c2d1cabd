"""One package as its page shows it: read from its manifest, and from those of its parts, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from adapter.exports.adam.rules import ADAM_RULES
from adapter.exports.conformance import RULES
from adapter.web.sponsor.shelf import Held, Shelf

_MANIFEST = "manifest.json"


class File(NamedTuple):
    """``path`` within the package, ``size`` in bytes; ``format`` is its folder, "" for a document."""

    path: str
    sha256: str
    size: int
    format: str = ""


class Dataset(NamedTuple):
    name: str
    label: str
    rows: int
    files: tuple[File, ...]


class Remark(NamedTuple):
    """What a rule of conformance found so often, and why it was let through, if a person waived it."""

    rule: str
    says: str
    dataset: str
    variable: str
    times: int
    reason: str = ""


class Check(NamedTuple):
    """What one part was checked for; ``part`` is "" for the package itself. ``errors`` is None if the
    manifest does not tell of checks."""

    part: str
    errors: int | None
    warnings: tuple[Remark, ...]
    waived: tuple[Remark, ...]


class Package(NamedTuple):
    id: str
    time: str
    study: str
    site: str
    profile: str
    note: str
    sha256: str
    standards: Mapping[str, str]
    program: str
    protocol: str
    datasets: tuple[Dataset, ...]
    documents: tuple[File, ...]
    checks: tuple[Check, ...]
    withheld: Mapping[str, int]

    @property
    def files(self) -> tuple[File, ...]:
        """Every file, by path."""
        both = (*self.documents, *(file for one in self.datasets for file in one.files))
        return tuple(sorted(both))

    @property
    def size(self) -> int:
        return sum(one.size for one in self.files)

    @property
    def errors(self) -> int | None:
        """Of all parts; None if one of them does not tell."""
        found = [one.errors for one in self.checks]
        return None if None in found else sum(one for one in found if one is not None)


def package_of(held: Held, shelf: Shelf) -> Package:
    """The page's content; raises :class:`adapter.web.sponsor.shelf.Damaged` for a part that is not whole."""
    told = held.content
    datasets = tuple(
        Dataset(one["name"], one["label"], one["rows"], tuple(_files(held, one["files"], of_dataset=True)))
        for one in told["datasets"]
    )
    return Package(
        id=held.id,
        time=held.time,
        study=held.scope.study,
        site=held.scope.site,
        profile=held.scope.profile,
        note=told["pseudonymisation"].get("note", ""),
        sha256=held.sha256,
        standards=told.get("standards", {}),
        program=f"{told['producer']['name']} {told['producer']['version']}",
        protocol=told.get("versions", {}).get("protocol", ""),
        datasets=datasets,
        documents=tuple(_files(held, told.get("documents", {}), of_dataset=False)),
        checks=(_check("", told.get("checks", {})), *_parts(held, shelf)),
        withheld=told.get("withheld", {}),
    )


def sums(held: Held) -> str:
    """``SHA256SUMS`` of every file, as ``sha256sum --check`` of GNU coreutils reads it."""
    return "".join(f"{told.sha256}  {path}\n" for path, told in held.files.items())


def _files(held: Held, paths: Mapping[str, Any], *, of_dataset: bool) -> Iterator[File]:
    for path in paths:
        kind = PurePosixPath(path).parent.name if of_dataset else ""
        yield File(path, held.files[path].sha256, held.files[path].size, kind)


def _parts(held: Held, shelf: Shelf) -> Iterator[Check]:
    for path in held.files:
        if PurePosixPath(path).name == _MANIFEST:
            opened = shelf.open(held, path)
            try:
                told = json.loads(b"".join(opened.pieces()))
            finally:
                opened.close()
            yield _check(str(PurePosixPath(path).parent), told.get("checks", {}))


def _check(part: str, told: Mapping[str, Any]) -> Check:
    def remarks(name: str) -> tuple[Remark, ...]:
        return tuple(_remark(one) for one in told.get(name, ()))

    return Check(part, told.get("errors"), remarks("warnings"), remarks("waived"))


def _remark(told: Mapping[str, Any]) -> Remark:
    _, says = {**ADAM_RULES, **RULES}.get(told["rule"], ("", ""))
    return Remark(
        told["rule"], says, told["dataset"], told["variable"], told["count"], told.get("reason", "")
    )
