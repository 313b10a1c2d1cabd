"""``oidc-provider``, a certified OpenID provider (npm), for tests and for trying sign-in by hand.

``python -m tests.servers.openid_provider`` runs one on port 9000 for an adapter on 127.0.0.1:8765. npm
installs what ``tests/servers/openid_provider/`` pins into the git-ignored ``.servers/``; no install script is
run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import ServerUnavailable, started

PROJECT = Path(__file__).resolve().parent / "openid_provider"
CACHE = Path(__file__).resolve().parents[2] / ".servers" / "openid_provider"
FILES = ("package.json", "package-lock.json", "server.mjs")
SECRET = "a secret: with / signs & 32 letters"


def prefetch() -> str:
    """Install unless done; the Node.js to run it with. Raises ServerUnavailable without npm or network."""
    digest = hashlib.sha256(b"".join((PROJECT / name).read_bytes() for name in FILES)).hexdigest()
    stamp = CACHE / "installed-from.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        npm = shutil.which("npm")
        if npm is None:
            raise ServerUnavailable("npm not found: install npm (Debian: apt-get install npm)")
        CACHE.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(PROJECT / name, CACHE / name)
        install = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=CACHE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if install.returncode != 0:
            raise ServerUnavailable("npm could not install oidc-provider:\n" + install.stderr[-2000:])
        stamp.write_text(digest)
    found = [*map(str, sorted(CACHE.glob("node_modules/node-*/bin/node"))), shutil.which("node")]
    if found[0] is None:
        raise ServerUnavailable("no Node.js 22 for this kind of machine")
    return found[0]


@contextmanager
def running(groups: Mapping[str, list[str]], port: int = 0) -> Iterator[str]:
    """Its issuer. ``groups`` says of which groups each name is a member."""
    environment = ["env", f"GROUPS={json.dumps(dict(groups))}", f"PATH={os.environ.get('PATH', '')}"]
    command = [*environment, prefetch(), "server.mjs", str(port)]
    with started(command, log=CACHE / "server.log", seconds=60, cwd=CACHE) as issuer:
        yield issuer


if __name__ == "__main__":
    if "--prefetch" in sys.argv:
        prefetch()
    else:
        with running({"ann": ["coordinators"], "pi": ["investigators"]}, 9000) as where:
            print(f"{where}   sign in as ann or pi, any password; Ctrl-C stops it", flush=True)
            threading.Event().wait()
