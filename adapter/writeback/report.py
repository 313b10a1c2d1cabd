"""What became of a write-back, subject by subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from adapter.errors import AdapterError, SourceUnavailable, WriteConflict


class WriteReport(msgspec.Struct, frozen=True):
    """What happened, subject by subject. Every decision is in exactly one outcome, so counts add up;
    ``resources_written`` is 0 on a second run. ``rungs`` counts subjects by the rung that carried them or
    was asked last, ``files`` names what the last rung wrote. ``unchecked`` says of each rung where nobody
    could look for duplicates why; what it wrote stands."""

    outcomes: Mapping[str, int]
    rows: tuple[dict[str, str], ...]
    resources_written: int = 0
    study: str = ""
    duplicates: tuple[str, ...] = ()
    dry_run: bool = False
    rungs: Mapping[str, int] = {}
    files: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    def fault(self) -> AdapterError | None:
        """What the caller should raise after it has shown the report, or None."""
        if self.outcomes.get("conflict"):
            return WriteConflict(
                f"{self.outcomes['conflict']} subjects were changed by others while we wrote",
                fix="run the write-back again: it reads and decides anew",
            )
        if self.outcomes.get("unknown"):
            return SourceUnavailable(
                f"the server did not answer for {self.outcomes['unknown']} subjects",
                fix="run the write-back again: it looks first what arrived",
            )
        if self.outcomes.get("held"):
            return WriteConflict(
                f"{self.outcomes['held']} subjects are being written by another process",
                fix="run the write-back again when that one has ended",
            )
        if self.unchecked:
            return SourceUnavailable(
                f"everything was written; duplicates could not be looked for ({'; '.join(self.unchecked)})",
                fix="the next write-back that changes something looks again; or look at the server",
            )
        return None


def joined(one: WriteReport, other: WriteReport) -> WriteReport:
    """Two runs against one server as one report, rows by subject."""
    return WriteReport(
        Counter(one.outcomes) + Counter(other.outcomes),
        tuple(sorted((*one.rows, *other.rows), key=lambda row: row["subject"])),
        one.resources_written + other.resources_written,
        one.study or other.study,
        tuple(sorted({*one.duplicates, *other.duplicates})),
        one.dry_run,
        Counter(one.rungs) + Counter(other.rungs),
        (*one.files, *other.files),
        (*one.unchecked, *other.unchecked),
    )
