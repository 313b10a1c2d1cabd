"""The command line: one command per step of the flow, and ``demo`` for all of them.

Exit codes: 0 done; 1 done, and something is not as it should be (a case differs, a plan was refused);
2 wrong usage; above 60 the code of the fault (see ``adapter.errors``).
"""

from __future__ import annotations

import sys

from adapter.cli.app import app
from adapter.cli.terminal import plain
from adapter.errors import AdapterError


def main() -> None:
    """Entry point: a fault is told in two lines, what is wrong and what to do, without a traceback."""
    try:
        app()
    except AdapterError as fault:
        print(plain(f"adapter: {fault}", keep="\n"), file=sys.stderr)  # noqa: T201
        raise SystemExit(fault.exit_code) from fault
