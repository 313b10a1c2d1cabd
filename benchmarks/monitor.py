"""``python -m benchmarks.monitor``: how long it takes to follow everyone on a study, anew and after a change.

The synthetic hospital's enrolled (up to 48 weeks of visits, doses, levels, ladders) are copied under ids of
their own until there are as many as asked for. Measured is what ``adapter monitor`` does: read the facts a
screening left, judge each as of the day, write the rows, count the outcomes by arm. First nobody was followed
before; then a day later, when nobody's row may be that of before; then on that day again, when the records of
one in a hundred changed and only they may be judged anew. Whether somebody was eligible before entry is taken
from the screening in all of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from adapter import monitoring
from adapter.trial import Trial, Workspace, open_trial
from benchmarks.enrolled import DAY, copied, screened
from benchmarks.measuring import measured


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.monitor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--people", type=int, default=500, help="on the study (default: 500; 600 kB of disk each)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--limit", type=float, default=0.0, help="fail if a round takes longer (seconds)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        root, trial = Path(temporary), open_trial()
        many = copied(screened(root, trial), root, trial, asked.people)
        print(f"{asked.people} people, {asked.workers} workers, load {os.getloadavg()[0]:.1f}")
        print(f"{'':22}{'judged':>8}{'seconds':>9}{'CPU s':>9}{'ms CPU each':>13}  for 10,000")
        later = DAY + timedelta(days=1)
        slowest = taken(trial, many, asked, "nobody known before", DAY, asked.people)
        before = fingerprints(many)
        slowest = max(slowest, taken(trial, many, asked, "a day later", later, asked.people))
        if len(before) != asked.people or before & fingerprints(many):
            raise SystemExit("FAILED: not everyone was judged anew")
        changed = change(many, 100)
        slowest = max(slowest, taken(trial, many, asked, "1 in 100 changed", later, changed))
    return 1 if asked.limit and slowest > asked.limit else 0


def taken(
    trial: Trial, many: Workspace, asked: argparse.Namespace, name: str, day: date, expected: int
) -> float:
    """Seconds of one monitoring, which is told of; ``expected`` are to be judged in it."""
    anew = 0

    def told(done: monitoring.Done) -> None:
        nonlocal anew
        anew = done.anew

    found = measured(lambda: monitoring.monitor(trial, many, as_of=day, workers=asked.workers, told=told))
    each = found.cpu / asked.people
    whole = f"{each * 10_000 / asked.workers:.0f} s if the cores did nothing else"
    print(f"{name:22}{anew:8}{found.wall:9.1f}{found.cpu:9.1f}{each * 1000:13.2f}  {whole}", flush=True)
    if anew != expected:
        raise SystemExit(f"FAILED: {anew} were judged anew, not {expected}")
    return found.wall


def change(workspace: Workspace, one_in: int) -> int:
    """Another version of the Patient of every so manieth person; how many that are."""
    path = workspace.screening / "facts" / "subjects.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    for place in range(0, len(lines), one_in):
        lines[place] = lines[place].replace(b'"version":"', b'"version":"changed ', 1)
    path.write_bytes(b"".join(lines))
    return len(range(0, len(lines), one_in))


def fingerprints(workspace: Workspace) -> set[str]:
    """Of each row that was kept; of the subject, the day, the verdicts and the evidence."""
    with (workspace.monitoring / "monitoring.ndjson").open("rb") as lines:
        return {line.rpartition(b'"fingerprint":"')[2][:64].decode() for line in lines}


if __name__ == "__main__":
    sys.exit(main())
