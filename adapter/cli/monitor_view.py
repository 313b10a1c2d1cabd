"""How the monitoring of people on the study looks on a terminal. Subject ids and codes only."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from adapter.model.decision import CriterionResult, Verdict
from adapter.model.monitoring import Monitoring
from adapter.model.results import Difference, Interval, Outcome, ResultsTable
from adapter.monitoring import MonitoringReport
from adapter.trial import Trial

_POPULATIONS = {"evaluated": "evaluated", "itt": "randomised"}
_LATE = ("overdue", "due")


def monitored(console: Console, trial: Trial, report: MonitoringReport) -> None:
    """Outcomes by arm, then whom to look at: safety, proposed exits, ladders, what is due."""
    outcomes(console, trial, report.results)
    texts = {rule.id: rule.text for rule in trial.protocol.plan.walk()}
    _people(console, "Safety", texts, ((row, row.safety) for row in report.rows))
    _people(console, "Exit criteria met; a person decides", texts, ((row, row.exits) for row in report.rows))
    _people(console, "Deviations", texts, ((row, row.deviations) for row in report.rows))
    _ladders(console, report.rows)
    _due(console, report.rows)


def in_brief(console: Console, report: MonitoringReport) -> None:
    """The rates by arm and how many people there is something to do about."""
    rates(console, report.results)
    counts = {
        "safety": sum(_is_met(row.safety) for row in report.rows),
        "exit criteria": sum(_is_met(row.exits) for row in report.rows),
        "deviations": sum(_is_met(row.deviations) for row in report.rows),
    }
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    console.print(f"{len(report.rows)} people followed; to look at: {told} (adapter monitor shows each)")


def _is_met(found: Iterable[CriterionResult]) -> bool:
    return any(one.verdict is Verdict.MET for one in found)


def outcomes(console: Console, trial: Trial, found: ResultsTable) -> None:
    """The rates, then for each outcome its sentence, the differences, and who met or misses it."""
    rates(console, found)
    texts = {rule.id: rule.text for rule in trial.protocol.plan.endpoints}
    for outcome in found.outcomes:
        console.print(f"{outcome.id}  {texts.get(outcome.id, '')}", highlight=False, markup=False)
        for difference in outcome.differences:
            console.print(f"  {_difference(difference)}", highlight=False, markup=False)
        _who(console, outcome)


def rates(console: Console, found: ResultsTable) -> None:
    """One line a rate: how many of how many, the exact interval, and how many are missing."""
    table = Table(title=f"Outcomes as of {found.as_of}", title_justify="left", box=None, pad_edge=False)
    for heading in ("outcome", "of the", "arm", "met", "%", "95 % (exact)", "missing"):
        table.add_column(heading, justify="right" if heading in ("met", "%", "missing") else "left")
    for outcome in found.outcomes:
        counts = {count.arm: count for count in outcome.counts}
        for rate in outcome.rates:
            count = counts[rate.arm]
            still_open = f", {count.open} may still come" if count.open else ""
            table.add_row(
                outcome.id,
                _POPULATIONS[rate.population],
                rate.arm or "(no arm)",
                f"{rate.met} of {rate.of}",
                _percent(rate.proportion),
                _between(rate.interval),
                f"{count.missing}{still_open}" if rate.population == "evaluated" else "",
            )
    console.print(table)


def _who(console: Console, outcome: Outcome) -> None:
    for standing, word in (("met", "met"), ("missing", "missing"), ("not_applicable", "not applicable")):
        people = [one.subject for one in outcome.subjects if one.standing == standing]
        if people:
            console.print(f"  {word}: {', '.join(people)}", highlight=False, soft_wrap=True)


def _difference(found: Difference) -> str:
    which = f"{found.arm} less {found.against}, {_POPULATIONS[found.population]}"
    return f"{which}: {found.difference * 100:+.2f} points ({_between(found.interval)}, Newcombe)"


def _people(
    console: Console,
    title: str,
    texts: dict[str, str],
    results: Iterable[tuple[Monitoring, tuple[CriterionResult, ...]]],
) -> None:
    found = [
        (row.subject, result)
        for row, several in results
        for result in several
        if result.verdict is Verdict.MET
    ]
    console.print(f"[bold]{title}[/bold]: {len(found) or 'nobody'}")
    for subject, result in found:
        flags = f" [{', '.join(result.flags)}]" if result.flags else ""
        line = f"  {subject}  {result.id}{flags}  {texts.get(result.id, '')}  {result.reason}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _ladders(console: Console, rows: Iterable[Monitoring]) -> None:
    for row in rows:
        for state in row.ladders:
            if not state.steps and not state.revisions:
                continue
            late = " REVIEW OVERDUE" if state.overdue else ""
            flags = f" [{', '.join(state.flags)}]" if state.flags else ""
            line = f"  {row.subject}  {state.ladder} in {state.state} since {state.entered}{late}{flags}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
            for revision in state.revisions:
                console.print(f"    {revision}", highlight=False, markup=False, soft_wrap=True)


def _due(console: Console, rows: Iterable[Monitoring]) -> None:
    for status in _LATE:
        found = [(row.subject, due) for row in rows for due in row.due if due.status == status]
        console.print(f"[bold]{status.capitalize()}[/bold]: {len(found) or 'nothing'}")
        for subject, due in found:
            line = f"  {subject}  {due.id}  {due.what}  {due.first} to {due.last}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _percent(proportion: Decimal | None) -> str:
    return "-" if proportion is None else f"{proportion * 100:.2f}"


def _between(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low * 100:.2f} to {interval.high * 100:.2f}"
