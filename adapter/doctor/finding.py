"""What the doctor says: one line a check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from adapter.errors import AdapterError

State = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One check: what was looked at, how it is, what was seen, what to do ("" if nothing)."""

    check: str
    state: State
    seen: str
    fix: str = ""


class Examination(msgspec.Struct, frozen=True):
    """The whole page."""

    site: str
    server: str
    findings: tuple[Finding, ...]

    def count(self, state: State) -> int:
        return sum(found.state == state for found in self.findings)

    @property
    def sound(self) -> bool:
        """Whether nothing fails; warnings do not count."""
        return not self.count("fail")


async def careful(check: str, look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """Do one check; a fault ends it with what the fault says, not the examination."""
    try:
        return await look()
    except AdapterError as fault:
        return [Finding(check, "fail", fault.message, fault.fix)]


def some(names: list[str], most: int = 6) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
