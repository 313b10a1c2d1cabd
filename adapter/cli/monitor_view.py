"""How the monitoring of people on the study looks on a terminal. Subject ids and codes only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adapter.model.decision import Verdict
from adapter.model.monitoring import Due
from adapter.model.results import Difference, Interval, Outcome, ResultsTable
from adapter.monitoring import Done, MonitoringReport, Told
from adapter.trial import Trial

_POPULATIONS = {"evaluated": "evaluated", "itt": "randomised"}
_LATE = ("overdue", "due")
_RULES = {
    "safety": "[bold]Safety[/bold]",
    "exits": "[bold]Exit criteria met; a person decides[/bold]",
    "deviations": "[bold]Deviations[/bold]",
}
WorkersOption = Annotated[
    int,
    typer.Option("--workers", min=0, help="Processes to use; unless given all cores, if worth their start."),
]


@contextmanager
def following(console: Console) -> Iterator[Told]:
    """Whom a monitoring tells its progress: a bar with people, rate and time left on a terminal; elsewhere a
    line a minute."""
    if not console.is_terminal:
        yield _Lines(console).told
        return
    columns = (
        TextColumn("following"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task, began = bar.add_task("", total=None, rate=""), time.monotonic()

        def told(done: Done) -> None:
            bar.update(task, total=done.of, completed=done.people, rate=_rate(done, began))

        yield told


def _rate(done: Done, began: float) -> str:
    return f"{done.people / max(time.monotonic() - began, 0.001):,.0f} people/s, {done.anew} anew"


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = self._said = time.monotonic()

    def told(self, done: Done) -> None:
        now = time.monotonic()
        if now - self._said < 60 or not done.people:
            return
        self._said = now
        left = (now - self._began) / done.people * (done.of - done.people)
        self._console.print(
            f"{done.people} of {done.of} people, {_rate(done, self._began)}, {left:.0f} s left"
        )


class _Result(msgspec.Struct, frozen=True):
    """What is shown of a rule; rows are read one by one, and nothing else of them is decoded."""

    id: str
    verdict: Verdict
    reason: str = ""
    flags: tuple[str, ...] = ()


class _Step(msgspec.Struct, frozen=True):
    on: date


class _Ladder(msgspec.Struct, frozen=True):
    ladder: str
    state: str
    entered: date | None = None
    overdue: bool = False
    steps: tuple[_Step, ...] = ()
    revisions: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class _Row(msgspec.Struct, frozen=True):
    subject: str
    exits: tuple[_Result, ...] = ()
    safety: tuple[_Result, ...] = ()
    deviations: tuple[_Result, ...] = ()
    ladders: tuple[_Ladder, ...] = ()
    due: tuple[Due, ...] = ()


def monitored(console: Console, trial: Trial, report: MonitoringReport) -> None:
    """Outcomes by arm, then whom to look at: safety, proposed exits, ladders, what is due."""
    outcomes(console, trial, report.results)
    texts = {rule.id: rule.text for rule in trial.protocol.plan.walk()}
    lines: dict[str, list[str]] = {name: [] for name in (*_RULES, "ladders", *_LATE)}
    for row in report.each(_Row):
        for name in _RULES:
            lines[name] += _met(row.subject, getattr(row, name), texts)
        lines["ladders"] += _ladders(row)
        for due in row.due:
            if due.status in _LATE:
                lines[due.status].append(f"  {row.subject}  {due.id}  {due.what}  {due.first} to {due.last}")
    for name, title in _RULES.items():
        _section(console, f"{title}: {len(lines[name]) or 'nobody'}", lines[name])
    _section(console, "", lines["ladders"])
    for name in _LATE:
        _section(console, f"[bold]{name.capitalize()}[/bold]: {len(lines[name]) or 'nothing'}", lines[name])


def in_brief(console: Console, report: MonitoringReport) -> None:
    """The rates by arm and how many people there is something to do about."""
    rates(console, report.results)
    counts: Counter[str] = Counter()
    for row in report.each(_Row):
        counts.update(name for name in _RULES if any(_is_met(one) for one in getattr(row, name)))
    names = {"safety": "safety", "exits": "exit criteria", "deviations": "deviations"}
    told = ", ".join(f"{said} {counts[name]}" for name, said in names.items())
    console.print(f"{report.people} people followed; to look at: {told} (adapter monitor shows each)")


def _is_met(found: _Result) -> bool:
    return found.verdict is Verdict.MET


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


def _met(subject: str, found: Iterable[_Result], texts: dict[str, str]) -> Iterator[str]:
    for result in filter(_is_met, found):
        flags = f" [{', '.join(result.flags)}]" if result.flags else ""
        yield f"  {subject}  {result.id}{flags}  {texts.get(result.id, '')}  {result.reason}"


def _ladders(row: _Row) -> Iterator[str]:
    for state in row.ladders:
        if not state.steps and not state.revisions:
            continue
        late = " REVIEW OVERDUE" if state.overdue else ""
        flags = f" [{', '.join(state.flags)}]" if state.flags else ""
        yield f"  {row.subject}  {state.ladder} in {state.state} since {state.entered}{late}{flags}"
        for revision in state.revisions:
            yield f"    {revision}"


def _section(console: Console, title: str, lines: Iterable[str]) -> None:
    if title:
        console.print(title)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _percent(proportion: Decimal | None) -> str:
    return "-" if proportion is None else f"{proportion * 100:.2f}"


def _between(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low * 100:.2f} to {interval.high * 100:.2f}"
