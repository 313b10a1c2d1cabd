"""A real HAPI FHIR R4 server for tests and for trying things by hand.

``python -m tests.servers.hapi`` starts one and prints its base URL; with ``--prefetch`` it only downloads and
compiles. What is started lives in ``tests/servers/hapi/`` (a Maven project of one class); jars stay in
Maven's own repository, the compiled class and the class path in the git-ignored ``.servers/hapi/``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import command
from tests.servers.process import ServerUnavailable, started

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Path(__file__).resolve().parent / "hapi"
CACHE = ROOT / ".servers" / "hapi"
LOG = CACHE / "server.log"
HOW_TO_INSTALL = "install Java 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)"
MAVEN = ["mvn", "-B", "-ntp", "-Dmaven.wagon.http.retryHandler.count=3", "-f", str(PROJECT / "pom.xml")]
START_SECONDS = 240  # about 17 s on two idle cores; a busy CI machine may need many times that
BUILD_SECONDS = 900  # the first build downloads about 300 MB


class HapiUnavailable(ServerUnavailable):
    """Java or Maven is missing, or Maven could not fetch or build it."""


def missing_runtime() -> str | None:
    """Why HAPI cannot run here, or None when Java 17 and Maven are present."""
    for needed in ("java", "mvn"):
        if shutil.which(needed) is None:
            return f"{needed} not found: {HOW_TO_INSTALL}"
    text = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    major = re.search(r'version "(\d+)', text)
    if major is None or int(major[1]) < 17:
        return f"Java 17 or newer needed, found {text.splitlines()[:1]}: {HOW_TO_INSTALL}"
    return None


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in PROJECT.rglob("*") if p.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamp_of_build() -> str:
    """The stamp of a build that can still be run: jars may have been cleared from Maven's repository."""
    stamp, class_path = CACHE / "built-from.sha256", CACHE / "classpath.txt"
    if not (stamp.exists() and class_path.exists()):
        return ""
    jars = class_path.read_text().strip().split(":")
    return stamp.read_text() if all(Path(jar).exists() for jar in jars) else ""


def prefetch() -> str:
    """Download HAPI's jars and compile the launcher unless done; return the Java class path.

    Raises HapiUnavailable when the runtime is missing or Maven fails (no network, for instance).
    """
    if reason := missing_runtime():
        raise HapiUnavailable(reason)
    digest = _sources_digest()
    if _stamp_of_build() != digest:
        build = subprocess.run(
            [*MAVEN, "compile", "dependency:build-classpath"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if build.returncode != 0:
            raise HapiUnavailable("Maven could not fetch or build HAPI:\n" + build.stdout[-2000:])
        (CACHE / "built-from.sha256").write_text(digest)
    return f"{CACHE / 'classes'}:{(CACHE / 'classpath.txt').read_text().strip()}"


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Run HAPI with an empty in-memory database on loopback; yield its base URL, stop it at the end.

    Port 0 takes a free one.
    """
    run = ["java", "-Xmx1g", f"-Dhapi.log={LOG}", "-cp", prefetch(), "HapiServer", str(port)]
    with started(run, log=CACHE / "stderr.log", seconds=START_SECONDS) as base_url:
        yield base_url


if __name__ == "__main__":
    print("HAPI FHIR takes about 20 s to start ...", file=sys.stderr)
    sys.exit(command.main(__doc__, prefetch, running, port=8080, log=LOG))
