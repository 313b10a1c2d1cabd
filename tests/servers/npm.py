"""Packages of npm for a server of the tests: installed as its lock file pins them, into ``.servers/``.

No package's install script is run; the Node.js to run them with comes as a package too.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import ServerUnavailable

SERVERS = Path(__file__).resolve().parents[2] / ".servers"
FILES = ("package.json", "package-lock.json", "server.mjs")
NODE = (22, 18)  # what Medplum 5 asks for; oidc-provider asks for less
INSTALL_SECONDS = 600  # about 6 s on a fast line for 100 MB
HOW_TO_INSTALL = "install npm (Debian: apt-get install npm)"


def installed(project: Path, cache: Path) -> str:
    """Install ``project`` into ``cache`` unless done; return the Node.js to run it with.

    Raises ServerUnavailable when npm is missing or fails (no network, for instance).
    """
    digest = hashlib.sha256(b"".join((project / name).read_bytes() for name in FILES)).hexdigest()
    stamp = cache / "installed-from.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        npm = shutil.which("npm")
        if npm is None:
            raise ServerUnavailable(f"npm not found: {HOW_TO_INSTALL}")
        cache.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(project / name, cache / name)
        install = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=cache,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if install.returncode != 0:
            raise ServerUnavailable(f"npm could not install {project.name}:\n" + install.stderr[-2000:])
        stamp.write_text(digest)
    return _node(cache)


def _node(cache: Path) -> str:
    """The Node.js that npm installed beside the packages, else one on the path that is new enough."""
    for path in sorted(cache.glob("node_modules/node-*/bin/node")):
        return str(path)
    found = shutil.which("node")
    if found is not None:
        text = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"v(\d+)\.(\d+)", text)
        if version is not None and (int(version[1]), int(version[2])) >= NODE:
            return found
    raise ServerUnavailable(f"no Node.js {NODE[0]}.{NODE[1]} or newer for this kind of machine")
