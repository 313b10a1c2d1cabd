"""Drawing ladders from the data: a Mermaid state diagram and a table, as ``docs/ladders.md`` shows them."""

from __future__ import annotations

from adapter.model.dates import counted
from adapter.model.ladder import ENTRY, DoseStep, Dosing, Ladder, Measure, Review, State, Transition
from adapter.model.quantity import number_text
from adapter.protocol.judge import SYMBOLS


def diagram(ladder: Ladder) -> str:
    """A Mermaid ``stateDiagram-v2``; https://mermaid.js.org/syntax/stateDiagram.html."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {state.id}: {state.id} {state.name}" for state in ladder.states]
    lines.append(f"    [*] --> {ladder.start.id}")
    for state in ladder.states:
        for way in state.next:
            # A semicolon would end the statement and a second colon the label.
            lines.append(f"    {state.id} --> {way.target}: {worded(way)}")
        if state.terminal:
            lines.append(f"    {state.id} --> [*]")
    return "\n".join(lines)


def table(ladder: Ladder) -> str:
    """One row per state: what it asks for, its dose, its review, its ways out."""
    lines = ["| State | Asks for | Dose | Review | Ways out |", "|---|---|---|---|---|"]
    for state in ladder.states:
        ways = "; ".join(f"{worded(way)}: {way.target}" for way in state.next)
        cells = (
            f"{state.id} {state.name} ({state.name_zh})" if state.name_zh else f"{state.id} {state.name}",
            state.action or "-",
            dose_text(state.dose, ladder.dosing),
            _review(state),
            ways or "none, terminal",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def drawn(ladder: Ladder) -> str:
    """The diagram, what is measured, the table and the other readings, as Markdown."""
    parts = [f"```mermaid\n{diagram(ladder)}\n```", _measured(ladder), table(ladder)]
    if ladder.alerts:
        alerts = ", ".join(
            f"`{alert.name}` if {_phrase(alert.measure)} "
            + " and ".join(f"{SYMBOLS[bound.comparison]} {bound.amount.text}" for bound in alert.bounds)
            for alert in ladder.alerts
        )
        parts.append(f"Alerts, which never move the ladder: {alerts}.")
    for other in ladder.alternatives:
        ways = "; ".join(
            f"{name}: " + ", ".join(f"{worded(way)} -> {way.target}" for way in ways)
            for name, ways in other.next
        )
        parts.append(f"Other reading `{other.name}`: {other.reading} ({ways}).")
    return "\n\n".join(parts)


def worded(way: Transition) -> str:
    """``> 2 x and higher than on entry, at the review``."""
    trigger = way.trigger
    if way.after is not None:
        flags = f" [{' '.join(way.flags)}]" if way.flags else ""
        time = way.after if way.after.months else counted(way.after.days, "days")
        return f"after {time}{flags}"
    parts = [" and ".join(f"{SYMBOLS[bound.comparison]} {bound.amount.text}" for bound in trigger.bounds)]
    if trigger.risen:
        parts.append("and higher than on entry")
    if trigger.since is not None:
        passed = counted(trigger.since.days, "days")
        parts.append(f"and at least {passed} after {trigger.since.day.replace('_', ' ')}")
    if trigger.again_within is not None:
        apart = f"{trigger.again_after} to {trigger.again_within}"
        parts.append(f"and so already {apart} days before")
    if trigger.timing == "review":
        parts.append("at the review")
    if way.flags:
        parts.append(f"[{' '.join(way.flags)}]")
    return " ".join(parts)


def dose_text(step: DoseStep | None, dosing: Dosing | None) -> str:
    if step is None or dosing is None:
        return "as is"
    if step.daily is not None:
        return f"{number_text(step.daily)} {dosing.unit}/d"
    if step.change != "factor" or step.factor is None:
        return step.change
    limits = [
        f"{word} {number_text(limit)} {dosing.unit}/d"
        for word, limit in (("not below", dosing.minimum), ("not above", dosing.maximum))
        if limit is not None
    ]
    return ", ".join([f"x {number_text(step.factor)}", *limits])


def _review(state: State) -> str:
    if state.review is None:
        return "-"
    late = {"decides": "a late result decides", "waits": "a late result does not decide"}[state.overdue.late]
    return f"{_window(state.review)}; then {state.overdue.flag or 'overdue'}, {late}"


def _window(review: Review) -> str:
    names = " or ".join("entry" if name == ENTRY else name.replace("_", " ") for name in review.counted_from)
    return f"{review.target} days ({review.first} to {review.last}) after {names}"


def _measured(ladder: Ladder) -> str:
    if not ladder.measure.selection.concepts:
        return f"By the calendar, from {ladder.begin}."
    said = f"Measured: {_phrase(ladder.measure)}."
    if ladder.companion is not None:
        beside = ladder.companion
        said += f" Beside each review: {beside.selection.label}, at most {beside.look_back} days older"
        said += f" (without it `{beside.missing}`)." if beside.missing else "."
    return said


def _phrase(measure: Measure) -> str:
    label = measure.selection.label
    match measure.kind:
        case "fall" | "rise":
            return f"{measure.kind} of {label} against its baseline"
        case "multiple":
            return f"{measure.worst} multiple of the own {measure.limit.replace('_', ' ')} of {label}"
    return f"{label} itself"
