"""Who may be a candidate: passes over the ranges, each of which leaves what it found for the next time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.candidates import CandidateQuery, Candidates
from adapter.model.issue import Issue
from adapter.screening.parallel import work
from adapter.screening.parallel.underway import PASSED, Underway
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
        some = _passed(run, "studies", pieces, named, frozenset[str], work.studies, query.studies)
        studies = studies.union(*some)
    asked = sha256(
        *(",".join(sorted(part)) for part in (query.codes, query.texts, query.studies, studies)),
        ",".join(sorted(query.resource_types)),
    )
    found = _nominations(run, asked, query, studies)

    def link(identifiers: frozenset[nominate.Identifier]) -> list[nominate.Linked]:
        named = sha256(*(f"{system} {value}" for system, value in sorted(identifiers)))
        pieces = run.of(nominate.PATIENT)
        return _passed(run, "records", pieces, named, nominate.Linked, work.linked, identifiers)

    whom = nominate.together(found)._replace(issues=())
    candidates = nominate.candidates_of(whom, link, run.landing.moved)
    return Nomination(candidates, list(zip(run.ranges, (one.issues for one in found), strict=True)))


def _nominations(
    run: Underway, asked: str, query: CandidateQuery, studies: frozenset[str]
) -> list[nominate.Nominated]:
    """Whom each range nominates. Every range is read, for its roll: but once, whatever is asked later."""
    asking = frozenset(run.of(query.resource_types))
    found: dict[int, nominate.Nominated] = {}
    left: dict[int, tuple[Callable[..., nominate.Nominated], tuple[Any, ...]]] = {}
    for number, piece in enumerate(run.ranges):
        roll, target = run.roll(piece), run.kept.named_by("candidates", run.kept.identity_of(piece), asked)
        if piece in asking and not (roll.exists() and target.exists()):
            left[number] = work.nominated, (piece, roll, query, studies, target)
        elif not roll.exists():
            left[number] = work.rolled, (piece, roll)
        else:
            found[number] = _known(target, nominate.Nominated) or nominate.Nominated()
    found.update(run.over("candidates", run.ranges, left, _seconds(run.ranges, left)))
    return [found[number] for number in range(len(run.ranges))]


def _passed(
    run: Underway,
    name: str,
    pieces: Sequence[Range],
    asked: str,
    kind: type[T],
    step: Callable[..., T],
    argument: object,
) -> list[T]:
    """One pass over some ranges: what earlier runs left, and the rest now."""
    found: dict[int, T] = {}
    left: dict[int, tuple[Callable[..., T], tuple[Any, ...]]] = {}
    for number, piece in enumerate(pieces):
        target = run.kept.named_by(name, run.kept.identity_of(piece), asked)
        known = _known(target, kind)
        if known is not None:
            found[number] = known
        else:
            left[number] = step, (piece, argument, target)
    found.update(run.over(name, pieces, left, _seconds(pieces, left)))
    return [found[number] for number in range(len(pieces))]


def _seconds(pieces: Sequence[Range], left: Iterable[int]) -> float:
    return sum(pieces[number].bytes for number in left) / PASSED


def _known(target: Path, kind: type[T]) -> T | None:
    """What an earlier run left there, if it did."""
    try:
        return _WIRE.decode(target.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
