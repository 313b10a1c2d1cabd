"""R with haven, as statisticians read our files. Without it tests are skipped; under CI they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

_PACKAGES = "r-base-core r-cran-haven r-cran-httr2 r-cran-jsonlite"


@cache
def _missing() -> str:
    program = shutil.which("Rscript")
    if program is None:
        return f"no Rscript: apt-get install {_PACKAGES}"
    asked = "for (name in c('haven', 'httr2', 'jsonlite')) loadNamespace(name)"
    done = subprocess.run([program, "-e", asked], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"apt-get install {_PACKAGES}"


def needed() -> None:
    """Skip the test without R; under CI=true fail it."""
    if not (missing := _missing()):
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI requires R: {missing}", pytrace=False)
    pytest.skip(missing)


def run(program: str, cwd: Path, **env: str) -> str:
    """What an R program prints; raises AssertionError with what R said if it fails."""
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", program],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
