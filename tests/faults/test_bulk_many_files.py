"""An export of 20,000 tiny files: bounded memory and connections, progress, and every resource there once.

A server may cut an export into a file a patient and type. The bounds are generous against what was seen (the
last row; CPython 3.11, server and adapter on two shared cores):

| files | resources | seconds | peak memory of the adapter |
|---|---|---|---|
| 20,000 | 40,000 | 165 (beside seven other jobs) | 129 MB |
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.bulk import TOKEN, Exports, ndjson, observation, patient

ROOT = Path(__file__).parents[2]
FILES = 20_000
MOST_MEGABYTES = 400
MOST_SECONDS = 400
PROGRAM = """
import sys
from pathlib import Path
from adapter.cli import main
try:
    main()
finally:  # not ru_maxrss: that remembers the process which started this one
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
"""


def test_twenty_thousand_files(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with Exports().running() as server:
        assert isinstance(server, Exports)
        server.files = {}
        for number in range(FILES // 2):
            name = f"p{number}"
            server.files[f"{number}.Patient.ndjson"] = ("Patient", ndjson(patient(name)))
            results = ndjson(*(observation(f"{name}-{at}", name) for at in range(3)))
            server.files[f"{number}.Observation.ndjson"] = ("Observation", results)
        started = time.monotonic()
        command = ["fetch", "--bulk", "--base-url", server.base, "-w", str(tmp_path / "w"), "--json"]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command],
            cwd=ROOT,
            env={**os.environ, "ADAPTER_TOKEN_FILE": str(token)},
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * MOST_SECONDS,
        )
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout)
        assert (told["files"], told["resources"]) == (FILES, 2 * FILES)
        assert told["incomplete"] == []
        asked = [one.path for one in server.requests if one.path.startswith("/files/")]
        assert len(asked) == len(set(asked)) == FILES
        assert server.most_at_once <= 6
    megabytes = int(done.stderr.split()[-1]) / 1024
    print(f"{FILES} files: {seconds:.0f} s, peak {megabytes:.0f} MB")
    assert megabytes < MOST_MEGABYTES
    assert seconds < MOST_SECONDS
