"""Bad inputs through the whole line: landed, screened, explained, exported, each in somebody's own record.

The record is that of a planted patient who is eligible (``p00007``), copied for each bad line. A bad line may
make something unknown; it never makes a met criterion unmet or the other way round, never costs a neighbour
anything, and never reaches a terminal or a dataset as more than text.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from io import StringIO
from typing import NamedTuple

import msgspec
import pytest
from rich.table import Table
from typer.testing import CliRunner

from adapter import explaining, pipeline
from adapter.cli import explain_text
from adapter.cli.app import app
from adapter.cli.terminal import Terminal, plain
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.model.decision import Decision, Verdict
from adapter.protocol.chain import results_of
from tests.faults.test_bad_inputs import READINGS, REFUSED, observation, quantity

AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
KEY = b"a key of this test alone, 32 byt"
ENCODE = msgspec.json.Encoder(decimal_format="number").encode

# Names and texts that want to be more than text, where a person will read them.
HOSTILE: dict[str, bytes] = {
    "a line break in the id": observation("bad\nERROR all is lost"),
    "a terminal's escape sequence in the id": observation("bad\x1b[2J\x1b[31m"),
    "an escape sequence in the unit": observation(valueQuantity=quantity(25.3, "g/L\x1b]0;owned\x07")),
    "an escape sequence in the text": observation(valueQuantity=None, valueString="25\x1b[2K.3\r99 g/L"),
    "markup of the terminal library": observation(valueQuantity=None, valueString="[red]25.3[/red] [link=x]"),
    "a formula as the unit": observation(valueQuantity=quantity(25.3, "=HYPERLINK(\"http://x.example\")")),
    "a separator of lines in the text": observation(valueQuantity=None, valueString="25\u2028.3\u2029g/L"),
}  # fmt: skip
BAD: dict[str, bytes] = {
    **{name: line for name, (line, _) in REFUSED.items()},
    **{name: line for name, (line, _, _) in READINGS.items()},
    **HOSTILE,
}


# Odd, and read right: such a result may settle what was open.
RIGHT = {name for name, (_, reading, _) in READINGS.items() if reading.unit and not reading.excluded}


class Ward(NamedTuple):
    """Everyone's verdicts and the workspace they lie in; ``people`` names the bad input by patient."""

    people: dict[str, str]
    decisions: dict[str, Decision]
    workspace: pipeline.Workspace
    lines: int


def charts() -> list[bytes]:
    """The record of p00007, and the formulary it refers to."""
    (rows,) = [
        (*chart.rows, *chart.late)
        for chart, truth in everyone(20190603, PLANTED)
        if truth and any(row["resourceType"] == "Patient" and row["id"] == "p00007" for row in chart.rows)
    ]
    return [ENCODE(row) for row in rows]


