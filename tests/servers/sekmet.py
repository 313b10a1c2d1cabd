"""``sekmet-fhir``, a small hospital information system from PyPI, for tests and for trying things by hand.

``python -m tests.servers.sekmet`` starts one on loopback, prints its base URL and ends when its standard
input does. Its database and export files live in a folder that goes away with it; its simulator, which
answers orders as a laboratory would, is off, so that nothing changes but what a test changes.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.servers.process import ServerUnavailable, started

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / ".servers" / "sekmet" / "server.log"
START_SECONDS = 120


def prefetch() -> None:
    """Raises ServerUnavailable unless the package is installed."""
    if find_spec("sekmet") is None:
        raise ServerUnavailable("sekmet-fhir is not installed: pip install -e '.[dev]'")


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Run it with an empty database on loopback; yield its base URL, stop it at the end."""
    prefetch()
    command = [sys.executable, "-m", "tests.servers.sekmet", "--port", str(port)]
    with started(command, log=LOG, seconds=START_SECONDS, cwd=ROOT) as base_url:
        yield base_url


def serve(port: int, folder: str) -> None:
    """Serve until standard input ends."""
    import uvicorn
    from sekmet.config import Settings, SimulatorSettings, ValidationSettings
    from sekmet.main import create_app

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)  # whoever comes before uvicorn waits instead of being refused
        base_url = f"http://127.0.0.1:{listening.getsockname()[1]}/fhir"
        os.chdir(folder)  # keys and files of its own go there
        settings = Settings(
            base_url=base_url,
            host="127.0.0.1",
            data_dir=folder,
            simulator=SimulatorSettings(enabled=False),
            validation=ValidationSettings(inbound="warn"),
            log_inbound=False,
        )
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning"))

        def until_the_end_of_input() -> None:
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=until_the_end_of_input, daemon=True).start()
        print(f"READY {base_url}", flush=True)
        server.run(sockets=[listening])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: 8090)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sekmet-") as folder:
        serve(options.port, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
