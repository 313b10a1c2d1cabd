"""One person's page: every criterion with its chain, what is missing, the course, what is due.

The chains are those of ``adapter explain``, the visits, ladders and dates those of ``adapter monitor``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from adapter.errors import ConfigError
from adapter.explaining import chains_of, ladders_of, teller, voice_of
from adapter.model.decision import Decision
from adapter.model.issue import Issue
from adapter.model.monitoring import Due, Monitoring, VisitState
from adapter.model.protocol import Criterion, Protocol
from adapter.protocol import settle
from adapter.protocol.answers import answer_to
from adapter.protocol.chain import Chain, results_of
from adapter.protocol.ladder_chain import LadderChain
from adapter.protocol.render.voice import Language, Voice
from adapter.source.landing import open_landing
from adapter.trial import Workspace
from adapter.worklist.board import Board
from adapter.worklist.candidate import Row, Waiting, waiting
from adapter.worklist.questionnaire import form
from adapter.worklist.timeline import Span, Timeline, timeline

BLOCKS = ("inclusion", "exclusion", "endpoints", "exits", "doses", "safety", "deviations")


class Item(msgspec.Struct, frozen=True):
    """A criterion at its depth in the tree. ``blocks`` is true for one that keeps the person out, or open."""

    chain: Chain
    depth: int
    blocks: bool


class Person(msgspec.Struct, frozen=True):
    """Everything on the page that the runs left; ``blocks`` are the criteria by kind, ``said`` the language
    of reasons, ``needs`` how the need of an answer is said, by the question's linkId."""

    row: Row
    decision: Decision
    waiting: tuple[Waiting, ...]
    blocks: Mapping[str, tuple[Item, ...]]
    ladders: tuple[LadderChain, ...]
    visits: tuple[VisitState, ...]
    due: tuple[Due, ...]
    followed: Monitoring | None
    timeline: Timeline
    issues: tuple[Issue, ...]
    merged: tuple[str, ...]
    said: Language = "en"
    needs: Mapping[str, str] = {}


class Identity(msgspec.Struct, frozen=True):
    """What the hospital calls someone: shown to who may see it, kept nowhere."""

    name: str
    identifiers: tuple[str, ...]
    birth: str


def person(board: Board, row: Row, language: Language, span: Span = "all") -> Person:
    """The page of one row of the board."""
    trial = board.trial
    kept, facts = board.decision(row), board.facts(row)
    tells = teller(trial, language)
    decision = tells.decision(kept, facts)
    followed = tells.monitoring(board.followed.get(row.subject), facts)
    voice = voice_of(trial, language)
    results = results_of(decision, followed)
    said: Language = language if decision is not kept else "en"
    questions = form(trial.protocol, language)
    with teller(trial, said).speaking():
        chains = {found.id: found for found in chains_of(trial, results, "", voice, board.ladders)}
        needs = {one.link: answer_to(one.link) for one in (questions.questions if questions else ())}
    waits = waiting(trial.protocol, kept)
    texts, settles = texts_of(trial.protocol, language), _settles(trial.protocol, decision)
    return Person(
        row=row,
        decision=decision,
        waiting=tuple(
            msgspec.structs.replace(one, text=texts[one.criterion], settles=settles[one.criterion])
            for one in waits
        ),
        blocks={
            name: tuple(_items(tops, chains, {one.criterion for one in waits} | set(row.failed)))
            for name, tops in _blocks(trial.protocol).items()
        },
        ladders=ladders_of(trial, followed, "", voice, board.ladders),
        visits=followed.visits if followed is not None else (),
        due=tuple(sorted(followed.due, key=lambda one: (one.target, one.id))) if followed is not None else (),
        followed=followed,
        timeline=timeline(
            trial.protocol,
            facts,
            followed,
            as_of=board.as_of,
            zone=trial.site.zone,
            entered=row.entered,
            span=span,
        ),
        issues=facts.issues,
        merged=facts.subjects[0].merged,
        said=said,
        needs=needs,
    )


def names_of(board: Board, language: Language) -> dict[str, str]:
    """What concepts, drugs, visits and states are called in a language."""
    trial = board.trial
    voice: Voice = voice_of(trial, language)
    shown = {*trial.vocabulary.concepts, *trial.vocabulary.drugs}
    names = {key: voice.name(key) for key in shown}
    chinese = language == "zh"
    names |= {one.id: (one.name_zh if chinese else "") or one.name for one in trial.protocol.visits}
    names |= {one.id: (one.what_zh if chinese else "") or one.what for one in trial.protocol.plan.due}
    return names


def texts_of(protocol: Protocol, language: Language) -> dict[str, str]:
    """The sentence of each criterion."""
    return {one.id: (one.text_zh if language == "zh" else "") or one.text for one in protocol.every()}


def identity(workspace: Workspace, subjects: Iterable[str]) -> Identity:
    """Name and record numbers from the landed Patient; empty where the landing no longer has them."""
    wanted = frozenset(subjects)
    try:
        landing = open_landing(workspace.landing)
    except ConfigError:
        return Identity("", (), "")
    for raw in landing.resources(frozenset({"Patient"}), candidates=wanted):
        try:
            found = msgspec.json.decode(raw.line, type=_Patient)
        except msgspec.MsgspecError:
            continue
        if found.id in wanted:
            return Identity(
                _name(found), tuple(one.value for one in found.identifier if one.value), found.birthDate
            )
    return Identity("", (), "")


def _settles(protocol: Protocol, decision: Decision) -> dict[str, tuple[str, ...]]:
    """What would settle each open question, in the language in which the decision is said."""
    return {one.id: one.settles for one in settle(protocol, decision)}


class _HumanName(msgspec.Struct, frozen=True):
    text: str = ""
    family: str = ""
    given: tuple[str, ...] = ()


class _Identifier(msgspec.Struct, frozen=True):
    value: str = ""


class _Patient(msgspec.Struct, frozen=True):
    id: str = ""
    name: tuple[_HumanName, ...] = ()
    identifier: tuple[_Identifier, ...] = ()
    birthDate: str = ""


def _name(patient: _Patient) -> str:
    written = (one.text or " ".join(filter(None, (one.family, *one.given))) for one in patient.name)
    return next(filter(None, written), "")


def _blocks(protocol: Protocol) -> dict[str, tuple[Criterion, ...]]:
    plan = protocol.plan
    return {
        "inclusion": tuple(one for one in protocol.criteria if one.kind == "inclusion"),
        "exclusion": tuple(one for one in protocol.criteria if one.kind == "exclusion"),
        "endpoints": plan.endpoints,
        "exits": plan.exits,
        "doses": plan.doses,
        "safety": plan.safety,
        "deviations": plan.deviations,
    }


def _items(
    tops: Iterable[Criterion], chains: Mapping[str, Chain], blocking: set[str], depth: int = 0
) -> list[Item]:
    found: list[Item] = []
    for top in tops:
        if top.id in chains:
            found.append(Item(chains[top.id], depth, top.id in blocking))
            found += _items(top.criteria, chains, blocking, depth + 1)
    return found
