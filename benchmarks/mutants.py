"""``make mutants``: does any test notice when a line of ``adapter/protocol`` says something else?

mutmut writes the mutants; they are run here, because its own runner starts pytest anew for each. This one
collects the tests once, puts the mutant's bytecode into the function in a forked child, and runs the tests
that reach the changed statement, first those that have killed before. All happens on a copy in
``build/mutants``. What survived, and how that was judged: ``docs/mutation-testing.md``.

    python -m benchmarks.mutants                          every module that decides
    python -m benchmarks.mutants --only judge 'ladder_*'  some of them
    python -m benchmarks.mutants --more                   go on with a run that was stopped
    python -m benchmarks.mutants --again                  only what survived, with the tests as they are now
    python -m benchmarks.mutants --today --again          the same with the code as it is now: what was killed
                                                          stays so as long as its text is the same
    python -m benchmarks.mutants --show judge             what survived, as differences
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "mutants"
MUTANTS, RESULTS = BUILD / "mutants.json", BUILD / "results.json"
ROOM = "adapter/protocol"
COPIED = (
    "adapter",
    "mappings",
    "fhir_profiles",
    "tests",
    "docs",
    "benchmarks",
    "pyproject.toml",
    "README.md",
)
# what reads, checks or words a protocol file, and what draws it, decides nothing about a person
LEFT_OUT = (
    "__init__", "render/*", "case_*", "check", "load", "grammar", "course_grammar", "amounts", "plan", "tree",
    "words", "results", "selections", "explain*", "chain*", "ladder_load", "ladder_states",
    "ladder_words", "ladder_draw", "ladder_chain",
)  # fmt: skip
# what a verdict depends on most comes first
FIRST = (
    "judge", "readings", "measured", "occurrences", "conditions", "changes", "evaluate", "outcome", "days",
    "gaps", "doses", "dose_tests", "dose_totals", "averages", "several", "timing", "anchors",
    "ladder_trigger", "ladder_days", "ladder_rounds", "ladder_replay", "ladder_history", "ladder_dose",
    "ladder", "course", "monitor", "answers", "context", "criteria",
)  # fmt: skip
TESTS = (
    "tests/spec/test_kleene.py",
    "tests/spec/test_dates.py",
    "tests/spec/test_why.py",
    "tests/spec/test_evidence.py",
    "tests/spec/test_days_on_record.py",
    "tests/spec/test_thresholds.py",
    "tests/spec/test_which_readings.py",
    "tests/spec/test_readings_set_apart.py",
    "tests/spec/test_attested_answers.py",
    "tests/spec/test_changes_between_readings.py",
    "tests/spec/test_events_and_drugs.py",
    "tests/spec/test_dose_words.py",
    "tests/spec/test_dose_evidence.py",
    "tests/spec/test_decision_tables.py",
    "tests/spec/test_lost_records.py",
    "tests/spec/test_eligibility.py",
    "tests/spec/test_eligibility_exclusion.py",
    "tests/spec/test_interpretations.py",
    "tests/spec/test_protocol_engine.py",
    "tests/spec/test_reading_words.py",
    "tests/spec/test_ladders.py",
    "tests/spec/test_ladder_readings.py",
    "tests/spec/test_ladder_shown.py",
    "tests/spec/test_ladder_waits.py",
    "tests/spec/test_ladder_revisions.py",
    "tests/spec/test_ladder_vocabulary.py",
    "tests/spec/test_ladder_calendar.py",
    "tests/spec/test_monitoring.py",
    "tests/spec/test_visits_and_due.py",
    "tests/spec/test_course_words.py",
    "tests/spec/test_lost_on_study.py",
    "tests/spec/test_response_words.py",
    "tests/spec/test_protocol_load.py",
    "tests/spec/test_criteria_file.py",
    "tests/spec/test_cases.py",
)


def modules(only: list[str]) -> list[Path]:
    """The files to mutate, by name without ``.py``; those that decide nothing are left out."""
    found = []
    for path in sorted((ROOT / ROOM).rglob("*.py")):
        name = str(path.relative_to(ROOT / ROOM).with_suffix(""))
        wanted = any(fnmatch(name, one) for one in only) if only else True
        if wanted and not any(fnmatch(name, one) for one in LEFT_OUT):
            found.append(path)
    return sorted(found, key=lambda path: FIRST.index(path.stem) if path.stem in FIRST else len(FIRST))


def write_mutants(only: list[str]) -> None:
    """Copy the checkout, put the mutants into the copy, and note what each changes and where."""
    from mutmut.mutation.file_mutation import (
        mutate_file_contents,
    )  # an extra of its own: not needed to run tests

    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    copy(COPIED)
    mutants: dict[str, dict[str, Any]] = {}
    for path in modules(only):
        place = path.relative_to(ROOT)
        written = mutate_file_contents(str(place), path.read_text(encoding="utf-8"))
        (BUILD / place).write_text(written.code, encoding="utf-8")
        lines, spans = written.code.split("\n"), written.line_span_by_function_name
        module = str(place.with_suffix("")).replace("/", ".")
        for name in written.mutant_names:
            original = spans[f"{name.partition('__mutmut_')[0]}__mutmut_orig"]
            before = lines[original.start - 1 : original.end]
            after = lines[spans[name].start - 1 : spans[name].end]
            gone, come, line = _changed(before, after)
            # mutmut also writes each string in capitals: that tells nothing that "XX...XX" does not
            if "".join(gone).lower() != "".join(come).lower():
                diff = [*(f"-{text}" for text in gone), *(f"+{text}" for text in come)]
                mutants[f"{module}.{name}"] = {"diff": diff, "statement": _statement(before, line)}
    MUTANTS.write_text(json.dumps(mutants, indent=1, ensure_ascii=False), encoding="utf-8")


def write_today(only: list[str]) -> None:
    """:func:`write_mutants`, and what is known of those that are still the same."""
    known = _read(RESULTS)
    before = _read(MUTANTS)
    write_mutants(only)
    now = _read(MUTANTS)
    kept = {name: found for name, found in known.items() if name in now and before.get(name) == now[name]}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def copy(names: tuple[str, ...]) -> None:
    for name in names:
        if (ROOT / name).is_dir():
            shutil.rmtree(BUILD / name, ignore_errors=True)
            shutil.copytree(ROOT / name, BUILD / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, BUILD / name)


def _changed(before: list[str], after: list[str]) -> tuple[list[str], list[str], int]:
    """Lines that went and came, and where; without the ``def`` line, which carries the mutant's name."""
    first, last = 0, 0
    while first < min(len(before), len(after)) and (before[first] == after[first] or _is_def(before[first])):
        first += 1
    while last < min(len(before), len(after)) - first and before[-1 - last] == after[-1 - last]:
        last += 1
    gone, come = before[first : len(before) - last], after[first : len(after) - last]
    return [line.strip() for line in gone], [line.strip() for line in come], first


