"""Medplum's FHIR router on its MemoryRepository, for tests and for trying things by hand.

``python -m tests.servers.medplum`` starts one and prints its base URL; with ``--prefetch`` it only installs.
What is started lies in ``tests/servers/medplum/`` (pinned by its lock file); npm installs it, with the
Node.js it needs, into the git-ignored ``.servers/medplum/``. No package's install script is run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import command, npm
from tests.servers.process import started

PROJECT = Path(__file__).resolve().parent / "medplum"
CACHE = npm.SERVERS / "medplum"
LOG = CACHE / "server.log"
START_SECONDS = 120


def prefetch() -> str:
    """Install the packages unless done; return the Node.js to run them with. Raises as npm.installed does."""
    return npm.installed(PROJECT, CACHE)


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Run Medplum with an empty repository on loopback; yield its base URL, stop it at the end."""
    run = [prefetch(), "--max-old-space-size=1024", "server.mjs", str(port)]
    with started(run, log=LOG, seconds=START_SECONDS, cwd=CACHE) as base_url:
        yield base_url


def own(base_url: str, name: str) -> str:
    """The base URL of a repository of its own at the same server, empty at first; see ``server.mjs``."""
    return f"{base_url.removesuffix('/fhir/R4')}/{name}/fhir/R4"


if __name__ == "__main__":
    sys.exit(command.main(__doc__, prefetch, running, port=8103, log=LOG))
