"""A PostgreSQL cluster of its own for tests, on loopback, in a folder that goes away with it.

``python -m tests.servers.postgres`` starts one and prints its URL, user and password included. Everything but
the programs of the server (initdb, postgres, pg_isready) is made here; ``root`` may not run a server, so then
another account does.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.servers.process import ServerUnavailable, started

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / ".servers" / "postgres" / "server.log"
USER = "adapter"
PASSWORD = "p@ss/word: 100%"  # what an address has to quote
START_SECONDS = 120
PROGRAMS = ("initdb", "postgres", "pg_isready")

# initdb and the server speak on stderr; the pipe of standard input ends with whoever started us.
SCRIPT = """
set -eu
printf %s "$PASSWORD" > "$FOLDER/password"
"$BIN/initdb" -D "$FOLDER/data" -U "$USER_NAME" --pwfile="$FOLDER/password" -A scram-sha-256 \
    -E UTF8 --locale=C --no-sync >&2
"$BIN/postgres" -D "$FOLDER/data" -k "$FOLDER" -h 127.0.0.1 -p "$PORT" >&2 &
server=$!
until "$BIN/pg_isready" -q -h 127.0.0.1 -p "$PORT"; do
    kill -0 $server || exit 1
    sleep 0.1
done
echo "READY $URL"
cat > /dev/null || true
kill -INT $server
wait $server || true
"""


def programs() -> Path:
    """The folder with the server's programs. Raises ServerUnavailable."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian keeps them off PATH
    for folder in folders:
        if all((folder / program).exists() for program in PROGRAMS):
            return folder
    raise ServerUnavailable("no PostgreSQL server found: apt-get install postgresql (Debian)")


def _account() -> list[str]:
    """Who runs it, as the start of a command; empty for ourselves."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return ["runuser", "-u", name, "--"]
    raise ServerUnavailable("root may not run PostgreSQL, and there is no account postgres or nobody")


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Run it; yield the URL of its database ``postgres``, stop it at the end."""
    folder, account = programs(), _account()
    port = port or _free_port()
    url = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
    with tempfile.TemporaryDirectory(prefix="adapter-pg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        if account:
            owner = pwd.getpwnam(account[2])
            os.chown(home, owner.pw_uid, owner.pw_gid)
        environment = {
            "BIN": str(folder), "FOLDER": home, "PORT": str(port), "URL": url,
            "USER_NAME": USER, "PASSWORD": PASSWORD,
        }  # fmt: skip
        command = ["env", *(f"{name}={value}" for name, value in environment.items()), "sh", "-c", SCRIPT]
        with started([*account, *command], log=LOG, seconds=START_SECONDS, cwd=Path(home)) as ready:
            yield ready


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    with running() as address:
        print(address, "until Ctrl-C", flush=True)
        try:
            while True:
                input()
        except (EOFError, KeyboardInterrupt):
            pass
