"""``adapter explain``: the chain of verdicts of one person, for the terminal of those who may see it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape

from adapter.errors import ConfigError, NotFound
from adapter.model.decision import CriterionResult, Decision, Evidence, Overall, Verdict
from adapter.model.monitoring import Monitoring
from adapter.monitoring import MonitoringReport
from adapter.pipeline import Screening, Trial
from adapter.protocol import settle
from adapter.protocol.chain import Chain, RuleLine, chain
from adapter.protocol.render.voice import Language, Voice

_LEFT = 10


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


def monitored(report: MonitoringReport | None, subject: str) -> Monitoring | None:
    """What is kept about a person who is on the study, if they have been followed."""
    rows = report.rows if report is not None else ()
    return next((row for row in rows if row.subject == subject), None)


def chains_of(
    trial: Trial, results: Mapping[str, CriterionResult], criterion: str, voice: Voice
) -> tuple[Chain, ...]:
    """The chain of one criterion with those below it, or of every one that there is a result of.

    Raises :class:`NotFound` for a criterion that is not there, or not watched yet.
    """
    known = [found.id for found in trial.protocol.every()]
    if criterion and criterion not in known:
        raise NotFound(
            f"{trial.protocol.id} has no criterion {criterion!r}",
            where="adapter explain SUBJECT CRITERION",
            fix=f"one of {', '.join(known)}",
        )
    if criterion and criterion not in results:
        raise NotFound(
            f"{criterion} is watched on the study, and nothing is kept of it about this subject",
            where="adapter explain SUBJECT CRITERION",
            fix="run adapter monitor first; it follows those whom a ResearchSubject puts on the study",
        )
    wanted = [found.id for found in trial.protocol.criterion(criterion).walk()] if criterion else known
    return tuple(chain(trial.protocol, results, name, voice) for name in wanted if name in results)


def overall(console: Console, trial: Trial, decision: Decision) -> None:
    """The overall verdict and, while it is open, what would settle it."""
    _say(
        console,
        f"{decision.subject}  {decision.protocol} {decision.protocol_version}  as of {decision.as_of}",
    )
    looks = ", a person has to look" if decision.review else ""
    _say(console, f"[bold]{decision.overall.value.upper()}[/bold]{looks}")
    if decision.overall is Overall.UNDETERMINED:
        for question in settle(trial.protocol, decision):
            _say(console, f"  {question.id:<9}open: {escape('; '.join(question.settles))}")
    _say(console, "")


def show(console: Console, found: Chain, *, alone: bool = True) -> None:
    """One criterion: sentence, rule, readings, comparison, verdict, other readings, what would change it.

    Among many (``alone`` false) the lines that would change it are not repeated: they stand under the rule.
    """
    _say(console, f"[bold]{found.id}[/bold]  {found.kind}  [bold]{_word(found.verdict.value)}[/bold]")
    _row(console, "sentence", f"{found.text}  ({found.source})" if found.source else found.text)
    for number, line in enumerate(found.rule):
        _rule(console, "rule" if number == 0 else "", line)
    if found.simple:
        _row(console, "", "not met if that is false, unknown while it is not known")
    for name, meaning in found.readings:
        _row(console, "", f"“{name}” is {meaning}")
    for part in found.parts:
        _row(console, "part", f"{part.id} {_word(part.verdict.value)}: {part.text}")
    _evidence(console, "used", found.used)
    _evidence(console, "ignored", found.ignored)
    _evidence(console, "support", found.support)
    _row(console, "verdict", f"{_word(found.verdict.value)}: {found.reason}")
    if found.flags:
        _row(console, "flags", ", ".join(found.flags) + ("; a person has to look" if found.review else ""))
    for other in found.alternatives:
        _row(console, "if read", f"{other.reading}: {_word(other.verdict.value)}")
    if found.distance:
        _row(console, "distance", found.distance)
    for text in found.settles:
        _row(console, "settles", text)
    if alone:
        _changes(console, found)
    _say(console, "")


def _changes(console: Console, found: Chain) -> None:
    if found.simple and found.verdict is not Verdict.UNKNOWN:
        _row(console, "to change", f"the rule's condition would have to be {_flip(found.verdict)}")
    for line in () if found.simple else found.other_lines:
        _rule(console, "to change", line)


def _flip(verdict: Verdict) -> str:
    return "false" if verdict is Verdict.MET else "true"


def _rule(console: Console, label: str, line: RuleLine) -> None:
    extra = [f"because {line.because}"] if line.because else []
    extra += [f"flags {', '.join(line.flags)}"] if line.flags else []
    extra += ["a person looks"] if line.review else []
    tail = f"  ({'; '.join(extra)})" if extra else ""
    (_, first), *rest = line.when
    _row(console, label, f"{_word(line.verdict.value)} when {first}{tail}")
    for depth, text in rest:
        _row(console, "", "  " * depth + text)


def _evidence(console: Console, label: str, rows: Iterable[Evidence]) -> None:
    for number, row in enumerate(rows):
        version = f" v{row.source.version}" if row.source.version else ""
        parts = (f"{row.source.reference}{version}", row.source.path, row.when, row.concept, row.original)
        _row(console, label if number == 0 else "", "  ".join(part for part in parts if part))
        if row.conversion or (row.value and row.value != row.original):
            step = f" by {row.conversion}" if row.conversion else ""
            _row(console, "", f"  = {row.value}{step}")
        for text in (row.compared, f"because: {row.why}" if row.why else ""):
            if text:
                _row(console, "", f"  {text}")
        for origin in row.derived_from:
            _row(
                console,
                "",
                f"  derived from {origin.reference}" + (f" v{origin.version}" if origin.version else ""),
            )


def _word(verdict: str) -> str:
    return verdict.replace("_", " ")


def _row(console: Console, label: str, text: str) -> None:
    _say(console, f"  {label:<{_LEFT}} {escape(text)}")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
