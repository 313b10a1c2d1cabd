"""``python -m tests.servers.NAME``: run a server of the tests by hand, or only fetch what it needs."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.servers.process import ServerDied, ServerUnavailable


def main(
    about: str | None,
    prefetch: Callable[[], object],
    running: Callable[[int], AbstractContextManager[str]],
    *,
    port: int,
    log: Path,
    say: str = "",
) -> int:
    """Run until Ctrl-C and print the base URL; with ``--prefetch`` only download and build. The exit code."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--port", type=int, default=port, help=f"0 takes a free one (default: {port})")
    parser.add_argument("--prefetch", action="store_true", help="download and build, do not start")
    options = parser.parse_args()
    try:
        if options.prefetch:
            prefetch()
            return 0
        with running(options.port) as base_url:
            print(base_url, flush=True)
            print(f"{say}log: {log}\nCtrl-C stops it", file=sys.stderr)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (ServerUnavailable, ServerDied) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0
