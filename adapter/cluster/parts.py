"""What came back from the cluster, unit by unit, on the driver's disk until it can be written in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.facts import Account
from adapter.model.funnel import Funnel, together
from adapter.model.issue import Issue
from adapter.screening.judge import TABLES, Judged, PersonRows, accounts_of
from adapter.screening.merge import issues_in_order, people_in_order

_OPEN_FILES = 200


class Parts:
    """Rows of people and issues lie in files, each in order; the rest is small and stays in memory."""

    def __init__(self, folder: Path) -> None:
        self.accounts: tuple[Account, ...] = ()
        self.funnel: Funnel = together(0, ())
        self.lost: set[Coverage] = set()
        self._people = _Runs(folder / "people", PersonRows, people_in_order)
        self._issues = _Runs(folder / "issues", Issue, issues_in_order)

    def add(self, one: Judged) -> None:
        self._people.add(one.people)
        self._issues.add(one.issues)
        self.accounts = accounts_of((self.accounts, one.accounts))
        self.funnel = together(0, (self.funnel, one.funnel))
        self.lost |= set(one.lost)

    def write(self, folder: Path, issues: Iterable[Issue]) -> None:
        """Everybody's rows, and with theirs these ``issues``, which are in order."""
        self._issues.add(issues)
        wire.write_rows(folder / "facts" / "issues.ndjson", self._issues.rows())
        with ExitStack() as stack:
            tables = [
                stack.enter_context((folder / "facts" / f"{name}.ndjson").open("wb")) for name in TABLES
            ]
            decisions = stack.enter_context((folder / "decisions.ndjson").open("wb"))
            basis = stack.enter_context((folder / "basis.ndjson").open("wb"))
            for person in self._people.rows():
                for table, rows in zip(tables, person.tables, strict=True):
                    table.write(rows)
                decisions.write(person.decision)
                basis.write(person.basis)


class _Runs:
    """Sorted runs of rows in files, merged when there are too many to be open at once."""

    def __init__(
        self, folder: Path, row: type, in_order: Callable[[Iterable[Iterable[Any]]], Iterator[Any]]
    ) -> None:
        self._folder, self._row, self._in_order = folder, row, in_order
        self._written = 0
        self._files: list[Path] = []
        folder.mkdir(parents=True)

    def add(self, rows: Iterable[Any]) -> None:
        if len(self._files) >= _OPEN_FILES:
            former, self._files = self._files, []
            self._write(self._in_order(wire.read_rows(path, self._row) for path in former))
            for path in former:
                path.unlink()
        self._write(rows)

    def rows(self) -> Iterator[Any]:
        return self._in_order(wire.read_rows(path, self._row) for path in self._files)

    def _write(self, rows: Iterable[Any]) -> None:
        path = self._folder / f"{self._written}.ndjson"
        self._written += 1
        wire.write_rows(path, rows)
        self._files.append(path)
