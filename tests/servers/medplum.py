"""Medplum's FHIR router on its MemoryRepository, for tests and for trying things by hand.

``python -m tests.servers.medplum`` starts one and prints its base URL; with ``--prefetch`` it only installs.
What is started lies in ``tests/servers/medplum/`` (pinned by its lock file); npm installs it, with the
Node.js it needs, into the git-ignored ``.servers/medplum/``. No package's install script is run.
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
PROJECT = Path(__file__).resolve().parent / "medplum"
CACHE = ROOT / ".servers" / "medplum"
LOG = CACHE / "server.log"
FILES = ("package.json", "package-lock.json", "server.mjs")
NODE = (22, 18)  # what Medplum 5 asks for
HOW_TO_INSTALL = "install npm (Debian: apt-get install npm)"
INSTALL_SECONDS = 600  # about 6 s on a fast line: 100 MB of packages
START_SECONDS = 120


def _node() -> str:
    """The Node.js that npm installed beside the packages, else one on the path that is new enough."""
    for path in sorted(CACHE.glob("node_modules/node-*/bin/node")):
        return str(path)
    found = shutil.which("node")
    if found is not None:
        text = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"v(\d+)\.(\d+)", text)
        if version is not None and (int(version[1]), int(version[2])) >= NODE:
            return found
    raise ServerUnavailable(f"no Node.js {NODE[0]}.{NODE[1]} or newer for this kind of machine")


def prefetch() -> str:
    """Install the packages unless done; return the Node.js to run them with.

    Raises ServerUnavailable when npm is missing or fails (no network, for instance).
    """
    digest = hashlib.sha256(b"".join((PROJECT / name).read_bytes() for name in FILES)).hexdigest()
    stamp = CACHE / "installed-from.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        npm = shutil.which("npm")
        if npm is None:
            raise ServerUnavailable(f"npm not found: {HOW_TO_INSTALL}")
        CACHE.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(PROJECT / name, CACHE / name)
        install = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=CACHE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if install.returncode != 0:
            raise ServerUnavailable("npm could not install Medplum:\n" + install.stderr[-2000:])
        stamp.write_text(digest)
    return _node()


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Run Medplum with an empty repository on loopback; yield its base URL, stop it at the end."""
    command = [prefetch(), "--max-old-space-size=1024", "server.mjs", str(port)]
    with started(command, log=LOG, seconds=START_SECONDS, cwd=CACHE) as base_url:
        yield base_url


def own(base_url: str, name: str) -> str:
    """The base URL of a repository of its own at the same server, empty at first; see ``server.mjs``."""
    return f"{base_url.removesuffix('/fhir/R4')}/{name}/fhir/R4"


def main() -> int:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8103, help="0 takes a free one (default: 8103)")
    parser.add_argument("--prefetch", action="store_true", help="install, do not start")
    options = parser.parse_args()
    try:
        if options.prefetch:
            prefetch()
            return 0
        with running(options.port) as base_url:
            print(base_url, flush=True)
            print(f"log: {LOG}\nCtrl-C stops it", file=sys.stderr)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (ServerUnavailable, ServerDied) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
