"""Waiting between looks at a hospital, until told to end."""

from __future__ import annotations

import signal
import time
from types import FrameType


class Patience:
    """Sleeps between looks; a request to end cuts the sleep short and never the look."""

    def __init__(self) -> None:
        self._told = False
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._end)

    def ended(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._told and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
        return self._told

    def _end(self, _sign: int, _frame: FrameType | None) -> None:
        self._told = True
