"""What a chaos run counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TABLE = {
    "schedules": "schedules",
    "settings": "set up with",
    "runs": "runs",
    "faults": "faults",
    "kills": "kill -9",
    "ends": "ends of disturbed runs",
    "outcomes": "outcomes of disturbed runs",
    "edits": "persons' changes",
    "checks": "checks that held",
}


class Finding(NamedTuple):
    """Something that does not hold, with the schedule that shows it."""

    schedule: str
    what: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([self.schedule, *self.what])


@dataclass
class Tally:
    """What was done and seen."""

    schedules: Counter[str] = field(default_factory=Counter)
    settings: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table of counts."""
        return table(self.counts())

    def counts(self) -> dict[str, Any]:
        """All of it as plain numbers, to be summed elsewhere by :func:`summed`."""
        counted = {name: dict(getattr(self, name)) for name in TABLE}
        rest = {"requests": self.requests, "seconds": self.seconds, "findings": len(self.findings)}
        return {**counted, **rest}


def summed(several: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of several tallies as if it were one; ``seconds`` of runs side by side add up too."""
    whole = Tally().counts()
    for one in several:
        for name in TABLE:
            whole[name] = dict(Counter(whole[name]) + Counter(one[name]))
        for name in ("requests", "seconds", "findings"):
            whole[name] += one[name]
    return whole


def table(counts: Mapping[str, Any]) -> list[str]:
    total = sum(counts["schedules"].values())
    rows = [f"chaos: {total} schedules, {counts['requests']} requests, {counts['seconds']:.0f} s"]
    for name, title in TABLE.items():
        said = ", ".join(f"{key} {number}" for key, number in sorted(counts[name].items()))
        rows.append(f"  {title} ({sum(counts[name].values())}): {said}")
    return [*rows, f"  findings: {counts['findings']}"]
