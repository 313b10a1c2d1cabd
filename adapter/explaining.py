"""What is kept about one person, and the chains that explain it: for the terminal and the patient page.

What is kept says its reasons in English. In another language the same facts are judged once more by the same
rules while that language is spoken, and what comes out is shown if its fingerprint is that of what is kept:
the same verdicts, flags and evidence. Otherwise the page shows the English of what is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from msgspec.structs import replace

from adapter.errors import ConfigError, NotFound
from adapter.model.decision import CriterionResult, Decision
from adapter.model.facts import Facts
from adapter.model.ladder import Ladder
from adapter.model.monitoring import Monitoring
from adapter.model.protocol import Protocol
from adapter.monitoring import MonitoringReport
from adapter.pipeline import Screening, Trial
from adapter.protocol.chain import Chain, chain
from adapter.protocol.evaluate import evaluate
from adapter.protocol.ladder_chain import LadderChain, ladder_chain
from adapter.protocol.ladder_load import load_ladders
from adapter.protocol.load import load
from adapter.protocol.monitor import monitor
from adapter.protocol.render.voice import Language, Voice
from adapter.protocol.saying import sayings, speaking


def voice_of(trial: Trial, language: Language) -> Voice:
    """The names of concepts and drugs in a language, from the mapping files."""
    concepts = trial.terminology.concepts
    names: Mapping[str, str] = {
        key: entry.label_zh if language == "zh" else entry.label_en for key, entry in concepts.items()
    }
    return Voice(language, trial.vocabulary, names)


def decision_of(trial: Trial, screening: Screening, subject: str) -> Decision:
    """The kept decision about a person, by Patient.id (also one merged into another) or ``Patient/id``.

    Raises :class:`NotFound` if the screening holds no decision about them, and :class:`ConfigError` if it was
    made with another protocol or another state of this one.
    """
    if screening.protocol != trial.protocol.id:
        raise ConfigError(
            f"the screening here is of {screening.protocol}, not of {trial.protocol.id}",
            where="screening.json",
            fix="name its folder with --protocol",
        )
    now = hashlib.sha256((trial.folder / "protocol.yaml").read_bytes()).hexdigest()
    if screening.versions.get("protocol_sha256", now) != now:
        raise ConfigError(
            "the protocol file has changed since this screening, so its rules no longer explain the verdicts",
            where=str(trial.folder / "protocol.yaml"),
            fix="run adapter screen again",
        )
    asked = subject.removeprefix("Patient/")
    survivors = {old: one.id for one in screening.facts.subjects for old in (one.id, *one.merged)}
    for decision in screening.decisions:
        if decision.subject == survivors.get(asked, asked):
            return decision
    raise NotFound(
        "no decision about this subject in the screening",
        where="adapter explain SUBJECT",
        fix="give the Patient.id of a candidate; screening/decisions.ndjson lists them",
    )


def facts_of(screening: Screening, subject: str) -> Facts:
    """What the screening knew of one person, with the coverage that bears on them."""
    coverage = tuple(row for row in screening.facts.coverage if row.subject in ("", subject))
    return replace(screening.facts.of(subject), coverage=coverage)


def monitored(report: MonitoringReport | None, subject: str) -> Monitoring | None:
    """What is kept about a person who is on the study, if they have been followed."""
    rows = report.rows if report is not None else ()
    return next((row for row in rows if row.subject == subject), None)


def chains_of(
    trial: Trial,
    results: Mapping[str, CriterionResult],
    criterion: str,
    voice: Voice,
    ladders: Sequence[Ladder] | None = None,
) -> tuple[Chain, ...]:
    """The chain of one criterion with those below it, or of every one that there is a result of.

    A ladder's name is no criterion's unless the protocol gives both the same: then there is no chain here.
    ``ladders`` are the trial's, if they are at hand already. Raises :class:`NotFound` for what is neither,
    and for a criterion that is not watched yet.
    """
    known = [found.id for found in trial.protocol.every()]
    names = [ladder.id for ladder in (_ladders(trial) if ladders is None else ladders)]
    if criterion and criterion not in (*known, *names):
        raise NotFound(
            f"{trial.protocol.id} has no criterion or ladder {criterion!r}",
            where="adapter explain SUBJECT CRITERION",
            fix=f"one of {', '.join(dict.fromkeys((*known, *names)))}",
        )
    if criterion in known and criterion not in results:
        raise _not_watched(criterion)
    if criterion and criterion not in known:
        return ()
    wanted = [found.id for found in trial.protocol.criterion(criterion).walk()] if criterion else known
    return tuple(chain(trial.protocol, results, name, voice) for name in wanted if name in results)


def ladders_of(
    trial: Trial,
    followed: Monitoring | None,
    name: str,
    voice: Voice,
    ladders: Sequence[Ladder] | None = None,
) -> tuple[LadderChain, ...]:
    """Where the ladder of that name stands and why, or every ladder if no name is given.

    Raises :class:`NotFound` for a ladder that nothing is kept of about this subject.
    """
    states = {state.ladder: state for state in followed.ladders} if followed is not None else {}
    known = _ladders(trial) if ladders is None else ladders
    wanted = [ladder for ladder in known if name in ("", ladder.id)]
    if name and wanted and name not in states:
        raise _not_watched(name)
    return tuple(ladder_chain(ladder, states[ladder.id], voice) for ladder in wanted if ladder.id in states)


def _ladders(trial: Trial) -> tuple[Ladder, ...]:
    return load_ladders(trial.folder, trial.vocabulary, trial.protocol)


def _not_watched(name: str) -> NotFound:
    return NotFound(
        f"{name} is watched on the study, and nothing is kept of it about this subject",
        where="adapter explain SUBJECT CRITERION",
        fix="run adapter monitor first; it follows those whom a ResearchSubject puts on the study",
    )


class Teller(NamedTuple):
    """One language in which reasons are said: ``words`` by their English, and the protocol read with names
    of that language. Without words it says what is kept, in English."""

    trial: Trial
    language: Language
    words: Mapping[str, str]
    protocol: Protocol
    ladders: tuple[Ladder, ...]

    def speaking(self) -> AbstractContextManager[None]:
        """While the block lasts, reasons and rules are said in this language."""
        return speaking(self.words) if self.words else nullcontext()

    def decision(self, kept: Decision, facts: Facts) -> Decision:
        """The kept decision about the one person of ``facts``, in this language if it can be said in it."""
        if not self.words:
            return kept
        with self.speaking():
            said = evaluate(self.protocol, facts, as_of=kept.as_of, zone=self.trial.site.zone)
        return said if said.fingerprint == kept.fingerprint else kept

    def monitoring(self, kept: Monitoring | None, facts: Facts) -> Monitoring | None:
        """The same for what is kept of somebody on the study."""
        if kept is None or not self.words:
            return kept
        zone, ladders = self.trial.site.zone, self.ladders
        with self.speaking():
            said = monitor(self.protocol, facts, as_of=kept.as_of, zone=zone, ladders=ladders)
        return said if said.fingerprint == kept.fingerprint else kept


_TELLERS: dict[Language, Teller] = {}


def teller(trial: Trial, language: Language) -> Teller:
    """Who says reasons in a language; made again when rules or mappings are others."""
    held = _TELLERS.get(language)
    if held is None or held.trial is not trial:
        held = _TELLERS[language] = _teller(trial, language)
    return held


def _teller(trial: Trial, language: Language) -> Teller:
    words = sayings(language, trial.folder)
    if not words:
        return Teller(trial, language, words, trial.protocol, ())
    voice = voice_of(trial, language)
    known = trial.vocabulary
    named = replace(
        known,
        concepts={key: replace(one, label=voice.name(key)) for key, one in known.concepts.items()},
        drugs={key: replace(one, label=voice.name(key)) for key, one in known.drugs.items()},
    )
    with speaking(words):
        protocol = load(trial.folder, named)
        ladders = load_ladders(trial.folder, named, protocol)
    return Teller(trial, language, words, protocol, ladders)