def _statement(function: list[str], line: int) -> tuple[int, int]:
    """First and last line, counted from ``def``, of the innermost statement (or its head) around a line."""
    head = next(number for number, text in enumerate(function) if _is_def(text))
    tree = ast.parse(textwrap.dedent("\n".join(function[head:])))
    sought = line - head + 1
    found = (0, len(function) - head - 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.match_case) and node is not tree.body[0]:
            begin, end = _lines(node)
            if begin <= sought <= end and end - begin <= found[1] - found[0]:
                found = (begin - 1, end - 1)
    return found


def _lines(node: ast.stmt | ast.match_case) -> tuple[int, int]:
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    begin = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
    if not body:
        assert isinstance(node, ast.stmt)
        return begin, node.end_lineno or begin
    inner = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
    return begin, max(begin, inner.lineno - 1)


def _is_def(line: str) -> bool:
    return line.lstrip().startswith(("def x_", "def xǁ"))


def table(mutants: dict[str, Any], results: dict[str, Any]) -> str:
    counted: dict[str, Counter[str]] = {}
    for name in mutants:
        end = results[name]["end"] if name in results else "not run"
        counted.setdefault(_module(name), Counter())[end] += 1
    ends = ("killed", "timeout", "survived", "no test runs it", "not run")
    lines = [f"| module | mutants | {' | '.join(ends)} |", "|---" * (len(ends) + 2) + "|"]
    for module, found in [*counted.items(), ("all", sum(counted.values(), Counter()))]:
        lines.append(f"| {module} | {found.total()} | {' | '.join(str(found[end]) for end in ends)} |")
    return "\n".join(lines)


def show(mutants: dict[str, Any], results: dict[str, Any], patterns: list[str]) -> None:
    for name, result in results.items():
        alive = result["end"] not in ("killed", "timeout")
        if alive and any(fnmatch(_module(name), pattern) for pattern in patterns):
            print(f"{name.removeprefix('adapter.protocol.')} ({result['end']}, {result['tests']} tests)")
            print("\n".join(f"    {line}" for line in mutants[name]["diff"]))


def _module(name: str) -> str:
    return name.rpartition(".")[0].removeprefix("adapter.protocol.")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", nargs="*", default=[], help="modules of adapter/protocol, as shell patterns")
    asked.add_argument("--more", action="store_true", help="go on with a run that was stopped, on its copy")
    asked.add_argument(
        "--again", action="store_true", help="what survived, on the same copy, with today's tests"
    )
    asked.add_argument(
        "--today", action="store_true", help="write the mutants of today's code first, and keep what is known"
    )
    asked.add_argument("--children", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    asked.add_argument(
        "--seconds", type=float, default=0, help="at most so many of tests a mutant; 0: all of them"
    )
    asked.add_argument(
        "--show", nargs="+", metavar="MODULE", help="run nothing: what survived in these modules"
    )
    wanted = asked.parse_args()
    if wanted.today:
        write_today(wanted.only)
    elif not (wanted.more or wanted.again or wanted.show):
        write_mutants(wanted.only)
    if wanted.again:
        copy(("tests", "mappings"))
    ended = 0
    if not wanted.show:
        chosen = {"again": wanted.again, "children": wanted.children, "seconds": wanted.seconds}
        (BUILD / "wanted.json").write_text(json.dumps(chosen), encoding="utf-8")
        tests = [test for test in TESTS if (BUILD / test).exists()]
        run = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--assert=plain",
            "-p",
            "no:cacheprovider",
            "-p",
            "benchmarks.mutants_plugin",
        ]
        env = {**os.environ, "PYTHONPATH": str(BUILD), "PYTHONHASHSEED": "0"}
        ended = subprocess.run([*run, *tests], cwd=BUILD, env=env, check=False).returncode
    mutants, results = _read(MUTANTS), _read(RESULTS)
    if wanted.show:
        show(mutants, results, wanted.show)
    print(table(mutants, results))
    return ended


if __name__ == "__main__":
    sys.exit(main())
