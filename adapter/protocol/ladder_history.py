"""What a ladder would have said earlier, with only what was known then.

A reading is known from the day its report was issued (else the day of its sample). A replaced version is
known from its own day until its replacement is. Where the two days are the same, when the correction came is
not on record, and the revision says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from adapter.model.dates import add_days
from adapter.model.facts import Finding
from adapter.model.ladder import Ladder
from adapter.model.monitoring import LadderState, LadderStep
from adapter.protocol.context import Context
from adapter.protocol.ladder_replay import replay

REPLACED = "SUPERSEDED"


class _Known(msgspec.Struct, frozen=True):
    """One version of a reading with the days on which it was the one to go by: from, and before."""

    row: Finding
    since: date
    until: date | None = None


def revisions(ladder: Ladder, context: Context) -> tuple[str, ...]:
    """What replays of earlier days would have done otherwise, in the order in which it became known."""
    watched = _concepts(ladder)
    findings = context.record.findings
    known = {name: _versions(rows) for name, rows in findings.items() if name in watched}
    found: list[str] = []
    for day in _turning_days(known, ladder.turnaround, context):
        before = replay(ladder, _as_known(known, add_days(day, -1), context))
        after = replay(ladder, _as_known(known, day, context))
        found += _differences(ladder, before, after, day, _news(known, day))
    return (*found, *_undated(ladder, known, context))


def _concepts(ladder: Ladder) -> frozenset[str]:
    selections = [ladder.companion.selection] if ladder.companion else []
    for measure in (ladder.measure, *(alert.measure for alert in ladder.alerts)):
        selections += [measure.selection, *(baseline.selection for baseline in measure.baselines)]
    return frozenset(concept for selection in selections for concept in selection.concepts)


def _versions(rows: list[Finding]) -> tuple[_Known, ...]:
    return tuple(
        _Known(row, since, _until(row, rows)) for row in rows if (since := _known_since(row)) is not None
    )


def _known_since(row: Finding) -> date | None:
    """The day of the report, never before the sample."""
    if row.when is None:
        return None
    sampled = row.when.last
    return max(row.issued.last, sampled) if row.issued is not None else sampled


def _until(row: Finding, rows: list[Finding]) -> date | None:
    """The day on which what replaced this reading was known; None if nothing did or nobody can say what."""
    if row.excluded != REPLACED:
        return None
    days = [day for other in rows if _replaces(other, row) and (day := _known_since(other)) is not None]
    return min(days, default=None)


def _replaces(newer: Finding, older: Finding) -> bool:
    if newer is older or newer.method != older.method:
        return False
    if newer.excluded == REPLACED and not _later(newer, older):
        return False
    if newer.source.reference == older.source.reference:
        return True
    return newer.when is not None and older.when is not None and newer.when.order[:3] == older.when.order[:3]


def _later(newer: Finding, older: Finding) -> bool:
    """Of several replaced versions each replaces those that were known before it."""
    new, old = _known_since(newer), _known_since(older)
    return new is not None and old is not None and new > old


def _turning_days(known: dict[str, tuple[_Known, ...]], turnaround: int, context: Context) -> list[date]:
    """Days on which a correction came, or a result later than its laboratory usually takes."""
    days = set()
    for versions in known.values():
        for version in versions:
            if version.row.when is not None and (version.since - version.row.when.last).days > turnaround:
                days.add(version.since)
            if version.until is not None and version.until > version.since:
                days.add(version.until)
    return sorted(day for day in days if day <= context.as_of.last)


def _as_known(known: dict[str, tuple[_Known, ...]], day: date, context: Context) -> Context:
    return context.as_known(day, {name: _standing(versions, day) for name, versions in known.items()})


def _standing(versions: Iterable[_Known], day: date) -> Iterable[Finding]:
    for version in versions:
        if version.since > day:
            continue
        if version.row.excluded != REPLACED:
            yield version.row
        elif version.until is not None and day < version.until and version.row.value is not None:
            yield msgspec.structs.replace(version.row, excluded="")


def _news(known: dict[str, tuple[_Known, ...]], day: date) -> str:
    """Whether that day brought corrections; else what came was late."""
    corrected = any(
        version.until == day and not _undatable(version)
        for versions in known.values()
        for version in versions
    )
    return "corrected" if corrected else "late"


def _differences(ladder: Ladder, before: LadderState, after: LadderState, day: date, news: str) -> list[str]:
    """Moves of earlier days that the day's news took away or added."""
    old = {_move(step): step for step in before.steps if step.source != step.target}
    new = {_move(step): step for step in after.steps if step.source != step.target}
    reason = f"result corrected on {day}" if news == "corrected" else f"a result came on {day}"
    found = [f"{_would_have(step, ladder)}; {reason}" for key, step in old.items() if key not in new]
    latest = add_days(day, -ladder.turnaround)
    found += [
        f"{_was_late(step, ladder, day)}; {reason}"
        for key, step in new.items()
        if key not in old and step.on < min(latest, day)
    ]
    return found


def _undated(ladder: Ladder, known: dict[str, tuple[_Known, ...]], context: Context) -> list[str]:
    """What replaced versions would have done whose day of correction is not on record."""
    pairs = {
        name: [
            version for version in versions if version.until is not None and version.until <= version.since
        ]
        for name, versions in known.items()
    }
    if not any(pairs.values()):
        return []
    findings = dict[str, list[Finding]]()
    for name, versions in pairs.items():
        older = [version.row for version in versions if version.row.value is not None]
        rows = context.record.findings[name]
        newer = [row for row in rows if not any(_replaces(row, old) for old in older)]
        kept = [row for row in newer if row not in older]
        findings[name] = [*kept, *(msgspec.structs.replace(row, excluded="") for row in older)]
    before = replay(ladder, context.as_known(context.as_of.last, findings))
    after = {_move(step) for step in replay(ladder, context).steps}
    return [
        f"{_would_have(step, ladder)}; result corrected since, on a day not on record"
        for step in before.steps
        if step.source != step.target and _move(step) not in after
    ]


def _undatable(version: _Known) -> bool:
    return version.until is not None and version.until <= version.since


def _move(step: LadderStep) -> tuple[str, str, date, str]:
    return (step.source, step.target, step.on, step.dose)


def _would_have(step: LadderStep, ladder: Ladder) -> str:
    name = ladder.state(step.target).name
    return f"would have been {name} on {step.on} ({_path(step)}): {step.trigger}"


def _was_late(step: LadderStep, ladder: Ladder, day: date) -> str:
    return f"{ladder.state(step.target).name} on {step.on} ({_path(step)}) was not known until {day}"


def _path(step: LadderStep) -> str:
    return f"{step.source} -> {step.target}" + (f", dose {step.dose}" if step.dose else "")