def of_somebody(line: bytes, name: str) -> bytes:
    """A bad line of test_bad_inputs, about this patient."""
    mine = name.encode()
    for old in (b'"bad', b"Observation/bad"):
        line = line.replace(old, old + b"-" + mine)
    return line.replace(b"Patient/p1", b"Patient/" + mine).replace(b"Patient/p2", b"Patient/well")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    root = tmp_path_factory.mktemp("ward")
    chart = charts()
    people = {f"w{number:03}": name for number, name in enumerate(BAD)}
    lines = [ENCODE(row) for row in formulary()]
    lines += [line.replace(b"p00007", b"well") for line in chart]
    for own, name in people.items():
        lines += [line.replace(b"p00007", own.encode()) for line in chart]
        lines.append(of_somebody(BAD[name], own))
    (root / "export").mkdir()
    (root / "export" / "all.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    workspace = pipeline.Workspace(root / "workspace")
    trial = pipeline.open_trial()
    landing = pipeline.land(root / "export", workspace, now=NOW)
    screening = pipeline.screen(trial, workspace, as_of=AS_OF)
    assert landing.lines == len(lines)
    assert screening.sifted.balanced
    assert screening.sifted.landed == len(lines)
    decisions = {one.subject: one for one in screening.decisions}
    return Ward(people, decisions, workspace, len(lines))


def verdicts(decision: Decision) -> dict[str, Verdict]:
    return {found.id: found.verdict for top in decision.criteria for found in top.walk()}


def test_nobody_is_lost_and_nobody_turned_over(ward: Ward) -> None:
    well = verdicts(ward.decisions["well"])
    assert ward.decisions["well"].overall.value == "eligible"
    assert ward.decisions.keys() == {"well", *ward.people}
    turned = {
        (name, criterion): (well[criterion].value, verdict.value)
        for own, name in ward.people.items()
        for criterion, verdict in verdicts(ward.decisions[own]).items()
        if verdict not in (well[criterion], Verdict.UNKNOWN)
        and not (well[criterion] is Verdict.UNKNOWN and name in RIGHT)
    }
    assert turned == {}


def test_each_refused_line_is_one_issue_with_a_name(ward: Ward) -> None:
    issues = pipeline.read_screening(ward.workspace).facts.issues
    refused = [one for one in issues if one.fatal_for_resource]
    assert len(refused) == len(REFUSED)
    assert sorted(one.code for one in refused) == sorted(code for _, code in REFUSED.values())


def controls(text: str) -> Iterator[str]:
    """Characters that steer a terminal, a log or the direction of writing."""
    return (
        repr(sign)
        for sign in text
        if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    )


def test_explained_as_text_and_nothing_else(ward: Ward) -> None:
    trial = pipeline.open_trial()
    voice = explaining.voice_of(trial, "en")
    for own, name in ward.people.items():
        shown = StringIO()
        console = Terminal(file=shown, width=120)
        results = results_of(ward.decisions[own])
        for found in explaining.chains_of(trial, results, "INCL03", voice):
            explain_text.show(console, found, voice)
        said = shown.getvalue()
        assert "INCL03B" in said
        assert list(controls(said)) == [], name
        assert "<script" not in said
        assert not any(line.startswith("ERROR") for line in said.splitlines()), name


def test_the_terminal_prints_text_whatever_it_is_given() -> None:
    shown = StringIO()
    console = Terminal(file=shown, width=60)
    table = Table("a cell\x1b[2J")
    table.add_row("\u202e3.52")
    console.print("[bold]25\x1b]0;owned\x07[/bold]", table)
    assert list(controls(shown.getvalue())) == []
    assert r"25\u001b]0;owned" in shown.getvalue()
    assert r"\u202e3." in shown.getvalue()
    fault = plain("adapter: no such id: a\x1b[31m\nfix: none", keep="\n")
    assert fault == r"adapter: no such id: a\u001b[31m" + "\nfix: none"


def test_shown_as_counts_on_the_terminal(ward: Ward) -> None:
    shown = CliRunner().invoke(
        app, ["screen", "--as-of", "2019-06-03", "--workspace", str(ward.workspace.root)]
    )
    assert shown.exit_code == 0, shown.output
    assert list(controls(shown.output)) == []
    assert "CANARY" not in shown.output


def test_exported_as_data_that_no_spreadsheet_runs(ward: Ward) -> None:
    """Typed cells hold ``=cmd`` as text to every reader; a CSV cell never begins as a formula does."""
    trial = pipeline.open_trial()
    report = pipeline.export_sdtm(trial, ward.workspace, key=KEY)
    assert report.rows
    files = [path for path in report.target.rglob("*") if path.is_file()]
    assert {".xpt", ".json", ".csv"} <= {path.suffix for path in files}
    for path in files:
        body = path.read_bytes()
        assert b"CANARY" not in body, path.name
        assert b"w001" not in body, path.name
        if path.suffix == ".json":
            cells = json.dumps(json.loads(body), ensure_ascii=False)
            assert list(controls(cells)) == [], path.name
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as stream:
                cells_of = [cell for row in csv.reader(stream) for cell in row]
            begins = [cell for cell in cells_of if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
            assert [cell for cell in begins if not re.fullmatch(r"[+-]?\d+(\.\d+)?", cell)] == [], path.name
