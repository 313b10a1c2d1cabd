"""What a proposed row would change: the last screening and monitoring done again with it, and compared.

Done in a scratch folder with the same landed files, answers and day; nothing of the workspace is changed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adapter import monitoring
from adapter.errors import ConfigError
from adapter.mappers.terminology import Terminology
from adapter.mapping.site_files import with_row
from adapter.model.decision import CriterionResult, Decision
from adapter.model.monitoring import Monitoring
from adapter.pipeline import Screening, read_screening, screen
from adapter.trial import Trial, Workspace, open_trial


class Change(msgspec.Struct, frozen=True):
    """One person whom the row touches. ``before`` and ``after`` are verdicts, overall or of one criterion."""

    subject: str
    what: str
    before: str
    after: str


class Impact(msgspec.Struct, frozen=True):
    """``verdicts`` are overall changes of people, ``criteria`` those of single lines of either evaluation.

    ``readings`` is how many readings become usable, less those that no longer are.
    """

    people: int
    verdicts: tuple[Change, ...]
    criteria: tuple[Change, ...]
    readings: int

    @property
    def subjects(self) -> int:
        """How many people change overall."""
        return len({one.subject for one in self.verdicts})


def impact(trial: Trial, workspace: Workspace, file: str, cells: Mapping[str, str]) -> Impact:
    """Raises :class:`MappingError` if the row is refused, with its line; ConfigError without a screening."""
    before = read_screening(workspace)
    if before.protocol != trial.protocol.id:
        raise ConfigError(
            f"the screening here is of {before.protocol}",
            where=str(workspace.screening),
            fix="run adapter screen with this protocol first",
        )
    followed = monitoring.read_monitoring(workspace)
    with _proposed(trial, file, cells) as changed, _scratch(workspace) as scratch:
        after = screen(changed, scratch, as_of=before.as_of, full=True)
        # The rows of both may be read from the scratch folder, so while it is there.
        watched = monitoring.monitor(changed, scratch, as_of=before.as_of).rows if followed else ()
        return Impact(
            people=len(after.decisions),
            verdicts=tuple(_overall(before, after)),
            criteria=(
                *_lines({one.subject: one.criteria for one in before.decisions},
                        {one.subject: one.criteria for one in after.decisions}),
                *_lines(_watched(followed.rows if followed else ()), _watched(watched)),
            ),
            readings=_usable(after) - _usable(before),
        )  # fmt: skip


def checked(trial: Trial, file: str, cells: Mapping[str, str]) -> None:
    """Raises :class:`MappingError`, with the line, if the tables refuse the row."""
    with _copied(trial, file, cells) as mappings:
        Terminology.load(mappings, trial.site.site_id)


@contextmanager
def _proposed(trial: Trial, file: str, cells: Mapping[str, str]) -> Iterator[Trial]:
    with _copied(trial, file, cells) as mappings:
        yield open_trial(trial.folder, trial.site.site_id, mappings)


@contextmanager
def _copied(trial: Trial, file: str, cells: Mapping[str, str]) -> Iterator[Path]:
    """A copy of the mappings with the row in it."""
    with tempfile.TemporaryDirectory(prefix="mapping-") as folder:
        mappings = Path(folder) / "mappings"
        shutil.copytree(trial.mappings, mappings)
        path = mappings / "sites" / trial.site.site_id / file
        path.write_bytes(with_row(path.read_bytes() if path.exists() else b"", file, cells))
        yield mappings


@contextmanager
def _scratch(workspace: Workspace) -> Iterator[Workspace]:
    """A workspace that reads the same landing and database and writes elsewhere."""
    with tempfile.TemporaryDirectory(prefix="impact-") as folder:
        scratch = Workspace(Path(folder), workspace.embedded)
        scratch.landing.symlink_to(workspace.landing.resolve())
        if isinstance(workspace.database, Path) and workspace.database.exists():
            (scratch.root / workspace.database.name).symlink_to(workspace.database.resolve())
        yield scratch


def _overall(before: Screening, after: Screening) -> Iterator[Change]:
    old = {one.subject: one for one in before.decisions}
    new = {one.subject: one for one in after.decisions}
    for subject in sorted(old.keys() | new.keys()):
        was, now = _word(old.get(subject)), _word(new.get(subject))
        if was != now:
            yield Change(subject, "overall", was, now)


def _word(decision: Decision | None) -> str:
    return decision.overall.value if decision else "no candidate"


def _watched(rows: Iterable[Monitoring]) -> dict[str, tuple[CriterionResult, ...]]:
    return {
        one.subject: (*one.endpoints, *one.exits, *one.doses, *one.safety, *one.deviations) for one in rows
    }


def _lines(
    before: Mapping[str, Iterable[CriterionResult]], after: Mapping[str, Iterable[CriterionResult]]
) -> Iterator[Change]:
    for subject in sorted(before.keys() & after.keys()):
        was = {one.id: one.verdict.value for one in _leaves(before[subject])}
        for one in _leaves(after[subject]):
            if was.get(one.id, "") != one.verdict.value:
                yield Change(subject, one.id, was.get(one.id, ""), one.verdict.value)


def _leaves(results: Iterable[CriterionResult]) -> Iterator[CriterionResult]:
    return (found for one in results for found in one.walk() if not found.children)


def _usable(screening: Screening) -> int:
    return sum(not one.excluded for one in screening.facts.findings)
