"""What a person meets at the command line: help, exit codes, errors that say what to do, and the demo."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    command.name or command.callback.__name__ for command in app.registered_commands if command.callback
]


def run(*words: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from adapter.cli import main; main()", *words],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "COLUMNS": "110", "HOME": str(cwd), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_its_options(command: str) -> None:
    shown = run(command, "--help")
    assert shown.returncode == 0, shown.stderr
    options = re.findall(r"^[│ ]*(?:\*\s+)?(--[a-z-]+)(.*)$", shown.stdout, flags=re.MULTILINE)
    assert options
    assert all(re.search(r"[a-z]{3}", text) for _, text in options), options


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"adapter {name}" not in readme and f"make {name}" not in readme]
    assert not missing


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("screen", "--site", "atlantis"), 78, "known sites: demo"),
        (("screen", "--as-of", "3 June"), 78, "write YYYY-MM-DD"),
        (("screen",), 78, "run fetch first"),
        (("screen", "--engine", "spark"), 78, "install Java 17"),
        (("screen", "--master", "yarn"), 78, "add --engine spark"),
        (("screen", "--unit-mib", "2"), 78, "add --engine spark"),
        (("writeback", "--dry-run"), 78, "run adapter screen first"),
        (("export",), 78, "16 random bytes"),
        (("fetch", "--folder", "nowhere"), 78, "name the folder of a bulk export"),
        (("check", "--cases", "nowhere.yaml"), 65, "--cases FILE"),
        (("serve", "--host", "0.0.0.0"), 78, "127.0.0.1"),  # noqa: S104 - refused, that is the point
        (("no-such-command",), 2, "No such command"),
    ],
)
def test_a_mistake_is_told_in_words_with_what_to_do(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    shown = run(*words, cwd=tmp_path)
    assert (shown.returncode, "Traceback" in shown.stderr) == (code, False), shown.stderr
    assert said in shown.stderr


def test_a_protocol_with_a_mistake_names_file_line_and_fix(tmp_path: Path) -> None:
    text = (ROOT / "mappings/protocols/NCT03864250/protocol.yaml").read_text(encoding="utf-8")
    (tmp_path / "protocol.yaml").write_text(
        text.replace("finding: albumin,", "finding: albumen,", 1), encoding="utf-8"
    )
    shown = run("check", "--protocol", str(tmp_path))
    assert shown.returncode == 65
    assert re.search(r"protocol\.yaml:\d+:\d+: unknown finding concept 'albumen'", shown.stderr)
    assert "did you mean 'albumin'" in shown.stderr


def test_a_case_that_differs_is_exit_1_with_the_evidence(tmp_path: Path) -> None:
    cases = ROOT / "mappings/protocols/NCT03864250/cases.yaml"
    text = cases.read_text(encoding="utf-8").replace('INCL03A: "not_met [BOUNDARY]"', "INCL03A: met", 1)
    (tmp_path / "cases.yaml").write_text(text, encoding="utf-8")
    shown = run("check", "--cases", str(tmp_path / "cases.yaml"))
    assert shown.returncode == 1
    assert "V1" in shown.stdout
    assert "expected met, found not_met [BOUNDARY]" in shown.stdout
    assert "Observation/upro24" in shown.stdout


def test_the_demo_runs_the_whole_line_and_says_where_everything_lies(tmp_path: Path) -> None:
    shown = run("demo", "--workspace", str(tmp_path / "demo"), cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    for words in ("the numbers add up", "all patients", "eligible", "Why ineligible", "What is missing"):
        assert words in shown.stdout
    assert "and once more: 0 resources written" in shown.stdout
    for place in ("screening/decisions.ndjson", "landing/manifest.json", "exports/sdtm/manifest.json"):
        assert (tmp_path / "demo" / place).is_file()
    screening = json.loads((tmp_path / "demo/screening/screening.json").read_text(encoding="utf-8"))
    assert screening["funnel"]["eligible"] == 12  # what the plan of the synthetic hospital says
