"""``python -m benchmarks.monitor``: how long it takes to follow everyone on a study, all of them judged anew.

The synthetic hospital's enrolled (up to 48 weeks of visits, doses, levels, ladders) are copied under ids of
their own until there are as many as asked for. Measured is what ``adapter monitor`` does: read the facts a
screening left, judge each as of the day, write the rows, count the outcomes by arm. Nothing of one person or
of an earlier day is used for another. The second round is a day later; nobody's row may be that of before.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from adapter import monitoring
from adapter.trial import Workspace, open_trial
from benchmarks.enrolled import DAY, copied, screened
from benchmarks.measuring import measured


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.monitor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--people", type=int, default=500, help="on the study (default: 500; 200 kB each)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--limit", type=float, default=0.0, help="fail if a round takes longer (seconds)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        root, trial = Path(temporary), open_trial()
        many = copied(screened(root, trial), root, trial, asked.people)
        slowest = 0.0
        print(f"{asked.people} people, {asked.workers} workers, load {os.getloadavg()[0]:.1f}")
        print(f"{'as of':12}{'seconds':>9}{'CPU s':>9}{'ms CPU each':>13}  for 10,000")
        before: set[str] = set()
        for later in range(2):
            day = DAY + timedelta(days=later)
            found = measured(
                lambda day=day: monitoring.monitor(trial, many, as_of=day, workers=asked.workers)  # type: ignore[misc]
            )
            each = found.cpu / asked.people
            whole = f"{each * 10_000 / asked.workers:.0f} s if the cores did nothing else"
            print(f"{day!s:12}{found.wall:9.1f}{found.cpu:9.1f}{each * 1000:13.1f}  {whole}", flush=True)
            slowest = max(slowest, found.wall)
            prints = fingerprints(many)
            if len(prints) != asked.people or prints & before:
                print("FAILED: not everyone was judged anew")
                return 1
            before = prints
    return 1 if asked.limit and slowest > asked.limit else 0


def fingerprints(workspace: Workspace) -> set[str]:
    """Of each row that was kept; of the subject, the day, the verdicts and the evidence."""
    with (workspace.monitoring / "monitoring.ndjson").open("rb") as lines:
        return {line.rpartition(b'"fingerprint":"')[2][:64].decode() for line in lines}


if __name__ == "__main__":
    sys.exit(main())
