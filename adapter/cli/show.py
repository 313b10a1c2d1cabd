"""How results look on a terminal. Counts and codes only: nothing here can name a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from adapter.assurance import CaseReport
from adapter.exports.package import ExportReport
from adapter.model.decision import Verdict
from adapter.model.funnel import Funnel, Sifted
from adapter.model.issue import Issue
from adapter.model.protocol import Protocol
from adapter.protocol import Remark
from adapter.writeback.send import WriteReport

_BAR = 32
_ROWS = 8
_TEXT = 54


def funnel(console: Console, counts: Funnel, protocol: Protocol, reasons: int = 6) -> None:
    """The attrition funnel with its leading reasons."""
    widest = max(counts.patients, 1)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(min_width=36)
    table.add_column(justify="right")
    table.add_column()
    for label, count in (
        ("all patients", counts.patients),
        ("with the diagnosis or a sign of it", counts.suspected),
        ("candidates, not yet in the study", counts.candidates),
        ("  eligible", counts.eligible),
        ("  undetermined", counts.undetermined),
        ("  ineligible", counts.ineligible),
    ):
        table.add_row(label, str(count), "█" * max(round(_BAR * count / widest), int(count > 0)))
    console.print(table)
    console.print(
        f"{counts.coded} of the {counts.suspected} have the diagnosis on record. {counts.enrolled} are in "
        "the study already and judged as of the day before they entered. "
        f"{counts.review} of the candidates need a second look by a person."
    )
    texts = {criterion.id: criterion.text for criterion in protocol.walk()}
    failing = [reason for reason in counts.reasons if reason.verdict is not Verdict.UNKNOWN]
    missing = [reason for reason in counts.reasons if reason.verdict is Verdict.UNKNOWN]
    for title, found in (("Why ineligible", failing), ("What is missing", missing)):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("criterion", no_wrap=True)
        table.add_column("people", justify="right", no_wrap=True)
        table.add_column("only this", justify="right", no_wrap=True)
        table.add_column("text")
        for reason in found[:reasons]:
            text = textwrap.shorten(texts.get(reason.criterion, ""), _TEXT, placeholder=" ...")
            table.add_row(reason.criterion, str(reason.people), str(reason.only), text)
        console.print(table)


def accounts(console: Console, sifted: Sifted, issues: Iterable[Issue]) -> None:
    """Every resource once: facts, issue, or not relevant; and the issues by name."""
    table = Table(title="Resources", title_justify="left", box=None, pad_edge=False)
    table.add_column("type")
    for heading in ("read", "facts", "issues", "not relevant"):
        table.add_column(heading, justify="right")
    for row in sifted.accounts:
        table.add_row(
            row.resource_type or "(unreadable)",
            *(str(n) for n in (row.read, row.facts, row.issues, row.not_relevant)),
        )
    console.print(table)
    read = sum(account.read for account in sifted.accounts)
    balance = "the numbers add up" if sifted.balanced else "THE NUMBERS DO NOT ADD UP"
    console.print(f"{sifted.landed} landed = {sifted.sieved} of other people + {read} read: {balance}")
    counts: dict[str, int] = {}
    for issue in issues:
        counts[issue.code] = counts.get(issue.code, 0) + 1
    if counts:
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        console.print("issues: " + ", ".join(f"{code} {count}" for code, count in ranked))


def remarks(console: Console, found: Iterable[Remark]) -> None:
    """What an author should look at in a protocol file that loads."""
    for remark in found:
        console.print(str(remark), highlight=False, markup=False, soft_wrap=True)


def cases(console: Console, reports: Iterable[CaseReport]) -> int:
    """Each case that differs with why it should not; returns how many differ."""
    total = wrong = 0
    for report in reports:
        total += 1
        if not report.differences:
            continue
        wrong += 1
        console.print(f"[bold]{report.case}[/bold]  {report.where}  {report.because}", highlight=False)
        for difference in report.differences:
            console.print(
                f"  {difference.target}: expected {difference.expected}, found {difference.found}",
                highlight=False, markup=False,
            )  # fmt: skip
            _why(console, report, difference.target)
    console.print(f"{total - wrong} of {total} cases as expected")
    return wrong


def _why(console: Console, report: CaseReport, target: str) -> None:
    try:
        result = report.decision.criterion(target)
    except KeyError:
        return
    console.print(f"    {result.reason}", highlight=False, markup=False)
    for row in result.evidence:
        parts = (
            row.role,
            row.source.reference,
            row.when,
            row.original,
            row.conversion,
            row.compared,
            row.why,
        )
        console.print("    " + " ".join(part for part in parts if part), highlight=False, markup=False)


def written(console: Console, report: WriteReport) -> None:
    """What the server was told, or would be: outcomes counted, and the first subjects line by line."""
    for row in report.rows[:_ROWS]:
        status = f"{row['before'] or 'nothing'} -> {row['after']}" if row["after"] else row["reason"]
        console.print(
            f"  {row['subject']}  {row['outcome']:<12} {row['verdict']:<13} {status}  {row['writes']}",
            highlight=False,
        )
    if len(report.rows) > _ROWS:
        console.print(f"  ... and {len(report.rows) - _ROWS} more (adapter writeback --json shows all)")
    counts = ", ".join(f"{name} {count}" for name, count in sorted(report.outcomes.items()) if count)
    console.print(f"{counts or 'nothing to say'}; {report.resources_written} resources written")
    if set(report.rungs) - {"ResearchSubject"}:
        told = ", ".join(f"{rung} {count}" for rung, count in report.rungs.items())
        console.print(f"rungs: {told}", highlight=False)
    for path in report.files:
        console.print(f"written to {path}", highlight=False, soft_wrap=True)
    if report.outcomes.get("awaiting_approval"):
        console.print("a person has to allow some of it: adapter outbox list --state planned")
    if report.duplicates:
        console.print("there more than once: " + ", ".join(report.duplicates), highlight=False)


def exported(console: Console, report: ExportReport, standard: str = "SDTM") -> None:
    """Rows by dataset and what was kept back, by reason."""
    console.print(f"{standard}: " + ", ".join(f"{name} {rows}" for name, rows in sorted(report.rows.items())))
    if report.withheld:
        console.print(
            "kept back: " + ", ".join(f"{why} {count}" for why, count in sorted(report.withheld.items()))
        )


def places(console: Console, found: Mapping[str, str]) -> None:
    """Where each result lies."""
    table = Table(title="Where it lies", title_justify="left", box=None, show_header=False, pad_edge=False)
    for what, where in found.items():
        table.add_row(what, where)
    console.print(table)
