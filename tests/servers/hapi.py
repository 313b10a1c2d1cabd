"""A real HAPI FHIR R4 server for tests and for trying things by hand.

``python -m tests.servers.hapi`` starts one and prints its base URL; with ``--prefetch`` it only downloads and
compiles. What is started lives in ``tests/servers/hapi/`` (a Maven project of one class); jars stay in
Maven's own repository, the compiled class and the class path in the git-ignored ``.servers/hapi/``.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import ServerDied, ServerUnavailable, started

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
    for command in ("java", "mvn"):
        if shutil.which(command) is None:
            return f"{command} not found: {HOW_TO_INSTALL}"
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
    command = ["java", "-Xmx1g", f"-Dhapi.log={LOG}", "-cp", prefetch(), "HapiServer", str(port)]
    with started(command, log=CACHE / "stderr.log", seconds=START_SECONDS) as base_url:
        yield base_url


def main() -> int:
    """``make hapi``: run until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    parser.add_argument("--prefetch", action="store_true", help="download and compile, do not start")
    options = parser.parse_args()
    try:
        if options.prefetch:
            prefetch()
            return 0
        print("starting HAPI FHIR (about 20 s) ...", file=sys.stderr)
        with running(options.port) as base_url:
            print(base_url, flush=True)
            print(f"log: {LOG}\nCtrl-C stops it", file=sys.stderr)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (HapiUnavailable, ServerDied) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
