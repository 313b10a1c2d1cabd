"""What a screening leaves under ``screening/``, and reading it again."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from adapter import certificate as certificates
from adapter.errors import ConfigError
from adapter.model import wire
from adapter.model.certificate import Certificate
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.facts import Account, Event, Facts, Finding, Intervention, Subject
from adapter.model.funnel import Funnel, Sifted
from adapter.model.issue import Issue
from adapter.screening.judge import Basis, Former, sha256
from adapter.trial import Workspace

# The tables of Facts and the type of their rows, as they lie on disk.
_TABLES: tuple[tuple[str, type], ...] = (
    ("subjects", Subject),
    ("findings", Finding),
    ("events", Event),
    ("interventions", Intervention),
    ("issues", Issue),
    ("accounts", Account),
    ("coverage", Coverage),
)


class Summary(msgspec.Struct, frozen=True):
    """``screening.json``: everything about a screening but its rows."""

    as_of: date
    protocol: str
    versions: dict[str, str]
    sifted: Sifted
    funnel: Funnel


class _Outcome(msgspec.Struct, frozen=True):
    overall: str


class Screening:
    """What one screening found; ``facts`` holds candidates only.

    ``reused`` counts people whose former decision still stood; it is not kept on disk, where nothing tells a
    reused decision from a new one. The rows of a large screening stay on disk until ``facts`` or
    ``decisions`` is asked for: then they are all read, from what lies there by then.
    """

    def __init__(
        self,
        as_of: date,
        protocol: str,
        versions: dict[str, str],
        sifted: Sifted,
        funnel: Funnel,
        facts: Facts | Path,
        decisions: tuple[Decision, ...] | Path,
        reused: int = 0,
    ) -> None:
        self.as_of = as_of
        self.protocol = protocol
        self.versions = versions
        self.sifted = sifted
        self.funnel = funnel
        self.reused = reused
        self._facts = facts
        self._decisions = decisions

    @property
    def facts(self) -> Facts:
        if isinstance(self._facts, Path):
            self._facts = _read_facts(self._facts)
        return self._facts

    @property
    def decisions(self) -> tuple[Decision, ...]:
        if isinstance(self._decisions, Path):
            self._decisions = tuple(wire.read_rows(self._decisions / "decisions.ndjson", Decision))
        return self._decisions

    @property
    def outcomes(self) -> Counter[str]:
        """How many people each overall verdict was given to, those on the study included."""
        if isinstance(self._decisions, Path):
            rows = wire.read_rows(self._decisions / "decisions.ndjson", _Outcome)
            return Counter(one.overall for one in rows)
        return Counter(one.overall.value for one in self._decisions)

    @property
    def issues(self) -> Iterable[Issue]:
        """The issues alone, which may be read one by one."""
        if isinstance(self._facts, Path):
            return wire.read_rows(self._facts / "facts" / "issues.ndjson", Issue)
        return self._facts.issues


def read_screening(workspace: Workspace) -> Screening:
    """What the last screening left, all of it; raises :class:`ConfigError` if there is nothing."""
    folder = workspace.screening
    try:
        summary = wire.decode((folder / "screening.json").read_bytes(), Summary)
        facts = _read_facts(folder)
        decisions = tuple(wire.read_rows(folder / "decisions.ndjson", Decision))
    except (FileNotFoundError, msgspec.MsgspecError) as fault:
        raise ConfigError("no screening here", where=str(folder), fix="run adapter screen first") from fault
    return Screening(
        summary.as_of, summary.protocol, summary.versions, summary.sifted, summary.funnel, facts, decisions
    )


def _read_facts(folder: Path) -> Facts:
    tables: dict[str, Any] = {
        name: tuple(wire.read_rows(folder / "facts" / f"{name}.ndjson", row)) for name, row in _TABLES
    }
    return Facts(**tables)


def read_former(workspace: Workspace) -> Former:
    """The last screening's decisions and what they rest on; what is not consistent is not reused."""
    folder = workspace.screening
    try:
        rows = {row.subject: row for row in wire.read_rows(folder / "basis.ndjson", Basis)}
        decisions = {row.subject: row for row in wire.read_rows(folder / "decisions.ndjson", Decision)}
    except (FileNotFoundError, msgspec.MsgspecError):
        return {}
    found: dict[str, tuple[Basis, Decision | None]] = {}
    for subject, row in rows.items():
        decision = decisions.get(subject)
        if row.decision == (sha256(wire.encode(decision)) if decision else ""):
            found[subject] = row, decision
    return found


def keep(
    screening: Screening, basis: Iterable[Basis], certificate: Certificate, workspace: Workspace
) -> None:
    """Leave a screening that is in memory in the workspace, in place of the one before."""
    with draft(workspace) as folder:
        for name, _ in _TABLES:
            wire.write_rows(folder / "facts" / f"{name}.ndjson", getattr(screening.facts, name))
        wire.write_rows(folder / "decisions.ndjson", screening.decisions)
        wire.write_rows(folder / "basis.ndjson", basis)
        finish(screening, certificate, folder)


def finish(screening: Screening, certificate: Certificate, folder: Path) -> None:
    """Write what is not a table."""
    certificates.keep(certificate, folder)
    summary = Summary(
        screening.as_of, screening.protocol, screening.versions, screening.sifted, screening.funnel
    )
    (folder / "screening.json").write_bytes(wire.encode(summary))


@contextmanager
def draft(workspace: Workspace) -> Iterator[Path]:
    """A folder to write a screening to, which takes the place of the one before when the block ends well: two
    renames, so that readers hardly ever find none."""
    folder = workspace.screening.with_name(f".screening.partial-{os.getpid()}")
    former = workspace.screening.with_name(f".screening.former-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "facts").mkdir(parents=True)
    try:
        yield folder
        if workspace.screening.exists():
            shutil.rmtree(former, ignore_errors=True)
            workspace.screening.rename(former)
        folder.rename(workspace.screening)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
