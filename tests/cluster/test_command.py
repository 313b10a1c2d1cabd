"""``adapter screen --engine spark`` in a process of its own: its result, and what it says on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import JAVA_OPTIONS
from tests.cluster.hospital import differing, files, landed, locally

pytestmark = pytest.mark.xdist_group("spark")
ROOT = Path(__file__).resolve().parents[2]
# Planted in the demo hospital's names, numbers and addresses; and its people.
PRIVATE = re.compile(r"CANARY|(?<![A-Za-z0-9])p\d{5}m?(?![A-Za-z0-9])")


def test_the_command_leaves_a_local_runs_bytes_and_tells_nobody_about_anyone(
    spark_is_there: None, tmp_path: Path
) -> None:
    trial, workspace = landed(tmp_path)
    expected = locally(trial, workspace)
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text(f"spark.driver.extraJavaOptions {JAVA_OPTIONS}\n")
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from adapter.cli import main; main()"),
            *("screen", "-w", str(workspace.root), "--as-of", "2019-06-03", "--json"),
            *("--engine", "spark", "--master", "local[2]", "--data-at", workspace.landing.resolve().as_uri()),
            *("--read-mib", "3", "--unit-mib", "1"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SPARK_CONF_DIR": str(conf)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert differing(files(workspace), expected) == []
    assert json.loads(done.stdout) == json.loads(expected["screening.json"])["funnel"]
    pieces, units = (int(one) for one in re.findall(r"in ([0-9]+) (?:pieces|units)", done.stderr))
    assert (pieces > 1, units > 1) == (True, True)
    assert not PRIVATE.search(done.stdout + done.stderr)
    assert list(tmp_path.glob("*spark-events*")) == []
