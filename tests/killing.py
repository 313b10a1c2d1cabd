"""Dying on purpose: a run in a process of its own that kills itself with SIGKILL at a named step."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

At = Callable[[str], None]


def killed_at(step: str, run: Callable[[At], Awaitable[object]], times: int = 1) -> bool:
    """Run in a fork; True if it died at the step, False if it never got there. Nothing of it goes on."""
    child = os.fork()
    if child == 0:
        left = [times]

        def at(reached: str) -> None:
            if reached == step:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            asyncio.run(run(at))  # type: ignore[arg-type]
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the run failed before it could be killed"
    return False
