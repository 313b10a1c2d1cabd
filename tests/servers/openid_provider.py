"""``oidc-provider``, a certified OpenID provider (npm), for tests and for trying sign-in by hand.

``python -m tests.servers.openid_provider`` runs one on port 9000 for an adapter on 127.0.0.1:8765, where
``ann`` and ``pi`` sign in with any password. What npm installs is pinned beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import command, npm
from tests.servers.process import started

PROJECT = Path(__file__).resolve().parent / "openid_provider"
CACHE = npm.SERVERS / "openid_provider"
LOG = CACHE / "server.log"
SECRET = "a secret: with / signs & 32 letters"
BY_HAND = {"ann": ["coordinators"], "pi": ["investigators"]}


def prefetch() -> str:
    """Install the packages unless done; return the Node.js to run them with. Raises as npm.installed does."""
    return npm.installed(PROJECT, CACHE)


@contextmanager
def running(groups: Mapping[str, list[str]], port: int = 0) -> Iterator[str]:
    """Its issuer. ``groups`` says of which groups each name is a member."""
    environment = ["env", f"GROUPS={json.dumps(dict(groups))}", f"PATH={os.environ.get('PATH', '')}"]
    run = [*environment, prefetch(), "server.mjs", str(port)]
    with started(run, log=LOG, seconds=60, cwd=CACHE) as issuer:
        yield issuer


if __name__ == "__main__":
    sys.exit(command.main(__doc__, prefetch, lambda port: running(BY_HAND, port), port=9000, log=LOG))
