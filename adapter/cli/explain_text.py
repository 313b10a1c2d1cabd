"""``adapter explain`` on the terminal of those who may see it: chains of verdicts and of ladders."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

from adapter.cli.terminal import plain
from adapter.model.decision import Decision, Evidence, Overall, Verdict
from adapter.protocol import settle
from adapter.protocol.chain import Chain, RuleLine
from adapter.protocol.evaluate import pointer
from adapter.protocol.ladder_chain import LadderChain, LadderMove
from adapter.protocol.render.voice import Voice
from adapter.trial import Trial

_LEFT = 10


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


def show(console: Console, found: Chain, voice: Voice, *, alone: bool = True) -> None:
    """One criterion: sentence, rule, readings, comparison, verdict, other readings, what would change it.

    Among many (``alone`` false) the lines that would change it are not repeated: they stand under the rule.
    """
    page = _Page(console, voice)
    verdict = page.verdict(found.verdict)
    _say(console, f"[bold]{found.id}[/bold]  {voice.phrase(f'kind_of.{found.kind}')}  [bold]{verdict}[/bold]")
    page.row("sentence", _sourced(found.text, found.source))
    for number, line in enumerate(found.rule):
        page.rule("rule" if number == 0 else "", line)
    if found.simple:
        page.row("", page.said("rule_simple"))
    for name, meaning in found.readings:
        page.row("", page.said("means", name=name, meaning=meaning))
    for part in found.parts:
        page.row("part", f"{part.id} {page.verdict(part.verdict)}: {part.text}")
    page.evidence("used", found.used)
    page.evidence("ignored", found.ignored)
    page.evidence("support", found.support)
    page.row("verdict", f"{verdict}: {found.reason}")
    if found.flags:
        page.row("flags", ", ".join(found.flags) + (f"; {page.said('looks')}" if found.review else ""))
    for other in found.alternatives:
        page.row("if_read", f"{other.reading}: {page.verdict(other.verdict)}")
    if found.distance:
        page.row("distance", found.distance)
    for text in found.settles:
        page.row("settles", text)
    if alone:
        _changes(page, found)
    _say(console, "")


def _changes(page: _Page, found: Chain) -> None:
    if found.simple and found.verdict is not Verdict.UNKNOWN:
        page.row("to_change", page.said("flip.false" if found.verdict is Verdict.MET else "flip.true"))
    for line in () if found.simple else found.other_lines:
        page.rule("to_change", line)


def show_ladder(console: Console, found: LadderChain, voice: Voice) -> None:
    """One ladder: where it stands, how it came to that, what is due, what was corrected, what leads on."""
    page = _Page(console, voice)
    _say(console, f"[bold]{found.id}[/bold]  {page.said('ladder')}  [bold]{escape(found.state)}[/bold]")
    page.row("sentence", _sourced(found.text, found.source))
    if found.measured:
        page.row("measured", found.measured)
    since = page.said("since", day=found.entered) if found.entered else page.said("from_start")
    page.row("stands", f"{found.state} {found.state_name}, {since}")
    if found.action:
        page.row("asks", found.action)
    for move in found.moves:
        _move(page, move)
    if not any(move.source != move.target for move in found.moves):
        page.row("step", page.said("nothing_moved"))
    told = {pointer(row) for move in found.moves[-1:] for row in (*move.used, *move.ignored)}
    if not {pointer(row) for row in found.latest} <= told:
        page.evidence("latest", found.latest)
    page.row("review", _review(page, found))
    for text in found.revisions:
        page.row("revision", text)
    if found.flags:
        page.row("flags", ", ".join(found.flags))
    for reading in found.alternatives:
        page.row("if_read", reading)
    for text in found.settles:
        page.row("settles", text)
    for way in found.ways or ((page.said("last_state"),) if found.terminal else ()):
        page.row("to_change", way)
    _say(console, "")


def _move(page: _Page, move: LadderMove) -> None:
    moved = move.source != move.target
    dose = f", {move.dose}" if move.dose and moved else ""
    flags = f"  [{', '.join(move.flags)}]" if move.flags else ""
    place = f"{move.source} -> {move.target}" if moved else move.source
    page.row("step" if moved else "stored", f"{move.on}  {place}{dose}: {move.trigger}{flags}")
    if move.action:
        page.row("", f"  {page.said('asks')}: {move.action}")
    page.evidence("used", move.used)
    page.evidence("ignored", move.ignored)
    page.evidence("support", move.support)


def _review(page: _Page, found: LadderChain) -> str:
    if found.review_first is None:
        return page.said("no_review")
    key = "review_overdue" if found.overdue else "review_due"
    return page.said(key, first=found.review_first, last=found.review_last)


class _Page:
    """Labelled rows in one language."""

    def __init__(self, console: Console, voice: Voice) -> None:
        self.console = console
        self.voice = voice

    def said(self, key: str, **blanks: object) -> str:
        return self.voice.heading(f"explain.{key}", **blanks)

    def verdict(self, verdict: Verdict) -> str:
        return self.voice.phrase(f"verdict.{verdict.value}")

    def row(self, key: str, text: str) -> None:
        label = self.said(key) if key else ""
        _say(self.console, f"  {label:<{_LEFT}} {escape(text)}")

    def rule(self, key: str, line: RuleLine) -> None:
        extra = [f"{self.said('because')} {line.because}"] if line.because else []
        extra += [f"{self.said('flags')} {', '.join(line.flags)}"] if line.flags else []
        extra += [self.said("looks")] if line.review else []
        (_, first), *rest = line.when
        head = self.voice.phrase("line.when", verdict=self.verdict(line.verdict))
        self.row(key, f"{head} {first}" + (f"  ({'; '.join(extra)})" if extra else ""))
        for depth, text in rest:
            self.row("", "  " * depth + text)

    def evidence(self, key: str, rows: Iterable[Evidence]) -> None:
        for number, row in enumerate(rows):
            version = f" v{row.source.version}" if row.source.version else ""
            parts = (f"{row.source.reference}{version}", row.source.path, row.when, row.concept, row.original)
            self.row(key if number == 0 else "", "  ".join(part for part in parts if part))
            if row.conversion or (row.value and row.value != row.original):
                step = f" {self.said('by')} {row.conversion}" if row.conversion else ""
                self.row("", f"  = {row.value}{step}")
            for text in (row.compared, f"{self.said('because')}: {row.why}" if row.why else ""):
                if text:
                    self.row("", f"  {text}")
            for origin in row.derived_from:
                version = f" v{origin.version}" if origin.version else ""
                self.row("", f"  {self.said('derived')} {origin.reference}{version}")


def _sourced(text: str, source: str) -> str:
    return f"{text}  ({source})" if source else text


def _say(console: Console, text: str) -> None:
    console.print(plain(text), highlight=False, soft_wrap=True)
