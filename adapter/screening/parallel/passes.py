"""Who may be a candidate: passes over the ranges, each of which leaves what it found for the next time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.candidates import Candidates
from adapter.model.issue import Issue
from adapter.screening.parallel import work
from adapter.screening.parallel.underway import Underway
from adapter.screening.parallel.workfolder import sha256
from adapter.source import nominate
from adapter.source.ranges import Range

T = TypeVar("T")
_WIRE = msgspec.msgpack


class Nomination(NamedTuple):
    """The candidates, and what lines of each range nominate nobody who can be told."""

    candidates: Candidates
    issues: Sequence[tuple[Range, tuple[Issue, ...]]]


def nominated(run: Underway) -> Nomination:
    """Everybody the protocol's query nominates, merged records included."""
    trial = run.task.trial
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    studies: frozenset[str] = frozenset()
    if query.studies:
        named = sha256(*sorted(query.studies))
        pieces = run.of(nominate.STUDY)
        studies = studies.union(
            *_passed(run, "studies", pieces, named, frozenset[str], work.studies, query.studies)
        )
    asked = sha256(
        *(",".join(sorted(part)) for part in (query.codes, query.texts, query.studies, studies)),
        ",".join(sorted(query.resource_types)),
    )
    pieces = run.of(query.resource_types)
    found = _passed(run, "candidates", pieces, asked, nominate.Nominated, work.nominated, query, studies)
    ids = frozenset(name for one in found for name in one.ids)
    identifiers = frozenset(name for one in found for name in one.identifiers)
    links: list[nominate.Linked] = []
    if ids or identifiers:
        named = sha256(*(f"{system} {value}" for system, value in sorted(identifiers)))
        patients = run.of(nominate.PATIENT)
        links = _passed(run, "records", patients, named, nominate.Linked, work.linked, identifiers)
    candidates = nominate.candidates_of(
        nominate.Nominated(ids, identifiers, ()),
        nominate.Linked(
            frozenset(name for one in links for name in one.known),
            frozenset(pair for one in links for pair in one.pairs),
        ),
        run.landing.moved,
    )
    return Nomination(candidates, list(zip(pieces, (one.issues for one in found), strict=True)))


def _passed(
    run: Underway,
    name: str,
    pieces: Sequence[Range],
    asked: str,
    kind: type[T],
    step: Callable[..., T],
    *arguments: object,
) -> list[T]:
    """One pass over some ranges: what earlier runs left, and the rest now."""
    found: dict[int, T] = {}
    left: dict[int, tuple[Callable[..., T], tuple[Any, ...]]] = {}
    for number, piece in enumerate(pieces):
        target: Path = run.kept.named_by(name, run.kept.identity_of(piece), asked)
        try:
            found[number] = _WIRE.decode(target.read_bytes(), type=kind)
        except FileNotFoundError:
            left[number] = step, (piece, *arguments, target)
    found.update(run.over(name, pieces, left))
    return [found[number] for number in range(len(pieces))]
